"""A run whose data have changed is not gone on with, and one line names the change."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from finetuning.grid import fine_tune
from tests.finetuning.opened import opened
from tests.finetuning.test_scripts import status_of

Command = Callable[..., list[str]]


@pytest.mark.parametrize("label", ["animal", "a new label"])
def test_a_line_that_was_appended_is_named(
    tiny_task: Command, task_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], label: str
) -> None:
    import finetune

    train = tmp_path / "train.jsonl"
    train.write_text((task_files / "train.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    where = ("--task.train", str(train))
    first = tiny_task("classification", "masked_lm", *where)
    folder = fine_tune(first).folder
    for name in ("summary.json", "scores.json"):  # as where the run was stopped at its last checkpoint
        (folder / name).unlink(missing_ok=True)
    row = {"text": "the cat and a zebra", "label": label}
    train.write_text(train.read_text(encoding="utf-8") + json.dumps(row) + "\n", encoding="utf-8")
    assert status_of(finetune.main, first) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "was begun on other data: " in error
    assert ("new labels 'a new label'" in error) == (label == "a new label")
    assert "Give this run another --name" in error


def test_extractive_answers_are_evaluated_on_a_sample_while_training(tiny_task: Command) -> None:
    module, data = opened(tiny_task("questions", "masked_lm", "--task.validation_rows", "5"))
    assert len(data.validated.rows) == 5
    assert len(data.rows["development"]) == 24
    assert {example.row for example in data.validated.examples} == set(range(5))
    again = opened(tiny_task("questions", "masked_lm", "--task.validation_rows", "5"))[1]
    assert data.validated.rows == again.validated.rows
    whole = opened(tiny_task("questions", "masked_lm"))[1]
    assert whole.validated.rows is whole.rows["development"]
    assert module.task.validation_rows == 5


def test_a_source_without_room_is_refused(tiny_task: Command) -> None:
    for objective in ("causal_lm", "span_corruption"):
        more = ("--data.max_length", "16" if objective == "causal_lm" else "1")
        with pytest.raises(ValueError, match=r"data\.max_length = \d+ leaves no room for a source"):
            opened(tiny_task("text_to_text", objective, *more))
