"""Several tasks as text, learned by one model (Raffel et al. 2020, 3.5.2).

    source     sst2 sentence: it was a pleasure
    target     positive
    source     translate English to Korean: Thank you for inviting me .
    target     초대해 주셔서 감사합니다 .

loss = that of finetuning/core/generative.py, over all tasks alike
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from common.ranges import check_ranges, count, positive
from data.stream.order import Permutation
from data.text.sources import RowSource
from finetuning.core.generative import GenerativeFineTuning
from finetuning.core.splits import read_splits
from finetuning.core.task import LONGEST, Task
from finetuning.data.batch import Order, TaskExample
from finetuning.data.labels import Split
from finetuning.data.rows import DataWarnings
from finetuning.metrics.metrics import Score
from models.generation.decoding import Decoding


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRow:
    """A row of one of the tasks as source and target text; `target` is None where it is to be predicted."""

    part: int
    row: Any
    source: str
    target: str | None
    origin: str = ""


def mixing_rates(sizes: Sequence[int], *, limit: int | None, temperature: float) -> np.ndarray:
    """float64[tasks], the share of each: min(rows, limit) ** (1 / temperature), over their sum.

    Temperature 1 mixes by the number of rows, a great one all tasks alike (Raffel et al. 2020, 3.5.2).
    """
    counted = np.minimum(np.array(sizes, dtype=np.float64), np.inf if limit is None else limit)
    weights = counted ** (1 / temperature)
    return weights / weights.sum()


class MixedOrder(Order):
    """Each task by its rate, every row of a task once before any comes again.

    An epoch has as many rows as all tasks together; its shares come out as near to the rates as whole numbers can.

    Args:
        parts: int64[examples], the task of each example.
        rates: float64[tasks].
        shared: what every order takes.
    """

    def __init__(self, lengths: np.ndarray, *, parts: np.ndarray, rates: np.ndarray, **shared: Any) -> None:
        super().__init__(lengths, **shared)
        self.of_part = [np.flatnonzero(parts == part) for part in range(len(rates))]
        ends = np.round(np.cumsum(rates) * len(lengths)).astype(np.int64)
        self.draws = np.diff(ends, prepend=0)

    def examples_of(self, epoch: int) -> np.ndarray:
        chosen = []
        for part, (members, number) in enumerate(zip(self.of_part, self.draws, strict=True)):
            places = np.arange(epoch * number, (epoch + 1) * number)
            rounds, within = np.divmod(places, len(members))
            for turn in np.unique(rounds):
                shuffle = Permutation(len(members), seed=self.seed + (part << 32), epoch=int(turn))
                chosen.append(members[shuffle(within[rounds == turn])])
        drawn = np.concatenate(chosen)
        return drawn[Permutation(len(drawn), seed=self.seed, epoch=epoch)(np.arange(len(drawn)))]


@dataclass(frozen=True, kw_only=True)
class MixtureTask(Task):
    """Several tasks as text.

    Args:
        tasks: classification, questions, and text to text; each brings its own data and metrics.
        limit: rows that a task counts for at most when rates are taken; null for all that it has.
        temperature: of the rates; 1 mixes by the number of rows, a great one all tasks alike.
        longest_target: tokens that a target has at most.
        train: nothing: each of the tasks names its own rows.
    """

    tasks: tuple[Task, ...]
    limit: int | None = None
    temperature: float = 1.0
    longest_target: int = 64
    train: str | list[str] = ""

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names) or not names:
            raise UserError(f"task.tasks = {names} must be tasks with different names, at least one")
        ranges = {"limit": count(10**12), "temperature": positive(1e9), "longest_target": LONGEST}
        check_ranges("task.", ranges, vars(self))

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("loss",)

    def read(self, source: RowSource, warnings: DataWarnings) -> list[MixedRow]:
        raise NotImplementedError("the tasks read their own rows")

    def unit(self, row: MixedRow) -> str:
        return row.source

    def _mixed(self, part: int, rows: Sequence[Any]) -> list[MixedRow]:
        texts = [(row, *self.tasks[part].as_text(row)) for row in rows]
        return [
            MixedRow(part=part, row=row, source=source, target=target, origin=row.origin)
            for row, source, target in texts
        ]

    def splits(self, warnings: DataWarnings) -> dict[Split, list[MixedRow]]:
        found: dict[Split, list[MixedRow]] = {}
        for part, task in enumerate(self.tasks):
            try:
                for split, rows in read_splits(task, warnings).items():
                    found.setdefault(split, []).extend(self._mixed(part, rows))
            except UserError as error:
                raise UserError(f"task.tasks, {task.name}: {error}") from error
        return found

    def order(
        self, rows: Sequence[MixedRow], examples: Sequence[TaskExample], *, batch_size: int, seed: int
    ) -> MixedOrder:
        parts = np.array([rows[example.row].part for example in examples])
        sizes = np.bincount(parts, minlength=len(self.tasks)).tolist()
        rates = mixing_rates(sizes, limit=self.limit, temperature=self.temperature)
        lengths = np.array([len(example) for example in examples])
        return MixedOrder(lengths, parts=parts, rates=rates, batch_size=batch_size, seed=seed)

    @property
    def module(self) -> type["Mixture"]:
        return Mixture


class Mixture(GenerativeFineTuning):
    """A decoder that generates the target of every task."""

    task: MixtureTask

    @property
    def decoding(self) -> Decoding:
        return Decoding(max_new_tokens=self.task.longest_target)

    def examples(self, rows: Sequence[MixedRow], warnings: DataWarnings) -> list[TaskExample]:
        return self.encode_pairs(
            [row.source for row in rows],
            [row.target for row in rows],
            [row.origin for row in rows],
            longest=self.task.longest_target,
            warnings=warnings,
        )

    def measure_predictions(self, rows: Sequence[MixedRow], predictions: Sequence[str]) -> dict[str, Score]:
        """Every task's own metrics under its name, such as `sst2.accuracy`."""
        found = {}
        for part, task in enumerate(self.task.tasks):
            here = [number for number, row in enumerate(rows) if row.part == part]
            if here:
                texts = [predictions[number] for number in here]
                scores = task.measure_text([rows[number].row for number in here], texts, self.nats_of)
                found |= {f"{task.name}.{name}": Score(value=score.value) for name, score in scores.items()}
        return found

    def row_of(self, given: Any) -> MixedRow:
        """A source as `as_text` writes it, the name of its task first."""
        if not isinstance(given, str):
            raise UserError(f"{given!r:.60} must be a text that begins with the name of its task")
        return MixedRow(part=0, row=None, source=given, target=None)
