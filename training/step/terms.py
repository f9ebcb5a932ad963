"""Loss terms: sums with the number of labels that they are over, gathered over batches and devices."""

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
        count: number of losses; an integer, known without the device.
        correct: number of right answers, where they were counted.
    """

    loss_sum: Tensor
    minimised_sum: Tensor
    count: int
    correct: Tensor | None = None


class Result(NamedTuple):
    """Means of one loss term: loss in nats, share of right answers, and the number of labels they are over."""

    loss: float
    accuracy: float
    num: int


class Sums:
    """Sums and counts of loss terms, gathered over batches and, when read, over devices."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}  # term -> float64[3]: loss, correct, count

    def add(self, terms: Mapping[str, Term]) -> None:
        """Adds the terms of one batch."""
        for name, term in terms.items():
            correct = torch.zeros_like(term.loss_sum) if term.correct is None else term.correct
            count = torch.full_like(term.loss_sum, term.count)
            row = torch.stack([term.loss_sum.detach(), correct.detach(), count]).double()
            self.values[name] = self.values[name] + row if name in self.values else row

    def totals(self) -> dict[str, Tensor]:
        """The sums over all devices. All processes must ask together."""
        if not self.values:
            return {}
        table = torch.stack(list(self.values.values()))
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(table)
        return dict(zip(self.values, table, strict=True))

    def read(self) -> dict[str, Result]:
        """The means of each term over all devices; gathering begins anew."""
        rows = {name: row.tolist() for name, row in self.totals().items()}
        self.values = {}
        return {name: Result(loss / max(n, 1), right / max(n, 1), int(n)) for name, (loss, right, n) in rows.items()}
