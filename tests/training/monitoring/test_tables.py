"""Tables whose columns are too many for a terminal: in a log nothing of them is cut."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from finetuning.grid import table_of
from training.monitoring.tables import plain_table, print_whole
from training.storage.scores import FineTuningResult

METRICS = [f"test/rougeL_characters/source over {length}" for length in (10, 20, 40, 80)]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_names_of_many_long_metrics_are_whole(is_terminal: bool) -> None:
    scores = {"development/loss": 1.0, **dict.fromkeys(METRICS, 0.25)}
    runs = [FineTuningResult(folder=Path(), learning_rate=1e-3, seed=0, metric="loss", scores=scores)]
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=is_terminal, color_system=None)
    print_whole(console, table_of(runs))
    printed = file.getvalue()
    assert "\u2026" not in printed
    assert is_terminal or all(metric in printed.splitlines()[0] for metric in METRICS)
    assert console.width == 80


def test_a_plain_table_in_a_log_is_as_wide_as_it_is() -> None:
    table = plain_table("arm", *METRICS)
    table.add_row("causal LM", *("0.250" for _ in METRICS))
    file = io.StringIO()
    print_whole(Console(file=file, width=80), table)
    heading, row = file.getvalue().splitlines()
    assert heading.split("test/")[1:] == [f"{metric.removeprefix('test/')}  " for metric in METRICS]
    assert row.split() == ["causal", "LM", *["0.250"] * 4]
