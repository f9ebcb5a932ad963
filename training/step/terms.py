"""Loss terms: sums with their divisors, added up over batches and devices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One loss term of one batch.

    Attributes:
        loss_sum: sum of the losses, as it is reported.
        minimised_sum: the same with whatever is minimised beside it.
        divisor: what these rows add to the divisor of the whole sum (labels, positions, rows ...); known without the
            device.
        num_labels: number of losses.
        correct: number of predictions that equal their label, where they were counted.
    """

    loss_sum: Tensor
    minimised_sum: Tensor
    divisor: float
    num_labels: int
    correct: Tensor | None = None


class Result(NamedTuple):
    """One loss term over many batches: the loss, the accuracy, and the number of labels."""

    loss: float
    accuracy: float
    num: int


class Sums:
    """Loss terms added up over batches and, when read, over devices."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}  # term -> float64[4]: loss, divisor, correct, labels

    def add(self, terms: Mapping[str, Term]) -> None:
        """Adds the terms of one batch."""
        for name, term in terms.items():
            loss = term.loss_sum.detach().double()
            correct = torch.zeros_like(loss) if term.correct is None else term.correct.detach().double()
            divisor, num_labels = torch.full_like(loss, term.divisor), torch.full_like(loss, term.num_labels)
            row = torch.stack([loss, divisor, correct, num_labels])
            self.values[name] = self.values[name] + row if name in self.values else row

    def restore(self, totals: Mapping[str, Tensor]) -> None:
        """Goes on from what `totals` returned; the first edition kept loss, correct and one count for both."""
        self.values = {
            name: row if len(row) == 4 else torch.stack([row[0], row[2], row[1], row[2]])
            for name, row in totals.items()
        }

    def totals(self) -> dict[str, Tensor]:
        """The sums over all devices. All processes must call it together."""
        if not self.values:
            return {}
        table = torch.stack(list(self.values.values()))
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(table)
        return dict(zip(self.values, table, strict=True))

    def read(self) -> dict[str, Result]:
        """The means of each term over all devices; the sums begin anew."""
        rows = {name: row.tolist() for name, row in self.totals().items()}
        self.values = {}
        return {
            name: Result(loss / (divisor or 1.0), correct / max(num, 1), int(num))
            for name, (loss, divisor, correct, num) in rows.items()
        }
