"""Runs that begin with trained weights: of runs here, and of folders that transformers saved."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedTokenizerFast
from transformers.models.bert.modeling_bert import BertModel
from transformers.models.gpt2.modeling_gpt2 import GPT2Model

from models.huggingface.families import FAMILIES
from models.huggingface.settings import to_huggingface_config
from models.presets import PresetName, TransformerConfig
from objectives.start.pretrained import Pretrained, open_pretrained
from objectives.start.warm_start import Report, check_fits, sources_of_stacks
from objectives.weights.load import load_run
from tests.helpers import ROOT, TINY, metrics_of, run_script, train_in_process, weights_of
from tests.objectives.start.folders import class_named, last_validation, losses

Command = Callable[..., list[str]]
OBJECTIVE_OF: dict[PresetName, str] = {
    "bert": "masked_lm",
    "gpt2": "causal_lm",
    "bart": "denoising",
    "t5": "span_corruption",
    "t5_v1_1": "span_corruption",
    "lab": "causal_lm",
}
QUICK = ("bert", "gpt2", "t5")  # an encoder, a decoder and both: the default tests run these
# Weights stay what they were, and the last validation is one of step 0.
UNMOVED = ("--budget.steps", "2", "--optimizer.learning_rate", "1e-30", "--trainer.precision", "32-true")


def init_from(where: Path | str) -> tuple[str, str]:
    return "--model.init_args.init_from", str(where)


def theirs_in(folder: Path, preset: PresetName, store: Path, *, vocab_size: int = 480, positions: int = 40) -> Any:
    """A randomly initialised checkpoint of that family, saved by transformers with the tokenizer of a store."""
    family = FAMILIES[preset]
    config = TransformerConfig(preset=preset, width=32, num_heads=2)
    blocks = (2 * family.has_encoder, 2 * family.has_decoder)
    written = to_huggingface_config(config, blocks, vocab_size=vocab_size, max_positions=positions)
    ids = {"pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 1, "decoder_start_token_id": 0}
    torch.manual_seed(3)
    model = class_named(family.name)(AutoConfig.for_model(**{**written, **ids}))
    if preset == "t5_v1_1":
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())  # version 5 ties new ones
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(store / "tokenizer.json"), pad_token="<pad>")
    tokenizer.save_pretrained(folder)
    return type(model).from_pretrained(folder).eval()


# --- transformers' checkpoints ---


@pytest.mark.parametrize(
    "preset", [pytest.param(preset, marks=[] if preset in QUICK else pytest.mark.slow) for preset in OBJECTIVE_OF]
)
def test_a_run_that_begins_with_their_checkpoint_has_their_loss_at_step_0(
    preset: PresetName, tiny_run: Command, cache: Path, store: Path, tmp_path: Path
) -> None:
    theirs = theirs_in(tmp_path / "theirs", preset, store)
    layers = "[2,2]" if all((FAMILIES[preset].has_encoder, FAMILIES[preset].has_decoder)) else "2"
    shape = ("--body.preset", preset, "--body.layers", layers)
    assert (
        train_in_process(tiny_run(OBJECTIVE_OF[preset], "run", *UNMOVED, *shape, *init_from(tmp_path / "theirs"))) == 0
    )
    run = load_run(tmp_path / "runs/run")
    batch, summary = last_validation(run, cache)
    for name, loss in losses(theirs, run, batch).items():
        assert loss.item() == pytest.approx(summary[f"validation/{name}"], abs=1e-5)


def test_their_bodies_without_heads_and_their_old_names_and_their_parts_are_read(store: Path, tmp_path: Path) -> None:
    whole = theirs_in(tmp_path / "whole", "bert", store)
    expected = open_pretrained(str(tmp_path / "whole")).state
    tensors = load_file(tmp_path / "whole/model.safetensors")

    def folder(name: str, files: dict[str, dict[str, Tensor]], index: dict[str, Any] | None = None) -> Pretrained:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text((tmp_path / "whole/config.json").read_text())
        for file, content in files.items():
            save_file(content, tmp_path / name / file)
        if index:
            (tmp_path / name / "model.safetensors.index.json").write_text(json.dumps(index))
        return open_pretrained(str(tmp_path / name))

    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for key, tensor in tensors.items()
    }
    bare = {key.removeprefix("bert."): tensor for key, tensor in tensors.items() if key.startswith("bert.")}
    names = list(tensors)
    parts = {f"part-{part}.safetensors": {name: tensors[name] for name in names[part::2]} for part in (0, 1)}
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    for found in (folder("old", {"model.safetensors": old}), folder("parts", parts, index)):
        assert found.state.keys() == expected.keys()
        assert all(torch.equal(found.state[name], expected[name]) for name in expected)
    found = folder("bare", {"model.safetensors": bare}).state
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert {name.split(".")[1] for name in expected.keys() - found.keys()} == {"head", "classifier"}
    assert type(whole.bert) is BertModel


def test_a_tied_table_is_found_under_any_of_its_names(store: Path, tmp_path: Path) -> None:
    model = theirs_in(tmp_path / "theirs", "gpt2", store)
    expected = open_pretrained(str(tmp_path / "theirs")).state
    tensors = load_file(tmp_path / "theirs/model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")
    save_file(tensors, tmp_path / "theirs/model.safetensors")
    found = open_pretrained(str(tmp_path / "theirs")).state
    assert torch.equal(found["body.token_table.weight"], expected["body.token_table.weight"])
    assert type(model.transformer) is GPT2Model


# --- from one run to another ---


@pytest.fixture(scope="module")
def sources(corpus_file: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind of stacks."""
    home = tmp_path_factory.mktemp("sources")
    where = ("--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(home))
    for name in ("masked_lm", "causal_lm", "denoising"):
        config = ("--config", str(ROOT / f"configs/{name}.yaml"), "--name", name)
        steps = ("--budget.steps", "4", "--checkpoints.every_steps", "2", "--checkpoints.keep", "9")
        assert train_in_process([*config, *TINY, *where, *steps, "--data.window", "30"]) == 0
    return {path.name: path for path in home.iterdir()}


@pytest.mark.parametrize(
    ("source", "objective", "layers"),
    [
        ("causal_lm", "masked_lm", "2"),
        ("masked_lm", "denoising", "[2,1]"),
        ("denoising", "causal_lm", "1"),
        pytest.param("denoising", "span_corruption", "2", marks=pytest.mark.slow),
        pytest.param("causal_lm", "causal_lm", "2", marks=pytest.mark.slow),
        pytest.param("masked_lm", "causal_lm", "2", marks=pytest.mark.slow),
        pytest.param("causal_lm", "span_corruption", "[1,2]", marks=pytest.mark.slow),
        pytest.param("denoising", "masked_lm", "1", marks=pytest.mark.slow),
    ],
)
def test_every_weight_that_fits_is_taken_and_every_other_is_as_in_a_run_from_scratch(
    source: str, objective: str, layers: str, sources: dict[str, Path], tiny_run: Command, tmp_path: Path
) -> None:
    shape = ("--body.layers", layers)
    assert train_in_process(tiny_run(objective, "warm", *UNMOVED, *shape, *init_from(sources[source]))) == 0
    assert train_in_process(tiny_run(objective, "cold", *UNMOVED, *shape)) == 0
    theirs, warm, cold = (
        weights_of(sources[source]),
        weights_of(tmp_path / "runs/warm"),
        weights_of(tmp_path / "runs/cold"),
    )
    assert warm.keys() == cold.keys()
    stacks = sources_of_stacks(
        open_pretrained(str(sources[source])).num_blocks, load_run(tmp_path / "runs/warm").network.body.num_blocks
    )
    for name, tensor in warm.items():
        _, stack, *rest = name.split(".")
        origin = ".".join(["body", source_stack, *rest]) if (source_stack := stacks.get(stack)) else name
        is_there = origin in theirs and stacks.get(stack, stack) is not None
        torch.testing.assert_close(tensor, theirs[origin] if is_there else cold[name], rtol=0, atol=1e-25)
    table = "body.token_table.weight"
    assert torch.equal(warm[table], theirs[table])


def test_what_began_anew_and_where_weights_came_from_is_printed_and_kept(
    sources: dict[str, Path], tiny_run: Command, tmp_path: Path
) -> None:
    command = tiny_run("masked_lm", "run", "--budget.steps", "2", *init_from(sources["causal_lm"]))
    printed = run_script("train.py", *command).stderr
    assert "the tokenizer is that of" in printed
    assert (
        "causal_lm, step 4: 14 tensors; decoder -> encoder; initialised anew: next_sentence_head (4 tensors)" in printed
    )
    info = json.loads((tmp_path / "runs/run/run.json").read_text())
    sha256 = json.loads((sources["causal_lm"] / "checkpoints/step-00000004/sha256.json").read_text())
    assert info["initialized_from"]["sha256"] == sha256["weights.safetensors"]
    assert info["initialized_from"]["origin"].endswith("causal_lm, step 4")


def test_a_checkpoint_in_a_run_may_be_named(sources: dict[str, Path]) -> None:
    early = open_pretrained(str(sources["causal_lm"] / "checkpoints/step-00000002"))
    late = open_pretrained(str(sources["causal_lm"]))
    assert early.origin.endswith("step 2")
    assert not torch.equal(early.state["body.token_table.weight"], late.state["body.token_table.weight"])


def test_a_run_that_goes_on_keeps_what_it_learned(sources: dict[str, Path], tiny_run: Command, tmp_path: Path) -> None:
    """It is not begun with the first weights once more: stopped and resumed equals uninterrupted."""
    common = ("--checkpoints.every_steps", "3", *init_from(sources["causal_lm"]))
    whole = tiny_run("causal_lm", "whole", "--budget.steps", "6", *common)
    assert train_in_process(whole) == 0
    parts = tiny_run("causal_lm", "parts", "--budget.steps", "6", *common)
    assert train_in_process(parts) == 0
    folder = tmp_path / "runs/parts"
    (folder / "summary.json").unlink()
    newest = folder / "checkpoints/step-00000006"
    newest.rename(tmp_path / "gone")
    assert train_in_process(parts) == 0
    assert metrics_of(folder)[-1] == metrics_of(tmp_path / "runs/whole")[-1]
    ours, theirs = weights_of(folder), weights_of(tmp_path / "runs/whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_document_masking_and_dropout_and_positions_are_free(sources: dict[str, Path]) -> None:
    source = open_pretrained(str(sources["causal_lm"]))
    free = replace(source.body, dropout=0.3, document_masking=True, max_positions=77)
    check_fits(source, free, (0, 2))


# --- what is refused ---


def refused(arguments: list[str], *, status: int = 2) -> str:
    done = run_script("train.py", *arguments)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert "[data]" not in done.stderr, "refused before anything is read"
    return done.stderr.strip().splitlines()[-1]


def test_another_shape_is_refused_with_both_numbers_and_a_line_that_fits(
    store: Path, tiny_run: Command, tmp_path: Path
) -> None:
    theirs_in(tmp_path / "theirs", "bart", store)
    begin = init_from(tmp_path / "theirs")
    command = tiny_run("denoising", "run", "--budget.steps", "2", "--body.width", "48", *begin)
    error = refused(command)
    assert "preset = bart, and here lab" in error
    assert "width = 32, and here 48" in error
    assert "2 blocks for the encoder, and here 1" in error
    line = error.strip().split("a run needs ")[1]
    assert train_in_process([*command, *shlex.split(line)]) == 0


@pytest.mark.parametrize(
    ("make", "printed"),
    [
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "only safetensors are read",
        ),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "mamba"}'),
            "model_type = mamba is none of",
        ),
        (lambda folder: (folder / "config.json").write_text("{"), "no JSON"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 50), "is no safetensors file"),
        (lambda folder: (folder / "config.json").unlink(), "has neither the config.yaml of a run nor the config.json"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_in_one_line(
    make: Callable[[Path], Any], printed: str, store: Path, tiny_run: Command, tmp_path: Path
) -> None:
    theirs_in(tmp_path / "theirs", "gpt2", store)
    make(tmp_path / "theirs")
    shape = ("--body.preset", "gpt2")
    assert printed in refused(tiny_run("causal_lm", "run", *shape, *init_from(tmp_path / "theirs")))


def test_a_name_that_is_neither_here_nor_within_reach_is_refused(tiny_run: Command, tmp_path: Path) -> None:
    unreached = refused(tiny_run("causal_lm", "run", *init_from("nobody/nothing")), status=4)
    assert "'nobody/nothing' is no file here, no copy of it is in the hub's cache, and HF_HUB_OFFLINE is" in unreached
    assert "neither a folder nor a name" in refused(tiny_run("causal_lm", "run", *init_from("a/b/c")))


def test_another_tokenizer_is_refused(sources: dict[str, Path], store: Path, tiny_run: Command, tmp_path: Path) -> None:
    other = tmp_path / "tokenizer.json"
    other.write_text((store / "tokenizer.json").read_text() + "\n")
    command = tiny_run("causal_lm", "run", "--data.tokenizer", str(other), *init_from(sources["causal_lm"]))
    assert "whose weights know its own ids alone: leave data.tokenizer out" in refused(command)


def test_a_report_counts_the_tensors_of_each_part() -> None:
    fresh = [
        "body.decoder.blocks.0.cross_norm.weight",
        "body.head.bias",
        "next_sentence_head.pooler.bias",
    ]
    printed = str(Report("X", "", taken=3, fresh=[*fresh, "body.decoder.final_norm.weight"]))
    assert printed == (
        "initialized from X: 3 tensors; initialised anew: decoder's cross-attention (1 tensor), head (1 tensor), "
        "next_sentence_head (1 tensor), decoder (1 tensor)"
    )
