"""The splits of a task: named, marked by a column, or cut from the training rows by their content."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, get_args

from common.errors import UserError
from data.text.sources import RowSource, marked_split
from finetuning.data.labels import Split
from finetuning.data.rows import DataWarnings

# What a column calls the splits.
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "development": ("development", "dev", "validation", "valid", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


class SplitTask(Protocol):
    """What splitting needs of a task."""

    @property
    def split_column(self) -> str | None: ...
    @property
    def development_fraction(self) -> float: ...
    @property
    def test_fraction(self) -> float | None: ...
    @property
    def train_rows(self) -> int | None: ...
    def source_of(self, split: Split) -> RowSource | None: ...
    def read(self, source: RowSource, warnings: DataWarnings) -> list[Any]: ...
    def settled(self, splits: dict[Split, list[Any]], warnings: DataWarnings) -> dict[Split, list[Any]]: ...
    def unit(self, row: Any) -> str: ...


def _key(unit: str) -> bytes:
    return hashlib.sha256(unit.encode("utf-8", "replace")).digest()


def cut(task: SplitTask, rows: Sequence[Any], fraction: float) -> tuple[list[Any], list[Any]]:
    """Rows, and a fraction of them that is held out: chosen by their content, whatever their order and the seed."""
    keys = [_key(task.unit(row)) for row in rows]
    ranked = sorted(set(keys))
    counts = dict.fromkeys(ranked, 0)
    for key in keys:
        counts[key] += 1
    held_out: set[bytes] = set()
    number = 0
    for key in ranked:
        if number >= fraction * len(rows):
            break
        held_out.add(key)
        number += counts[key]
    return (
        [row for row, key in zip(rows, keys, strict=True) if key not in held_out],
        [row for row, key in zip(rows, keys, strict=True) if key in held_out],
    )


def chosen(task: SplitTask, rows: Sequence[Any], number: int) -> list[Any]:
    """`number` of the rows, chosen by their content, in their order."""
    keys = [(_key(f"chosen {task.unit(row)}"), index) for index, row in enumerate(rows)]
    kept = sorted(index for _, index in sorted(keys)[:number])
    return [rows[index] for index in kept]


def _held_out(task: SplitTask, rows: Sequence[Any], fraction: float, split: Split) -> tuple[list[Any], list[Any]]:
    """`cut`, of which neither part is empty.

    Raises:
        UserError: where one is.
    """
    left, held_out = cut(task, rows, fraction)
    if not left or not held_out:
        raise UserError(f"task.train has {len(rows)} rows, too few to hold {fraction:.0%} out of: name a task.{split}")
    return left, held_out


def _sources(task: SplitTask) -> dict[Split, RowSource]:
    """Where the rows of each split are: files, splits of a hub data set, or the rows that a column marks.

    Raises:
        UserError: where that column holds another value, or marks no row of `train`.
    """
    named = {split: task.source_of(split) for split in get_args(Split)}
    sources: dict[Split, RowSource] = {split: source for split, source in named.items() if source is not None}
    column = task.split_column
    if column is None:
        return sources
    found = Counter(marked_split(row, column, origin) for origin, row in sources["train"].rows())
    known = {value: split for split, values in SPLIT_NAMES.items() for value in values}
    for value in found:
        if value not in known:
            raise UserError(
                f"task.split_column = '{column}' holds '{value}', which is none of {', '.join(known)}; the rows are "
                f"{', '.join(f'{count:,} {name}' for name, count in found.items())}"
            )
    marked: dict[Split, RowSource] = {}
    for split, values in SPLIT_NAMES.items():
        if any(value in values for value in found):
            marked[split] = replace(sources["train"], chosen=(column, values))
    if "train" not in marked:
        raise UserError(f"task.split_column = '{column}' marks no row of {', '.join(SPLIT_NAMES['train'])}")
    return marked


def read_splits(task: SplitTask, warnings: DataWarnings) -> dict[Split, list[Any]]:
    """The rows of every split; rows are held out of the training rows before `train_rows` are chosen.

    Raises:
        UserError: where a split cannot be read, or is empty.
    """
    splits: dict[Split, list[Any]] = {}
    for split, source in _sources(task).items():
        splits[split] = task.read(source, warnings)
        if not splits[split]:
            raise UserError(f"task.{split}: '{source}' has no row that can be used")
    splits = task.settled(splits, warnings)
    if "test" not in splits and task.test_fraction is not None:
        splits["train"], splits["test"] = _held_out(task, splits["train"], task.test_fraction, "test")
    if "development" not in splits:
        fraction = task.development_fraction
        splits["train"], splits["development"] = _held_out(task, splits["train"], fraction, "development")
    if task.train_rows is not None:
        splits["train"] = chosen(task, splits["train"], task.train_rows)
    known = {task.unit(row) for row in splits["train"]}
    for split in ("development", "test"):
        for row in splits.get(split, []):
            if task.unit(row) in known:
                warnings.add(f"rows of {split} that are in train too", row.origin)
    return splits
