"""Out of memory halves the micro-batches of `data.micro_batch_size: auto`, and repeats the step from the same state."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import metrics_of, several_processes, train_in_process, weights_of
from tests.training.lacking import lacking
from tests.training.step.test_distributed import assert_close, rewind
from training.step.module import ExactModule

Command = Callable[..., list[str]]
AUTO = ("--data.micro_batch_size", "auto")
STEPS = ("--budget.steps", "6", "--checkpoints.every_steps", "2", "--checkpoints.keep", "9")
DROPOUT = ("--body.dropout", "0.1")


@pytest.fixture
def lacks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the runs of this test run out of memory."""

    def begin(*fails: tuple[int, int, int], backward: bool = True) -> None:
        start = ExactModule.on_train_start

        def on_train_start(self: ExactModule) -> None:
            start(self)
            lacking(self, fails, backward=backward)

        monkeypatch.setattr(ExactModule, "on_train_start", on_train_start)

    return begin


def assert_equal(run: Path, reference: Path) -> None:
    """Every bit of the weights, and every logged number."""
    found, expected = weights_of(run), weights_of(reference)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert metrics_of(run) == metrics_of(reference)


def sizes_of(run: Path) -> Any:
    return json.loads((run / "run.json").read_text(encoding="utf-8")).get("micro_batch_sizes")


@pytest.mark.parametrize(
    ("options", "backward"),
    [(DROPOUT, True), pytest.param(("--trainer.precision", "16-mixed"), False, marks=pytest.mark.slow)],
    ids=["with dropout, backward", "in float16, forward"],
)
def test_a_step_that_fails_in_its_first_its_last_and_a_middle_micro_batch_is_that_of_the_size_that_fits(
    tiny_run: Command,
    tmp_path: Path,
    lacks: Callable[..., None],
    options: tuple[str, ...],
    backward: bool,
) -> None:
    """Bit by bit: of the failed tries nothing is left in gradients, optimizer, averages, dropout, scale and numbers."""
    settings = (*STEPS, *options, "--optimizer.ema_decay", "0.9")
    assert train_in_process(tiny_run("causal_lm", "fixed", *settings, "--data.micro_batch_size", "1")) == 0
    lacks((0, 8, 0), (0, 4, 1), (0, 2, 2), backward=backward)
    assert train_in_process(tiny_run("causal_lm", "auto", *settings, *AUTO)) == 0
    assert_equal(tmp_path / "runs/auto", tmp_path / "runs/fixed")
    assert sizes_of(tmp_path / "runs/auto") == {"0": 1}


@pytest.mark.parametrize("workers", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_a_run_that_fails_midway_is_the_run_of_another_split_and_says_so_once(
    tiny_run: Command, tmp_path: Path, lacks: Callable[..., None], workers: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Law 2: float64, relative 1e-12; a batch of 6 splits into micro-batches of 3 and of 1."""
    settings = (*STEPS, "--trainer.precision", "64-true", "--data.batch_size", "6", "--data.workers", workers)
    settings = (*settings, "--validation.every_steps", "2")
    assert train_in_process(tiny_run("masked_lm", "fixed", *settings)) == 0
    lacks((1, 6, 0), (4, 3, 1))
    assert train_in_process(tiny_run("masked_lm", "auto", *settings, *AUTO)) == 0
    assert_close(tmp_path / "runs/auto", tmp_path / "runs/fixed", relative=1e-12)
    assert sizes_of(tmp_path / "runs/auto") == {"1": 3, "4": 1}
    lines = [record.message for record in caplog.records if "is out of memory" in record.message]
    assert len(lines) == 2
    assert "step 2 is out of memory with 6 windows at once" in lines[0]
    assert lines[0].endswith("data.micro_batch_size auto is 3 from here")


def test_a_run_that_goes_on_takes_each_size_at_the_step_at_which_it_was_found(
    tiny_run: Command, tmp_path: Path, lacks: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 3, bit by bit, dropout included, whether or not memory is short the second time."""
    settings = (*STEPS, *DROPOUT, *AUTO, "--validation.every_steps", "1")
    lacks((1, 8, 0), (3, 4, 1))
    assert train_in_process(tiny_run("causal_lm", "whole", *settings)) == 0
    monkeypatch.undo()
    runs = tmp_path / "runs"
    for step in (2, 4):
        again = runs / f"from-{step}"
        shutil.copytree(runs / "whole", again)
        rewind(again, step)
        assert train_in_process(tiny_run("causal_lm", again.name, *settings)) == 0
        assert_equal(again, runs / "whole")
        assert sizes_of(again) == {"1": 4, "3": 2}


def test_a_row_that_does_not_fit_ends_the_run_in_one_line_and_so_does_a_size_that_was_set(
    tiny_run: Command, lacks: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (*STEPS, "--data.batch_size", "2")
    lacks((2, 2, 0), (2, 1, 1))
    assert train_in_process(tiny_run("causal_lm", "auto", *settings, *AUTO)) == 4
    line = capsys.readouterr().err.splitlines()[-1]
    assert "data.micro_batch_size = auto, which has come to 1 of the windows: lower data.window or the body's" in line
    assert "step-00000002 is whole" in line
    lacks((2, 2, 0))
    assert train_in_process(tiny_run("causal_lm", "set", *settings)) == 4
    line = capsys.readouterr().err.splitlines()[-1]
    assert "lower data.micro_batch_size or set it to auto" in line


def test_a_validation_batch_that_does_not_fit_is_validated_in_halves(
    tiny_run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (*STEPS, "--trainer.precision", "64-true", "--data.validation_windows", "7")
    assert train_in_process(tiny_run("masked_lm", "fixed", *settings)) == 0
    validate, most = ExactModule.validate, 3

    def lacking_above(self: ExactModule, batch: Any) -> None:
        if len(batch.indices) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        validate(self, batch)

    monkeypatch.setattr(ExactModule, "validate", lacking_above)
    assert train_in_process(tiny_run("masked_lm", "auto", *settings, *AUTO)) == 0
    assert_close(tmp_path / "runs/auto", tmp_path / "runs/fixed", relative=1e-12)
    capsys.readouterr()
    most = 0
    assert train_in_process(tiny_run("masked_lm", "none", *settings, *AUTO)) == 4
    assert "where 1 of the windows is validated: lower data.window" in capsys.readouterr().err


def test_one_of_two_processes_that_fails_makes_both_repeat_the_step(tiny_run: Command, tmp_path: Path) -> None:
    """Law 2: float64, relative 1e-12, beside one process that never fails; both record and go on with one size."""
    settings = (*STEPS, "--trainer.precision", "64-true", "--data.window", "12")
    assert train_in_process(tiny_run("masked_lm", "one", *settings)) == 0
    fails = {"class_path": "tests.training.lacking.Lacking", "init_args": {"fails": [[1, 4, 0], [3, 2, 1]], "rank": 1}}
    done = several_processes(
        *tiny_run("masked_lm", "two", *settings, *AUTO, "--trainer.callbacks", json.dumps([fails]))
    )
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "runs/two", tmp_path / "runs/one", relative=1e-12)
    assert sizes_of(tmp_path / "runs/two") == {"1": 2, "3": 1}
    assert done.stderr.count("is out of memory with") == 2


def test_a_sharded_run_needs_a_number(tiny_run: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_in_process(tiny_run("causal_lm", "sharded", *STEPS, *AUTO, "--trainer.strategy", "fsdp")) == 2
    assert "data.micro_batch_size = auto does not go with trainer.strategy = fsdp" in capsys.readouterr().err
