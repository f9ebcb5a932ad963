"""A task as data: which rows are read, which are trained on, and which metric evaluates it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from common.errors import UserError
from common.ranges import Range, check_name, check_ranges, count
from data.files.encodings import AUTO, checked_encoding
from data.files.local import looks_like_a_path
from data.text.sources import FormatSetting, RowSource
from finetuning.core.splits import read_splits
from finetuning.data.batch import Order, TaskExample
from finetuning.data.labels import Split
from finetuning.data.rows import DataWarnings
from finetuning.metrics.from_source import Likelihood
from finetuning.metrics.metrics import Score

LONGEST = count(1 << 24)  # tokens
FRACTION = Range(0, 1, low_open=True, high_open=True)
RANGES = {
    "development_fraction": FRACTION,
    "test_fraction": FRACTION,
    "train_rows": count(10**12),
    "validation_rows": count(10**12),
}


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
            `parallel` is one file a column, line by line; `paragraphs` are the rows of a text.
        header: names of the columns of files that do not name them; by split where the splits differ.
        encoding: of files that are not UTF-8, such as cp949; by split where the splits differ. `auto` follows a
            byte-order mark, and refuses by name what looks like another encoding.
        columns: by split, the names that the task's columns have there, where they differ (`{test: {text: body}}`).
        split_column: column of `train` that holds the split of each row (train, dev, test); null where files do.
        development_fraction: fraction of `train` that is held out where `development` is null.
        test_fraction: fraction of `train` that is held out where `test` is null, to be reported; null for none.
        train_rows: trains on that many rows alone, the same for every seed; null for all.
        validation_rows: development rows that are evaluated while training, the same each time; null for all. At the
            end all of them are.
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
    header: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    encoding: str | dict[str, str] = AUTO
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    split_column: str | None = None
    development_fraction: float = 0.1
    test_fraction: float | None = None
    train_rows: int | None = None
    validation_rows: int | None = None
    metric: str | None = None

    def __post_init__(self) -> None:
        check_ranges("task.", RANGES, vars(self))
        check_name("task.name", self.name, "runs are named after it")
        if self.test_fraction is not None and self.test is not None:
            raise UserError(f"task.test_fraction = {self.test_fraction} cuts a test split, and task.test names one")
        if self.split_column is not None and (self.development, self.test, self.test_fraction) != (None, None, None):
            raise UserError(
                f"task.split_column = '{self.split_column}' parts the rows of task.train: leave task.development, "
                f"task.test and task.test_fraction null"
            )
        for name in ("header", "encoding", "columns"):
            by_split = getattr(self, name)
            if isinstance(by_split, dict) and (unknown := [key for key in by_split if key not in get_args(Split)]):
                raise UserError(f"task.{name} names a split '{unknown[0]}': it is one of {', '.join(get_args(Split))}")
        for named in self.encoding.values() if isinstance(self.encoding, dict) else [self.encoding]:
            checked_encoding(named, "task.encoding")
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
        columns = self.columns.get(split, {})
        if self.dataset is None or any(map(looks_like_a_path, names)):
            header = self.header.get(split, ()) if isinstance(self.header, dict) else self.header
            encoding = self.encoding.get(split, AUTO) if isinstance(self.encoding, dict) else self.encoding
            return RowSource(
                name=names,
                format=self.format,
                header=tuple(header),
                columns=columns,
                encoding=checked_encoding(encoding),
                key=f"task.{split}",
            )
        return RowSource(
            name=(self.dataset,),
            configuration=self.configuration,
            split="+".join(names),
            columns=columns,
            key=f"task.{split}",
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

    def together(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs of predict.py, of which several may be one: the words of a sentence that stand in rows."""
        return list(inputs)

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

    def measure_text(self, rows: Sequence[Any], generated: Sequence[str], nats: Likelihood) -> dict[str, Score]:
        """The metrics of texts that were generated from the sources of `as_text`, by a model with these likelihoods."""
        raise NotImplementedError

    @property
    @abstractmethod
    def module(self) -> type[Any]:
        """The module that is trained on tasks of this kind."""
