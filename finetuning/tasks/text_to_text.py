"""Text to text: summaries, translations, titles (Raffel et al. 2020, 2.4).

    source     translate English to Korean: Thank you for inviting me .
    target     초대해 주셔서 감사합니다 .

loss = that of finetuning/core/generative.py
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from common.errors import UserError
from common.ranges import Range, check_ranges, count
from data.text.sources import RowSource
from finetuning.core.generative import GenerativeFineTuning
from finetuning.core.task import LONGEST, Task
from finetuning.data.batch import TaskExample
from finetuning.data.inputs import columns_of
from finetuning.data.labels import Split
from finetuning.data.parse import read_pairs
from finetuning.data.rows import DataWarnings, PairRow
from finetuning.metrics import overlap
from finetuning.metrics.by_length import rows_by_length
from finetuning.metrics.from_source import Likelihood, bits_from_source
from finetuning.metrics.metrics import Score, mean_of
from models.generation.decoding import Decoding

Metric = Callable[[Sequence[str], Sequence[Sequence[str]]], Score]
SOURCE = "bits_from_source"
METRICS: dict[str, Metric] = {
    name: getattr(overlap, name)
    for name in (
        *("chrf", "bleu", "exact", "rouge1", "rouge2", "rougeL"),
        *("rouge1_characters", "rouge2_characters", "rougeL_characters"),
    )
}


@dataclass(frozen=True, kw_only=True)
class TextToTextTask(Task):
    """A text and the text to generate from it.

    Args:
        source: column of the sources; a list of sentences is one text.
        target: column of the targets; a list holds several references, of which the first is trained on.
        prefix: goes before every source, and names the task.
        longest_target: tokens that a target has at most.
        scores: metrics that are reported: overlaps of the text with its targets, and `bits_from_source`, how much
            likelier a source makes the first target than another source does (finetuning/metrics/from_source.py).
        source_lengths: rising numbers of characters by which sources are parted: with [10, 20], every metric is also
            reported of those up to 10, of those of 11 to 20, and of those over 20 (`chrf/source over 20`).
        beams: hypotheses of beam search.
        length_penalty: above 0 favours longer texts among them.
    """

    source: str = "source"
    target: str = "target"
    prefix: str = ""
    longest_target: int = 64
    scores: tuple[str, ...] = ("chrf", "rougeL")
    source_lengths: tuple[int, ...] = ()
    beams: int = 1
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {"longest_target": LONGEST, "beams": count(1024), "length_penalty": Range(-1000, 1000)}
        check_ranges("task.", ranges, vars(self))
        if not all(low < high for low, high in pairwise((0, *self.source_lengths))):
            raise UserError(
                f"task.source_lengths = {list(self.source_lengths)} must be rising numbers of characters, from 1 on"
            )
        if unknown := [name for name in self.scores if name not in (*METRICS, SOURCE)]:
            raise UserError(f"task.scores: '{unknown[0]}' is none of {', '.join((*METRICS, SOURCE))}")

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("loss",)

    @property
    def decoding(self) -> Decoding:
        """How a target is generated."""
        return Decoding(max_new_tokens=self.longest_target, beams=self.beams, length_penalty=self.length_penalty)

    def read(self, source: RowSource, warnings: DataWarnings) -> list[PairRow]:
        return read_pairs(source, inputs=self.source, targets=self.target, warnings=warnings)

    def settled(self, splits: dict[Split, list[PairRow]], warnings: DataWarnings) -> dict[Split, list[PairRow]]:
        """Refuses a split of which no row has a target: there is nothing to learn from, and nothing to compare with."""
        for split, rows in splits.items():
            if not any(target.strip() for row in rows for target in row.targets):
                raise UserError(
                    f"task.{split}: every one of its {len(rows):,} targets in column '{self.target}' is empty; is it "
                    f"the right column?"
                )
        return splits

    def unit(self, row: PairRow) -> str:
        return row.source

    def as_text(self, row: PairRow) -> tuple[str, str | None]:
        return f"{self.prefix}{row.source}", row.target if row.targets else None

    def measure_text(self, rows: Sequence[PairRow], generated: Sequence[str], nats: Likelihood) -> dict[str, Score]:
        bits: np.ndarray | None = None
        if SOURCE in self.scores:
            sources = [self.as_text(row)[0] for row in rows]
            bits = bits_from_source(sources, [row.target for row in rows], nats)

        def measured(name: str, numbers: Sequence[int]) -> Score:
            if name == SOURCE:
                assert bits is not None
                return mean_of(bits[list(numbers)])
            return METRICS[name]([generated[n] for n in numbers], [rows[n].targets for n in numbers])

        found = {name: measured(name, range(len(rows))) for name in self.scores}
        for length, numbers in rows_by_length([len(row.source) for row in rows], self.source_lengths).items():
            for name in self.scores:  # without the rows' own parts, which stand for all rows
                found[f"{name}/source {length}"] = replace(measured(name, numbers), items=None)
        return found

    def row_of(self, given: Any) -> PairRow:
        return PairRow(source=columns_of(given, (self.source,))[0])

    @property
    def module(self) -> type["TextToText"]:
        return TextToText


class TextToText(GenerativeFineTuning):
    """A decoder that generates the target."""

    task: TextToTextTask

    @property
    def decoding(self) -> Decoding:
        return self.task.decoding

    def examples(self, rows: Sequence[PairRow], warnings: DataWarnings) -> list[TaskExample]:
        texts = [self.task.as_text(row) for row in rows]
        return self.encode_pairs(
            [source for source, _ in texts],
            [target for _, target in texts],
            [row.origin for row in rows],
            longest=self.task.longest_target,
            warnings=warnings,
        )

    def measure_predictions(self, rows: Sequence[PairRow], predictions: Sequence[str]) -> dict[str, Score]:
        return self.task.measure_text(rows, predictions, self.nats_of)

    def row_of(self, given: Any) -> PairRow:
        return self.task.row_of(given)
