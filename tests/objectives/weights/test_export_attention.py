"""Decoders that look to both sides, as transformers loads them: logits in float64, a padded row among them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig

from models.body import Inputs
from objectives.weights.export import BIDIRECTIONAL, export_run
from objectives.weights.load import TrainedRun, load_run
from tests.helpers import train_in_process
from tests.models.huggingface.families import float64_throughout
from tests.objectives.start.folders import class_of

Command = Callable[..., list[str]]
IDS = torch.tensor([[1, 200, 201, 202, 203, 204], [1, 210, 211, 0, 0, 0]])
LENGTHS = torch.tensor([6, 3])
REAL = torch.arange(6) < LENGTHS[:, None]


def ours(run: TrainedRun, **how: Any) -> Tensor:
    """[N, V], logits at the positions that are no padding."""
    network = run.network.double()
    inputs = Inputs(decoder_ids_BT=IDS, decoder_lengths_B=LENGTHS, **how)
    return network.body.logits(network.body(inputs)[REAL]).detach()


def theirs(folder: Path, config: str = "config.json", **inputs: Any) -> Tensor:
    settings = AutoConfig.from_pretrained(folder / config)
    model = class_of(folder).from_pretrained(folder, config=settings, dtype=torch.float64).eval()
    with float64_throughout(), torch.no_grad():
        return model(input_ids=IDS, **({"attention_mask": REAL.long()} | inputs)).logits[REAL]


def exported(tiny_run: Command, tmp_path: Path, name: str, *more: str) -> tuple[TrainedRun, Path]:
    assert train_in_process(tiny_run(name, "run", "--budget.steps", "2", *more)) == 0
    run = load_run(tmp_path / "runs/run")
    assert export_run(run, tmp_path / "folder") == "LlamaForCausalLM"
    return run, tmp_path / "folder"


def in_prefix(lengths: list[int]) -> Tensor:
    return (torch.arange(6) < torch.tensor(lengths)[:, None]).long()


def test_the_dual_objective_is_one_weight_file_with_two_configs(tiny_run: Command, tmp_path: Path) -> None:
    run, folder = exported(tiny_run, tmp_path, "dual")
    torch.testing.assert_close(theirs(folder), ours(run), rtol=0, atol=1e-10)
    both = ours(run, prefixes=in_prefix([6, 3]))
    torch.testing.assert_close(theirs(folder, BIDIRECTIONAL), both, rtol=0, atol=1e-10)
    assert (both - ours(run)).abs().max() > 1e-6
    assert BIDIRECTIONAL in (folder / "README.md").read_text(encoding="utf-8")


def test_masked_diffusion_on_a_decoder_is_bidirectional(tiny_run: Command, tmp_path: Path) -> None:
    run, folder = exported(tiny_run, tmp_path, "masked_diffusion", "--model.init_args.predicts", "next")
    torch.testing.assert_close(theirs(folder), ours(run, prefixes=in_prefix([6, 3])), rtol=0, atol=1e-10)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["is_causal"] is False
    assert not (folder / "generation_config.json").exists()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_prefix_lm_takes_an_additive_mask(tiny_run: Command, tmp_path: Path, attention: str) -> None:
    """A boolean mask is right with sdpa and lets the future through in eager attention."""
    run, folder = exported(tiny_run, tmp_path, "prefix_lm")
    prefixes = in_prefix([3, 2])
    sees = torch.ones(6, 6).tril().bool() | ((prefixes[:, :, None] == prefixes[:, None]) & (prefixes[:, :, None] > 0))
    additive = torch.zeros(2, 1, 6, 6, dtype=torch.float64).masked_fill(~sees[:, None], torch.finfo(torch.float64).min)
    model = class_of(folder).from_pretrained(folder, dtype=torch.float64, attn_implementation=attention).eval()
    places = torch.arange(6)[None].expand(2, -1)
    with float64_throughout(), torch.no_grad():
        right = model(input_ids=IDS, attention_mask=additive, position_ids=places).logits[REAL]
        wrong = model(input_ids=IDS, attention_mask=sees[:, None], position_ids=places).logits[REAL]
    atol = 1e-10 if attention == "sdpa" else 1e-6  # eager attention takes its softmax in float32
    torch.testing.assert_close(right, ours(run, prefixes=prefixes), rtol=0, atol=atol)
    assert ((wrong - right).abs().max() > 1e-4) == (attention == "eager")


def test_fill_in_the_middle_is_a_causal_model_whose_tokenizer_has_the_marks(tiny_run: Command, tmp_path: Path) -> None:
    run, folder = exported(tiny_run, tmp_path, "fill_in_the_middle")
    torch.testing.assert_close(theirs(folder), ours(run), rtol=0, atol=1e-10)
    assert "<|fim_middle|>" in (folder / "tokenizer.json").read_text(encoding="utf-8")
