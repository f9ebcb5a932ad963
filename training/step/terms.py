"""Loss terms: sums with their divisors, added up over batches and devices."""

import math
from collections.abc import Collection, Mapping
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


MOST_UNREAD = 1024  # parts of a term that are kept before they are added up


class Result(NamedTuple):
    """One loss term over many batches: the loss, the accuracy, and the number of labels."""

    loss: float
    accuracy: float
    num: int


def named_results(prefix: str, results: dict[str, Result], *, accuracy: bool) -> dict[str, float]:
    """`train/loss`, the sum, and `train/masked` and so on, its terms; with accuracies where they were counted."""
    metrics = {f"{prefix}/loss": sum(result.loss for result in results.values())}
    for name, result in results.items():
        if not result.num:  # of a member of a schedule whose turn it is not
            continue
        metrics[f"{prefix}/{name}"] = result.loss
        if accuracy and not math.isnan(result.accuracy):  # a number is neither right nor wrong
            metrics[f"{prefix}/{name}_accuracy"] = result.accuracy
    return metrics


def named_validation(
    results: dict[str, Result], metrics: Mapping[str, float], beside: Collection[str]
) -> dict[str, float]:
    """What a validation found: losses, whose sum leaves out the terms `beside` it, accuracies, and further metrics."""
    loss = sum(result.loss for name, result in results.items() if name not in beside)
    named = {f"validation/{name}": value for name, value in metrics.items()}
    return {**named_results("validation", results, accuracy=True), "validation/loss": loss, **named}


class Sums:
    """Loss terms added up over batches and, when read, over devices.

    What is added stays on its device, so that no step waits for it; the sums are float64 on the CPU, in the order in
    which their parts came.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}  # term -> loss, divisor, correct, labels
        self._unread: dict[str, list[tuple[Tensor, float, int]]] = {}  # term -> [loss, correct], divisor, labels
        self._device = torch.device("cpu")

    def add(self, terms: Mapping[str, Term]) -> None:
        """Adds the terms of one batch."""
        for name, term in terms.items():
            loss = term.loss_sum.detach()
            loss = loss.to(torch.promote_types(loss.dtype, torch.float32))  # which counts to 16 million
            correct = torch.zeros_like(loss) if term.correct is None else term.correct.detach().to(loss.dtype)
            unread = self._unread.setdefault(name, [])
            unread.append((torch.stack([loss, correct]), term.divisor, term.num_labels))
            self._device = loss.device
            if len(unread) == MOST_UNREAD:
                self._take(name)

    def _take(self, name: str) -> None:
        """Adds up what is unread of a term."""
        parts = self._unread.pop(name, [])
        found = torch.stack([part for part, _, _ in parts]).tolist() if parts else []
        for (loss, correct), (_, divisor, labels) in zip(found, parts, strict=True):
            row = [loss, divisor, correct, labels]
            before = self._sums.get(name, [0.0] * len(row))
            self._sums[name] = [old + new for old, new in zip(before, row, strict=True)]

    def copy(self) -> "Sums":
        """The same, to which may be added apart."""
        other = Sums()
        other._sums, other._device = dict(self._sums), self._device
        other._unread = {name: list(parts) for name, parts in self._unread.items()}
        return other

    def restore(self, totals: Mapping[str, Tensor]) -> None:
        """Goes on from what `totals` returned; the first edition kept loss, correct and one count for both."""
        rows = {name: row.tolist() for name, row in totals.items()}
        self._unread = {}
        self._sums = {name: row if len(row) == 4 else [row[0], row[2], row[1], row[2]] for name, row in rows.items()}

    def totals(self) -> dict[str, Tensor]:
        """For each term float64[4]: loss, divisor, correct, labels, of all devices. All processes call it together."""
        for name in list(self._unread):
            self._take(name)
        if not self._sums:
            return {}
        table = torch.tensor(list(self._sums.values()), dtype=torch.float64, device="cpu")
        if torch.distributed.is_initialized():
            table = table.to(self._device)
            torch.distributed.all_reduce(table)
        return dict(zip(self._sums, table.cpu(), strict=True))

    def read(self) -> dict[str, Result]:
        """The means of each term over all devices; the sums begin anew."""
        rows = {name: row.tolist() for name, row in self.totals().items()}
        self._sums = {}
        return {
            name: Result(loss / (divisor or 1.0), correct / max(num, 1), int(num))
            for name, (loss, divisor, correct, num) in rows.items()
        }
