"""Recurrent runs are taken through tasks as any other: a language model, and sequence to sequence with attention."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from finetuning.grid import fine_tune
from finetuning.load import load_fine_tuned, predictions_of
from tests.finetuning.opened import opened
from tests.helpers import train_in_process

Command = Callable[..., list[str]]
RECURRENT = ("--body.kind", "recurrent", "--body.layers", "[1,1]", "--budget.steps", "2")


@pytest.fixture
def recurrent_task(tiny_run: Command, tiny_task: Command, tmp_path: Path) -> Command:
    """As `tiny_task`, of a recurrent run of that objective."""

    def command(task: str, objective: str, *more: str) -> list[str]:
        layers = ("--body.layers", "2") if objective == "causal_lm" else ()
        run = tiny_run(objective, f"recurrent-{objective}", *RECURRENT, *layers)
        heads = run.index("--body.num_heads")
        del run[heads : heads + 2]  # of a Transformer
        if not (tmp_path / f"runs/recurrent-{objective}").exists():
            assert train_in_process(run) == 0
        arguments = tiny_task(task, objective, *more)
        arguments[arguments.index("--checkpoint") + 1] = str(tmp_path / f"runs/recurrent-{objective}")
        return arguments

    return command


@pytest.mark.parametrize(
    ("task", "objective", "more"),
    [
        pytest.param(
            *("classification", "causal_lm", ("--tuning.layer_decay", "0.5", "--tuning.unfreeze_every", "0.1")),
            marks=pytest.mark.slow,
        ),
        pytest.param("classification", "span_corruption", ("--tuning.freeze", "true"), marks=pytest.mark.slow),
        pytest.param("generation", "causal_lm", (), marks=pytest.mark.slow),
        ("text_to_text", "span_corruption", ("--task.source_lengths", "[20]", "--tuning.layer_decay", "0.5")),
    ],
)
def test_a_recurrent_run_is_tuned_and_answers_from_its_folder_as_it_was_scored(
    recurrent_task: Command, task: str, objective: str, more: tuple[str, ...]
) -> None:
    arguments = recurrent_task(task, objective, *more)
    tuned = fine_tune(arguments)
    _, data = opened(arguments)
    loaded = load_fine_tuned(tuned.folder).module
    rows = data.rows["test"]
    scores = loaded.measure_predictions(rows, predictions_of(loaded, rows, batch_size=5))
    reported = {name: value for name, value in tuned.scores.items() if name.startswith("test/")}
    assert {f"test/{name}": score.value for name, score in scores.items()} == pytest.approx(reported)
    assert all(np.isfinite(list(tuned.scores.values())))
    if task == "text_to_text":
        assert any("/source " in name for name in reported)


def test_a_recurrent_decoder_has_no_mask_to_lift(recurrent_task: Command) -> None:
    with pytest.raises(UserError, match="reads from the left alone"):
        fine_tune(recurrent_task("classification", "causal_lm", "--tuning.attention", "bidirectional"))
