"""`auto` precision is measured over the run's own products, decided once, and kept by a run that goes on."""

import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
import torch
import yaml
from torch import Tensor, nn

from common.errors import MachineError
from objectives.core.pretraining import Pretraining
from tests.helpers import make_cli, train_in_process
from tests.processes import Script
from training.machine import ranks
from training.setup import precision
from training.setup.precision import Product, fastest, measured_rates, products_of, rates_line
from training.setup.settings import Precision

Command = Callable[..., list[str]]
AUTO = ("--trainer.precision", "auto")
PRODUCTS = Counter({Product(64, 32, 48): 2, Product(64, 16, 480): 1})


def precision_of(run: Path) -> str:
    return yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["trainer"]["precision"]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[Precision, float]], list[str]]:
    """Has every later measurement find these rates; returns a list that grows by the accelerator of each."""
    calls: list[str] = []

    def find(rates: dict[Precision, float]) -> list[str]:
        def rates_of(products: Counter[Product], accelerator: str) -> dict[Precision, float]:
            calls.append(accelerator)
            return rates

        monkeypatch.setattr("training.setup.precision.measured_rates", rates_of)
        return calls

    return find


SINGLE_IS_FASTER: dict[Precision, float] = {"32-true": 2e11, "bf16-mixed": 1e11}
BRAIN_IS_FASTER: dict[Precision, float] = {"32-true": 1e11, "bf16-mixed": 2e11}


def test_the_products_are_those_of_every_linear_layer_and_of_the_vocabulary() -> None:
    network = nn.Sequential(nn.Embedding(480, 16), nn.Linear(32, 48), nn.Linear(32, 48, bias=False), nn.LayerNorm(48))
    assert products_of(network, rows=64, vocab_size=480) == PRODUCTS
    assert products_of(network, rows=64) == Counter({Product(64, 32, 48): 2})


@pytest.mark.parametrize("objective", ["masked_lm", "denoising"])
def test_the_products_of_a_run_are_those_of_its_body(tiny_run: Command, objective: str) -> None:
    cli = make_cli(tiny_run(objective, "sizes"))
    found = cli.products()
    body = cast(Pretraining, cli.model).build(vocab_size=480, window=32).body
    own = Counter((layer.in_features, layer.out_features) for layer in body.modules() if isinstance(layer, nn.Linear))
    head = Counter({(cli.config.body.width, cli.config.data.vocab_size): 1})
    assert {product.rows for product in found} == {cli.config.data.batch_size * 32}
    assert Counter({(inner, columns): times for (_, inner, columns), times in found.items()}) == own + head


def test_a_rate_is_all_operations_over_the_best_times(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = {"32-true": 1e9, "bf16-mixed": 4e9}
    turns: Counter[str] = Counter()

    def seconds(inputs: Tensor, weights: Tensor, kind: Precision) -> float:
        turns[kind] += 1
        best = Product(len(inputs), inputs.shape[1], len(weights)).flops / rate[kind]
        return best * (1 if turns[kind] % 2 else 50)  # every other turn another process is in the way

    monkeypatch.setattr(precision, "_seconds", seconds)
    monkeypatch.setattr(precision, "SECONDS", 0.0)
    assert measured_rates(PRODUCTS, "cpu") == pytest.approx(rate)
    assert turns["32-true"] == turns["bf16-mixed"] >= 2 * len(PRODUCTS)


def test_measuring_computes_the_backward_pass_in_the_precision_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, torch.dtype] = {}
    linear = torch.nn.functional.linear

    def watched(inputs: Tensor, weights: Tensor) -> Tensor:
        outputs = linear(inputs, weights)
        seen["bf16-mixed" if torch.is_autocast_enabled("cpu") else "32-true"] = outputs.dtype
        return outputs

    monkeypatch.setattr(precision.F, "linear", watched)
    monkeypatch.setattr(precision, "SECONDS", 0.0)
    rates = measured_rates(PRODUCTS, "cpu")
    assert all(rate > 0 for rate in rates.values())
    assert seen == {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}


def test_the_faster_one_is_chosen_and_both_figures_are_named() -> None:
    assert fastest(SINGLE_IS_FASTER) == "32-true"
    assert fastest(BRAIN_IS_FASTER) == "bf16-mixed"
    assert fastest({"32-true": 1.0, "bf16-mixed": 1.0}) == "32-true"
    line = rates_line("32-true", SINGLE_IS_FASTER)
    assert "precision 32-true" in line
    assert "32-true 200" in line
    assert "bf16-mixed 100" in line
    assert "TFLOP/s" in rates_line("bf16-mixed", {"32-true": 5e13, "bf16-mixed": 6e14})


def test_no_flag_of_the_processor_decides(
    tiny_run: Command, tmp_path: Path, measured: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rates in (("single", SINGLE_IS_FASTER), ("brain", BRAIN_IS_FASTER)):
        calls = measured(rates)
        assert train_in_process(tiny_run("masked_lm", name, *AUTO, "--budget.steps", "1")) == 0
        run = tmp_path / "runs" / name
        assert precision_of(run) == fastest(rates)
        assert json.loads((run / "run.json").read_text(encoding="utf-8"))["flops_per_second"] == rates
    assert calls == ["cpu", "cpu"]


def test_a_run_that_goes_on_keeps_its_precision_and_one_that_starts_over_is_measured(
    tiny_run: Command, tmp_path: Path, measured: Callable[..., list[str]]
) -> None:
    command = tiny_run("causal_lm", "kept", *AUTO, "--budget.steps", "2")
    measured(SINGLE_IS_FASTER)
    assert train_in_process(command) == 0
    calls = measured(BRAIN_IS_FASTER)
    assert make_cli(command).trainer_settings.precision == "32-true"
    assert calls == ["cpu"]
    assert make_cli([*command, "--resume", "never"]).trainer_settings.precision == "bf16-mixed"
    checkpoint = tmp_path / "runs/kept/checkpoints/step-00000002"
    branch = tiny_run("causal_lm", "branch", *AUTO, "--branch_from", str(checkpoint))
    assert make_cli(branch).trainer_settings.precision == "32-true"


def test_a_named_precision_is_not_measured(tiny_run: Command, measured: Callable[..., list[str]]) -> None:
    calls = measured(BRAIN_IS_FASTER)
    cli = make_cli(tiny_run("masked_lm", "named", "--trainer.precision", "64-true"))
    assert cli.trainer_settings.precision == "64-true"
    assert not calls


RANK = """
import sys
from pathlib import Path
import torch
from training.machine.ranks import agreed
rank, decided = int(sys.argv[1]), Path(sys.argv[2])
names = ("first", "second")
decided.write_text(" ".join(agreed(name, lambda: f"{name}-of-{rank}", devices=2, num_nodes=1) for name in names))
torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
ranks = torch.tensor([rank + 1])
torch.distributed.all_reduce(ranks)
print(ranks.item())
"""


def test_the_first_process_decides_for_all_and_waits_for_none_and_the_group_meets_at_the_same_port(
    tmp_path: Path,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    (tmp_path / "rank.py").write_text(RANK, encoding="utf-8")
    with contextlib.ExitStack() as started:
        scripts: list[Script] = []
        for rank in ("0", "1"):  # the second begins when the first has decided
            decided = tmp_path / f"decided-{rank}"
            script = Script(tmp_path / "rank.py", rank, str(decided), LOCAL_RANK=rank, **place)
            scripts.append(started.enter_context(script))
            while not decided.exists():
                assert script.is_running, script.stderr
                time.sleep(0.02)
        assert [script.wait().stdout for script in scripts] == ["3\n", "3\n"]
    assert [path.read_text() for path in sorted(tmp_path.glob("decided-*"))] == ["first-of-0 second-of-0"] * 2


def test_a_process_whose_first_one_has_ended_says_where_it_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    monkeypatch.setattr(ranks, "WAIT", timedelta(seconds=1))
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", port), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(MachineError, match=f"the first process of the run does not answer at 127.0.0.1:{port}"):
        ranks.agreed("threads", lambda: "1", devices=2, num_nodes=1)


def test_a_gpu_that_emulates_bf16_is_measured_in_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.candidates("cpu") == ("32-true", "bf16-mixed")
    assert precision.candidates("mps") == ("32-true",)
    for has_bf16, expected in ((True, "bf16-mixed"), (False, "16-mixed")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has_bf16=has_bf16, **_: has_bf16)
        assert precision.candidates("cuda") == ("32-true", expected)
