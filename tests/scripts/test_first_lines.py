"""The first and the last thing that a user reads of a run: whether it will export, and what comes next."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objectives.weights.export import export_readiness
from tests.helpers import make_cli, train_in_process

Command = Callable[..., list[str]]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("objective", "expected"),
    {
        "causal_lm": "will export to transformers, as LlamaForCausalLM",
        "masked_lm": "(EuroBertForMaskedLM has no place for next_sentence_head); --body.preset bert would",
        "denoising": "--body.preset bart or t5 or t5_v1_1 would",
    }.items(),
)
def test_a_run_tells_at_its_start_whether_it_will_export(tiny_run: Command, objective: str, expected: str) -> None:
    module: Any = make_cli(tiny_run(objective, "run")).model
    assert export_readiness(module.objective, module.config, module.num_blocks).endswith(expected)
    preset = expected.split()[-2] if expected.endswith("would") else "lab"
    module = make_cli(tiny_run(objective, "run", "--body.preset", preset)).model
    assert export_readiness(module.objective, module.config, module.num_blocks).startswith("will export")


def test_training_begins_with_that_line_and_ends_with_the_next_command(
    tiny_run: Command, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_in_process(tiny_run("causal_lm", "run", "--budget.steps", "12")) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "runs/run will export to transformers, as LlamaForCausalLM"
    assert lines[-1].endswith("generate.py runs/run 'Thank you for'")
    validations = [line for line in lines if line.startswith("validation at step")]
    assert len(validations) == 2  # not at each of twelve steps
    assert "next_token" in validations[-1]
    assert "bits per byte" in validations[-1]
    assert "unigram entropy" in validations[-1]


def test_a_refused_command_leaves_no_folder_behind_and_an_earlier_run_as_it_was(
    tiny_run: Command, tmp_path: Path
) -> None:
    wrong = ("--data.corpus", "no/such/file.txt")
    assert train_in_process(tiny_run("causal_lm", "stub", *wrong)) == 2
    assert not (tmp_path / "runs/stub").exists()
    assert train_in_process(tiny_run("causal_lm", "kept", "--budget.steps", "2")) == 0
    assert train_in_process(tiny_run("causal_lm", "kept", "--budget.steps", "3", *wrong)) == 2
    assert (tmp_path / "runs/kept/summary.json").is_file()


def test_a_window_that_cannot_fit_is_refused_before_anything_is_made(
    tiny_run: Command, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = 4_000_000
    monkeypatch.setattr("train.total_memory", lambda device: 10**9)
    assert train_in_process(tiny_run("masked_lm", "huge", "--data.window", str(window))) == 2
    assert f"data.window = {window} with 8 windows at once takes" in capsys.readouterr().err
    assert not (tmp_path / "runs/huge").exists()


def test_a_tokenizer_is_taken_from_a_run_or_one_of_its_checkpoints(tiny_run: Command, tmp_path: Path) -> None:
    assert train_in_process(tiny_run("causal_lm", "first", "--budget.steps", "2")) == 0
    first = tmp_path / "runs/first"
    for name, folder in (("second", first), ("third", next(first.glob("checkpoints/step-*")))):
        assert (
            train_in_process(tiny_run("causal_lm", name, "--budget.steps", "2", "--data.tokenizer", str(folder))) == 0
        )
        assert (tmp_path / "runs" / name / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()


def test_a_folder_without_a_tokenizer_is_refused(tiny_run: Command, tmp_path: Path, capsys: Capture) -> None:
    assert train_in_process(tiny_run("causal_lm", "run", "--data.tokenizer", str(tmp_path))) == 2
    assert f"data.tokenizer: no tokenizer.json in '{tmp_path}'" in capsys.readouterr().err
