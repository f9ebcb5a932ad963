"""Predictions for one loss term, and their losses.

Shapes: N labelled positions, D width, V classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from data.stream.batch import Labels
from objectives.core.chunks import LossSums, over_vocabulary, wide
from training.step.terms import Term


class Loss(Protocol):
    """The loss of states [N, D] under a head. It decides whether logits are materialised, and how many at once."""

    def __call__(
        self, states_ND: Tensor, head: Callable[[Tensor], Tensor], labels: Labels, *, count_correct: bool
    ) -> LossSums: ...


@dataclass(frozen=True, eq=False)
class _CrossEntropyOf:
    """The sums of `CrossEntropy` over some of the labels, with their gradient where that is wanted at once."""

    labels: Labels
    z_loss: float
    count_correct: bool

    def _correct(self, logits_nV: Tensor, ids_n: Tensor) -> Tensor | None:
        return (logits_nV.argmax(dim=-1) == ids_n).sum().to(logits_nV.dtype) if self.count_correct else None

    def __call__(self, logits_nV: Tensor, rows: slice) -> LossSums:
        ids_n = self.labels.ids_N[rows]
        if self.labels.weights_N is None:
            loss = F.cross_entropy(logits_nV, ids_n, reduction="sum")
        else:
            loss = (F.cross_entropy(logits_nV, ids_n, reduction="none") * self.labels.weights_N[rows]).sum()
        minimised = loss + self.z_loss * logits_nV.logsumexp(dim=-1).square().sum() if self.z_loss else loss
        return LossSums(loss, minimised, self._correct(logits_nV, ids_n))

    def with_gradient(self, logits_nV: Tensor, rows: slice) -> tuple[LossSums, Tensor]:
        """The gradient by the logits is w (softmax - 1 at the label) + 2 z log Z softmax."""
        ids_n1 = self.labels.ids_N[rows][:, None]
        shares_nV = logits_nV.softmax(dim=-1)
        # The greatest share is exp(peak) / Z and at least 1 / V, so that its logarithm is exact where others are 0.
        peaks_n1, log_peak_shares_n1 = logits_nV.amax(dim=-1, keepdim=True), shares_nV.amax(dim=-1, keepdim=True).log()
        losses_n1 = (peaks_n1 - logits_nV.gather(1, ids_n1)) - log_peak_shares_n1
        log_z_n1 = peaks_n1 - log_peak_shares_n1
        weights_N = self.labels.weights_N
        weights_n1 = torch.ones_like(log_z_n1) if weights_N is None else weights_N[rows][:, None].to(log_z_n1.dtype)
        loss = (losses_n1 * weights_n1).sum()
        minimised = loss + self.z_loss * log_z_n1.square().sum() if self.z_loss else loss
        gradient_nV = shares_nV
        if weights_N is not None or self.z_loss:
            gradient_nV *= weights_n1 + 2 * self.z_loss * log_z_n1
        gradient_nV.scatter_add_(1, ids_n1, -weights_n1)
        return LossSums(loss, minimised, self._correct(logits_nV, ids_n1[:, 0])), gradient_nV


@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy in nats, in float32 at least, each label with its weight where there are weights.

    Args:
        z_loss: weight of (log Z)² in what is minimised; keeps logits small (Mesh TensorFlow).
    """

    z_loss: float = 0.0

    def __call__(
        self, states_ND: Tensor, head: Callable[[Tensor], Tensor], labels: Labels, *, count_correct: bool
    ) -> LossSums:
        return over_vocabulary(states_ND, head, _CrossEntropyOf(labels, self.z_loss, count_correct))


class BinaryCrossEntropy:
    """Binary cross entropy in nats, in float32 at least: the head's one logit against labels 0 and 1."""

    def __call__(
        self, states_ND: Tensor, head: Callable[[Tensor], Tensor], labels: Labels, *, count_correct: bool
    ) -> LossSums:
        logits_N = wide(head(states_ND).squeeze(-1))
        loss = F.binary_cross_entropy_with_logits(logits_N, labels.ids_N.to(logits_N.dtype), reduction="sum")
        correct = ((logits_N > 0) == labels.ids_N.bool()).sum().to(loss.dtype) if count_correct else None
        return LossSums(loss, loss, correct)


DRAW_BITS, SHARE_BITS = 24, 36  # of a float32 in [0, 1), and of a probability; both together fit into an int64


def sampled(logits_NV: Tensor, draws_N: Tensor) -> Tensor:
    """int64[N], an id of each row, drawn at temperature 1 by a uniform float32 in [0, 1), by inversion.

    Probabilities are added up as whole numbers of 2^-36, whose sums depend on no order: a device that adds in parallel
    draws the same every time, where it has no float64 as well.
    """
    logits_NV = wide(logits_NV)
    cumulated_NV = (logits_NV.softmax(dim=-1) * 2**SHARE_BITS).long().cumsum(dim=-1)
    thresholds_N1 = (cumulated_NV[:, -1:] * (draws_N[:, None] * 2**DRAW_BITS).long()) >> DRAW_BITS
    return torch.searchsorted(cumulated_NV, thresholds_N1, right=True)[:, 0]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network predicts for one loss term of a batch.

    Attributes:
        states_ND: states at the labelled positions.
        head: maps states to what the loss takes, such as logits [N, V].
        labels: the targets, with their weights and divisor.
        loss: of the head's output against the labels.
        weight: of the term in what is minimised.
    """

    states_ND: Tensor
    head: Callable[[Tensor], Tensor]
    labels: Labels
    loss: Loss = field(default_factory=CrossEntropy)
    weight: float = 1.0


def term_of(prediction: Prediction, *, count_correct: bool) -> Term:
    """The sums of a prediction's losses, with their divisor."""
    labels = prediction.labels
    sums = prediction.loss(prediction.states_ND, prediction.head, labels, count_correct=count_correct)
    minimised = sums.minimised if prediction.weight == 1.0 else sums.minimised * prediction.weight
    return Term(sums.loss, minimised, labels.divisor, len(labels.ids_N), sums.correct)
