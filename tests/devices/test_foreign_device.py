"""The whole laboratory on a device that is not the CPU: pretended, so that it is tested on every machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from evaluation.scoring.likelihood import PrefixedTokens, score
from models.generation.decoding import Decoding
from objectives.core.network import MAIN, Network
from objectives.core.prompts import Prompts
from objectives.start.pretrained import open_pretrained
from objectives.start.warm_start import begin_with
from objectives.weights.load import load_run
from tests.devices.pretended import PretendedDevice, apple_gpu, on_apple_gpu, pretended
from tests.helpers import OBJECTIVES, ROOT, metrics_of, train_in_process, weights_of

Command = Callable[..., list[str]]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedDevice]:
    with apple_gpu(monkeypatch) as mode:
        yield mode


DRAWN = Decoding(max_new_tokens=4, temperature=1.0, top_p=0.9, repetition_penalty=1.1)
BEAMS = Decoding(max_new_tokens=4, beams=2)
# Every objective that a config names, found from the folders; papers are settings of these.
CONFIGS = sorted(
    path.relative_to(ROOT / "configs").with_suffix("").as_posix()
    for folder in ("configs", "configs/ancestors", "configs/schedules")
    for path in (ROOT / folder).glob("*.yaml")
    if path.name != "base.yaml"
)
QUICK = ("masked_lm", "span_corruption")  # the others' steps are in the contract of objectives
DRAWS = ("causal_lm", "denoising", "span_corruption", "prefix_lm", "ancestors/luong")


def without(command: list[str], *names: str) -> list[str]:
    """A command line without some flags and their values."""
    given = zip(command[::2], command[1::2], strict=True)
    return [part for pair in given if pair[0] not in names for part in pair]


def test_what_a_gpu_refuses_is_refused(device: PretendedDevice) -> None:
    here = torch.ones(2, device="mps")
    assert here.device.type == "mps"
    assert (here + 1).device.type == (here.view(1, 2)[0] * torch.tensor(2.0)).device.type == "mps"
    assert here.cpu().device.type == here.to("cpu").device.type == here.to(torch.ones(1)).device.type == "cpu"
    with pytest.raises(RuntimeError, match="expected all tensors to be on one device"):
        _ = here + torch.ones(2)
    with pytest.raises(RuntimeError, match="Expected a 'mps' device type for generator but found 'cpu'"):
        here.normal_(generator=torch.Generator())
    with torch.device("mps"), pytest.raises(RuntimeError, match="device type for generator"):
        torch.rand(2, generator=torch.Generator())
    with pytest.raises(TypeError, match="float64"):
        here.double()
    with pytest.raises(TypeError, match="numpy"):
        here.numpy()


@pytest.mark.parametrize(
    "objective",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in CONFIGS],
)
def test_a_run_trains_goes_on_generates_and_scores_there_as_on_the_cpu(
    tiny_run: Command, objective: str, device: PretendedDevice, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    steps = ["--budget.steps", "4", "--logging.examples", "1"]
    if objective == "distillation":
        assert train_in_process(tiny_run("masked_lm", "teacher", *steps)) == 0
        steps += ["--model.teacher", str(runs / "teacher")]
    heads = ("--body.num_heads", "--body.layers") if objective.startswith("ancestors/") else ()  # a GRU has none
    command = without(tiny_run(objective, "there", *steps, "--checkpoints.every_steps", "2"), *heads)
    assert train_in_process(on_apple_gpu(command)) == 0
    assert device.made > 0
    here = without(tiny_run(objective, "here", *steps, "--trainer.accelerator", "cpu"), *heads)
    assert train_in_process([*here, "--trainer.precision", "32-true"]) == 0
    for there, there_too in zip(metrics_of(runs / "there"), metrics_of(runs / "here"), strict=True):
        numbers = [{name: float(value or 0) for name, value in row.items()} for row in (there, there_too)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)
    assert (runs / "there/examples.html").exists()
    trained = load_run(runs / "there")
    trained.network.to("mps")
    assert trained.network.device.type == "mps"
    text = trained.objective.inference.example
    for decoding in [DRAWN, BEAMS] if objective in DRAWS else [Decoding()]:
        if text is None:
            continue
        prompts = Prompts(
            texts=(text,),
            tokenizer=trained.tokenizer,
            vocabulary=trained.vocabulary,
            max_positions=trained.max_positions,
            decoding=decoding,
        )
        assert list(trained.generate(prompts))
    ids = torch.arange(200, 208, device="cpu").numpy()
    for scorer in trained.scorers.values():
        found = score(trained, scorer, [PrefixedTokens(ids, ids[:0])])
        assert found.log_likelihoods[0] < 0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_network_is_built_and_starts_from_weights_under_a_gpu_as_default_device(
    tiny_run: Command, objective: str, tmp_path: Path
) -> None:
    """What draws initial weights on the CPU fails here where a tensor lies on the GPU, as Lightning has it there."""
    origin = tmp_path / "runs/origin"
    assert train_in_process(tiny_run(objective, "origin", "--budget.steps", "1", "--trainer.accelerator", "cpu")) == 0
    trained, expected = load_run(origin), weights_of(origin)
    plans = trained.objective.bodies(trained.body)
    with pretended("cuda"), torch.device("cuda"):
        network = Network(
            plans,
            trained.objective.heads(trained.body),
            vocab_size=trained.vocabulary.size,
            max_positions=trained.max_positions,
            seed=1,
        )
        assert {parameter.device.type for parameter in network.parameters()} == {"cuda"}
        begin_with(network, open_pretrained(str(origin)), trained.body, plans[MAIN].num_blocks)
        found = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
