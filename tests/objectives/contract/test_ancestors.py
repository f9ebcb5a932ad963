"""Recurrent bodies under the objectives as they are: one command each to train, generate and score; the laws hold."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

import export
import generate
import score
from finetuning.body.body import make_body, start_from
from models.recurrent.config import RecurrentConfig
from models.recurrent.recurrent import Recurrent
from objectives.weights.load import load_run
from tests.helpers import ROOT, UNMEASURED, make_cli, metrics_of, train_in_process, weights_of
from tests.training.stopped import At, Killed, assert_same_run, killed
from training.session import train

Command = Callable[..., list[str]]
# With attention, and a decoder alone; the others differ from the first by settings of the same body.
NAMES = ["bahdanau", "lstm_lm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("luong", "context_vector"))]


@pytest.fixture
def tiny(corpus_file: Path, cache: Path, store: Path, tmp_path: Path) -> Command:
    """The command line of a run of a moment."""

    def command(name: str, run: str, *more: str) -> list[str]:
        where = [
            *UNMEASURED,
            "--data.corpus",
            str(corpus_file),
            "--data.cache",
            str(cache),
            "--runs",
            str(tmp_path / "runs"),
        ]
        small = ["--data.vocab_size", "480", "--data.window", "24", "--data.batch_size", "8", "--body.width", "16"]
        quiet = ["--data.validation_windows", "8", "--logging.wandb", "off", "--logging.every_steps", "2"]
        return ["--config", str(ROOT / f"configs/ancestors/{name}.yaml"), "--name", run, *where, *small, *quiet, *more]

    return command


@pytest.mark.parametrize("name", NAMES)
def test_an_ancestor_trains_generates_and_is_scored(
    tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert train_in_process(tiny(name, "own", "--budget.steps", "6")) == 0
    folder = tmp_path / "runs/own"
    losses = [float(row["train/loss"]) for row in metrics_of(folder) if row.get("train/loss")]
    assert losses[-1] < losses[0]
    assert isinstance(load_run(folder).network.body, Recurrent)
    text = "The old cat" if name == "lstm_lm" else "The old [MASK] sees a bird ."
    assert generate.main([str(folder), text, "--max_new_tokens", "4"]) == 0
    assert score.main([str(folder), "--passages", "2"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        export.main([str(folder), "--to", str(tmp_path / "exported")])
    assert "transformers has no class of recurrent models" in capsys.readouterr().err
    start, pretrained = start_from(str(folder))
    assert isinstance(start.body, RecurrentConfig)
    assert make_body(start, dropout=0.1, head=False).head is None
    assert pretrained.num_blocks == load_run(folder).network.body.num_blocks


@pytest.mark.parametrize("objective", ["denoising.Denoising", "masked_lm.MaskedLM", "causal_lm.CausalLM"])
def test_other_objectives_run_unchanged(tiny: Command, objective: str) -> None:
    model = ("--model.class_path", f"objectives.{objective}", "--budget.steps", "2", "--body.layers", "2")
    assert train_in_process(tiny("luong", "other", *model)) == 0


def test_law_2_the_step_does_not_depend_on_how_it_is_split(tiny: Command, tmp_path: Path) -> None:
    exact = ("--budget.steps", "3", "--trainer.precision", "64-true", "--body.attention", "concat")
    for micro in ("8", "1"):
        assert train_in_process(tiny("luong", f"micro-{micro}", *exact, "--data.micro_batch_size", micro)) == 0
    whole, split = (weights_of(tmp_path / f"runs/micro-{micro}") for micro in ("8", "1"))
    for name, tensor in whole.items():
        torch.testing.assert_close(split[name], tensor, rtol=0, atol=1e-12)


def test_law_3_a_run_goes_on_bit_by_bit(tiny: Command, tmp_path: Path) -> None:
    saving = ("--budget.steps", "6", "--body.dropout", "0.1", "--checkpoints.every_steps", "1")
    assert train_in_process(tiny("lstm_lm", "whole", *saving)) == 0
    with pytest.raises(Killed):
        train(make_cli(tiny("lstm_lm", "broken", *saving)), [At(3, killed)])
    assert train_in_process(tiny("lstm_lm", "broken", *saving)) == 0
    assert_same_run(tmp_path / "runs/broken", tmp_path / "runs/whole")


def test_a_file_of_a_shape_gives_any_body_what_it_has(tiny: Command) -> None:
    cli = make_cli(tiny("lstm_lm", "run", "--config", str(ROOT / "configs/shapes/nano.yaml")))
    assert cli.config.body.kind == "recurrent"
    assert (cli.config.body.width, cli.config.body.layers) == (128, 4)
    assert yaml.safe_load(yaml.safe_dump(cli.resolved_config()))["body"]["cell"] == "lstm"
    assert make_cli(["--config", str(ROOT / "configs/causal_lm.yaml")]).config.body.preset == "lab"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--body.num_heads", "2"), "num_heads"),
        (("--body.kind", "quantum"), "body.kind = quantum is none of transformer, recurrent"),
        (("--body.attention", "soft"), "attention"),
        (("--body.document_masking", "true"), "within_document"),
    ],
)
def test_a_setting_that_the_body_has_not_is_refused(
    tiny: Command, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert train_in_process(tiny("luong", "wrong", *more)) == 2
    assert message in capsys.readouterr().err


def test_weights_of_another_kind_of_body_are_refused(
    tiny: Command, tiny_run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_in_process(tiny("lstm_lm", "own", "--budget.steps", "2")) == 0
    init = ("--model.init_args.init_from", str(tmp_path / "runs/own"))
    assert train_in_process(tiny("lstm_lm", "next", "--budget.steps", "2", *init)) == 0
    assert train_in_process(tiny_run("causal_lm", "other", "--budget.steps", "2", *init)) == 2
    assert "body.kind = recurrent, and here it is transformer" in capsys.readouterr().err
