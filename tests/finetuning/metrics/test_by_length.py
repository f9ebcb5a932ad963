"""Rows by length: every row in one range, and every metric on each range what it is on those rows alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from finetuning.data.rows import PairRow
from finetuning.metrics.by_length import range_names, rows_by_length
from finetuning.tasks.text_to_text import METRICS, TextToTextTask


def task(**settings: object) -> TextToTextTask:
    return TextToTextTask(**{"name": "copy", "train": "train.jsonl", "scores": ("chrf", "rougeL"), **settings})  # pyright: ignore[reportArgumentType]


def no_likelihood(sources: object, targets: object) -> np.ndarray:
    raise AssertionError("overlaps ask no model")


def test_edges_close_their_ranges() -> None:
    assert range_names([10, 20]) == ["up to 10", "11 to 20", "over 20"]
    assert range_names([10]) == ["up to 10", "over 10"]
    assert range_names([]) == []
    assert rows_by_length([21, 10, 11, 0, 20], [10, 20]) == {"up to 10": [1, 3], "11 to 20": [2, 4], "over 20": [0]}
    assert rows_by_length([3, 30], [10, 20]) == {"up to 10": [0], "over 20": [1]}


@given(
    lengths=st.lists(st.integers(0, 60), max_size=20),
    edges=st.lists(st.integers(1, 50), unique=True, max_size=4).map(sorted),
)
def test_every_row_is_in_one_range(lengths: list[int], edges: list[int]) -> None:
    found = rows_by_length(lengths, edges)
    assert sorted(row for rows in found.values() for row in rows) == (list(range(len(lengths))) if edges else [])
    assert list(found) == [name for name in range_names(edges) if name in found]
    longest = [max(lengths[row] for row in rows) for rows in found.values()]
    assert longest == sorted(longest)


def test_a_metric_of_a_range_is_the_metric_of_its_rows() -> None:
    """Characters are counted, without the prefix: \ubc14\ub78c has two, whatever its bytes."""
    rows = [
        PairRow(source=source, targets=(target,))
        for source, target in (("\ubc14\ub78c", "wind"), ("ten letter", "ten letters"), ("an eleventh", "eleven"))
    ]
    texts = ["wind", "ten", "twelve"]
    scores = task(source_lengths=(10,), prefix="translate Korean to English: ").measure_text(rows, texts, no_likelihood)
    assert list(scores)[:2] == ["chrf", "rougeL"]  # what is reported of all rows comes first
    for name in ("chrf", "rougeL"):
        short, long = scores[f"{name}/source up to 10"], scores[f"{name}/source over 10"]
        assert short.value == METRICS[name](texts[:2], [row.targets for row in rows[:2]]).value
        assert long.value == METRICS[name](texts[2:], [rows[2].targets]).value
        assert short.items is long.items is None  # predictions.jsonl has a row's part in `rougeL` once
    assert scores["rougeL"].items is not None
    assert set(task().measure_text(rows, texts, no_likelihood)) == {"chrf", "rougeL"}


@pytest.mark.parametrize("edges", [(0,), (20, 10), (10, 10), (-1, 5)])
def test_edges_that_do_not_rise_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"task.source_lengths = \[.*rising"):
        task(source_lengths=edges)
