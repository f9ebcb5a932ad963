"""How far a body is from its teacher: in what both predict, and in the direction of their states.

Shapes: N positions, n of them at once, D width, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from data.stream.batch import Labels
from objectives.core.chunks import LossSums, over_vocabulary, wide


def divergences(teacher_NV: Tensor, student_NV: Tensor, temperature: float) -> Tensor:
    """[N], T² KL(softmax(teacher / T) || softmax(student / T)), in nats; by T² the gradient keeps its size."""
    targets_NV, found_NV = ((logits / temperature).log_softmax(dim=-1) for logits in (teacher_NV, student_NV))
    return temperature**2 * F.kl_div(found_NV, targets_NV, reduction="none", log_target=True).sum(dim=-1)


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """The divergence from what a teacher predicts, in float32 at least; correct is where both predict the same token.

    Args:
        teacher_ND: its states at the positions.
        head: from these to its logits.
        temperature: T.
    """

    teacher_ND: Tensor
    head: Callable[[Tensor], Tensor]
    temperature: float

    def __call__(
        self, states_ND: Tensor, head: Callable[[Tensor], Tensor], labels: Labels, *, count_correct: bool
    ) -> LossSums:
        def formula(logits_nV: Tensor, rows: slice) -> LossSums:
            with torch.no_grad():
                teacher_nV = wide(self.head(self.teacher_ND[rows]))
            loss = divergences(teacher_nV, logits_nV, self.temperature).sum()
            same = (logits_nV.argmax(dim=-1) == teacher_nV.argmax(dim=-1)).sum() if count_correct else None
            return LossSums(loss, loss, None if same is None else same.to(loss.dtype))

        return over_vocabulary(states_ND, head, formula)


@dataclass(frozen=True, eq=False)
class CosineDistance:
    """1 - cos(state, the teacher's), in float32 at least.

    Args:
        teacher_ND: its states at the positions.
    """

    teacher_ND: Tensor

    def __call__(
        self, states_ND: Tensor, head: Callable[[Tensor], Tensor], labels: Labels, *, count_correct: bool
    ) -> LossSums:
        loss = (1 - F.cosine_similarity(wide(head(states_ND)), wide(self.teacher_ND), dim=-1)).sum()
        return LossSums(loss, loss, loss.new_full((), math.nan) if count_correct else None)  # nothing can be correct
