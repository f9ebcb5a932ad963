"""What has changed of a run's data is named."""

from typing import Any

import pytest

from training.storage.changes import changes_of_data

TASK = {
    "sha256": {"train": "a", "test": "b"},
    "rows": {"train": 100, "test": 20},
    "labels": ["no", "yes"],
    "store": "mine",
}
STORE = {"sha256": {"tokenizer.json": "a", "train/tokens.bin": "b"}, "store": "f00"}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (TASK, {}, []),
        (
            TASK,
            {"sha256": {"train": "c", "test": "b"}, "rows": {"train": 101, "test": 20}},
            ["train has other content (100 rows, now 101)"],
        ),
        (
            TASK,
            {"sha256": {"train": "c", "test": "b"}, "labels": ["maybe", "no"]},
            ["new labels 'maybe'", "labels 'yes' are gone", "train has other content (100 rows, now 100)"],
        ),
        (TASK, {"sha256": {"train": "a"}}, ["no test any more"]),
        (TASK, {"sha256": {**TASK["sha256"], "development": "d"}}, ["development is new"]),  # pyright: ignore
        (
            STORE,
            {"sha256": {"tokenizer.json": "z", "train/tokens.bin": "b"}},
            ["tokenizer.json has other content"],
        ),
        ({"sha256": "a", "store": "x"}, {"sha256": "b", "store": "y"}, ["the text or the tokenizer (store x, now y)"]),
    ],
)
def test_each_change_is_named(before: dict[str, Any], now: dict[str, Any], expected: list[str]) -> None:
    assert changes_of_data(before, {**before, **now}) == expected
