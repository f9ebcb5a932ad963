"""A task as data: which rows are read, which are trained on, and which metric evaluates it."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from data.text.files import looks_like_a_path
from data.text.sources import FormatSetting, RowSource
from finetuning.data.batch import Order, TaskExample
from finetuning.data.labels import Split
from finetuning.data.rows import DataWarnings
from finetuning.metrics.metrics import Score


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A data set and what to predict from it; each kind of task is a subclass.

    Args:
        name: of the task, from which the names of its runs are made.
        train: the rows that are trained on: files or globs, or a split of `dataset`.
        development: the rows that choose the best weights; by default a fraction of `train`, which is held out.
        test: the rows of the reported scores; null for none.
        dataset: a data set of the Hugging Face hub; null for files.
        configuration: its configuration (`sst2` of `nyu-mll/glue`).
        format: of the files; `auto` goes by their suffix.
        header: names of the columns of files that do not name them.
        development_fraction: fraction of `train` that is held out where `development` is null.
        train_rows: trains on that many rows alone, the same for every seed; null for all.
        metric: by which the best weights are chosen; null for the kind's own.

    Raises:
        UserError: where a value is impossible, or weights would be chosen on what is reported.
    """

    name: str
    train: str | list[str]
    development: str | list[str] | None = None
    test: str | list[str] | None = None
    dataset: str | None = None
    configuration: str | None = None
    format: FormatSetting = "auto"
    header: tuple[str, ...] = ()
    development_fraction: float = 0.1
    train_rows: int | None = None
    metric: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.development_fraction < 1:
            raise UserError(f"task.development_fraction = {self.development_fraction} must lie between 0 and 1")
        if self.train_rows is not None and self.train_rows < 1:
            raise UserError(f"task.train_rows = {self.train_rows} must be at least 1")
        if not self.name or "/" in self.name:
            raise UserError(f"task.name = '{self.name}' must be a plain name")
        for split, other in (("train", "development"), ("train", "test"), ("development", "test")):
            if getattr(self, other) is not None and getattr(self, split) == getattr(self, other):
                raise UserError(
                    f"task.{split} and task.{other} are both '{getattr(self, other)}': reported rows must neither "
                    f"be trained on nor choose the weights; leave task.development null to cut it from task.train"
                )
        if self.metric is not None and self.metric not in self.metrics:
            raise UserError(f"task.metric = '{self.metric}' is none of {', '.join(self.metrics)}")

    def source_of(self, split: Split) -> RowSource | None:
        """Where a split's rows are; None where there is none."""
        named: str | list[str] | None = getattr(self, split)
        if named is None:
            return None
        names = (named,) if isinstance(named, str) else tuple(named)
        if self.dataset is None or any(map(looks_like_a_path, names)):
            return RowSource(name=names, format=self.format, header=self.header, key=f"task.{split}")
        return RowSource(
            name=(self.dataset,), configuration=self.configuration, split="+".join(names), key=f"task.{split}"
        )

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """The metrics that may choose the weights, the kind's own first."""

    @abstractmethod
    def read(self, source: RowSource, warnings: DataWarnings) -> list[Any]:
        """The rows of a split."""

    def settled(self, splits: dict[Split, list[Any]], warnings: DataWarnings) -> dict[Split, list[Any]]:
        """The rows of every split, once all are read: what only the splits together show is refused or left out."""
        return splits

    @abstractmethod
    def unit(self, row: Any) -> str:
        """What must not be in both train and development, such as the context that several questions share."""

    def order(self, rows: Sequence[Any], examples: Sequence[TaskExample], *, batch_size: int, seed: int) -> Order:
        """Which examples stand in which optimizer step: by default, each once an epoch."""
        return Order(np.array([len(example) for example in examples]), batch_size=batch_size, seed=seed)

    def splits(self, warnings: DataWarnings) -> dict[Split, list[Any]]:
        """The rows of every split.

        Raises:
            UserError: where a split cannot be read, or is empty.
        """
        return read_splits(self, warnings)

    def as_text(self, row: Any) -> tuple[str, str | None]:
        """A row as source and target text, as T5 has every task; a target that is not known is None.

        Raises:
            UserError: where rows of this kind have no such form.
        """
        raise UserError(f"task.name = {self.name}: tasks of this kind ({type(self).__name__}) have no form as text")

    def measure_text(self, rows: Sequence[Any], generated: Sequence[str]) -> dict[str, Score]:
        """The metrics of texts that were generated from the sources of `as_text`."""
        raise NotImplementedError

    @property
    @abstractmethod
    def module(self) -> type[Any]:
        """The module that is trained on tasks of this kind."""


def _key(unit: str) -> bytes:
    return hashlib.sha256(unit.encode("utf-8", "replace")).digest()


def cut(task: Task, rows: Sequence[Any], fraction: float) -> tuple[list[Any], list[Any]]:
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


def chosen(task: Task, rows: Sequence[Any], number: int) -> list[Any]:
    """`number` of the rows, chosen by their content, in their order."""
    keys = [(_key(f"chosen {task.unit(row)}"), index) for index, row in enumerate(rows)]
    kept = sorted(index for _, index in sorted(keys)[:number])
    return [rows[index] for index in kept]


def read_splits(task: Task, warnings: DataWarnings) -> dict[Split, list[Any]]:
    """The rows of every split; rows are held out of the training rows before `train_rows` are chosen.

    Raises:
        UserError: where a split cannot be read, or is empty.
    """
    splits: dict[Split, list[Any]] = {}
    for split in ("train", "development", "test"):
        source = task.source_of(split)
        if source is not None:
            splits[split] = task.read(source, warnings)
            if not splits[split]:
                raise UserError(f"task.{split}: '{source}' has no row that can be used")
    splits = task.settled(splits, warnings)
    if "development" not in splits:
        splits["train"], splits["development"] = cut(task, splits["train"], task.development_fraction)
        if not splits["train"] or not splits["development"]:
            total = len(splits["train"]) + len(splits["development"])
            raise UserError(
                f"task.train has {total} rows, too few to hold {task.development_fraction:.0%} out of: name a "
                f"task.development"
            )
    if task.train_rows is not None:
        splits["train"] = chosen(task, splits["train"], task.train_rows)
    known = {task.unit(row) for row in splits["train"]}
    for split in ("development", "test"):
        for row in splits.get(split, []):
            if task.unit(row) in known:
                warnings.add(f"rows of {split} that are in train too", row.origin)
    return splits
