"""The loss of a prediction, compiled with its head: for any number of labels, and in training alone."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from data.stream.batch import Labels
from objectives.core.chunks import chunked_body
from objectives.core.predictions import Loss, LossSums, Prediction

FEWEST = 2  # labels; torch compiles anew for one and for none


def _sums(
    loss: Loss, states_ND: Tensor, head: Callable[[Tensor], Tensor], labels: Labels, *, count_correct: bool
) -> LossSums:
    return loss(states_ND, head, labels, count_correct=count_correct)


class CompiledLosses:
    """Gives predictions losses that are compiled, once for each kind of head and loss."""

    def __init__(self) -> None:
        self._sums = torch.compile(_sums, dynamic=True)

    def of(self, prediction: Prediction) -> Prediction:
        """The same; where nothing has a gradient, or there are too few labels, it is computed as it is."""
        if not torch.is_grad_enabled() or len(prediction.labels.ids_N) < FEWEST:
            return prediction
        return replace(prediction, loss=self.loss_of(prediction.loss))

    def loss_of(self, loss: Loss) -> Loss:
        """The same, compiled."""

        def compiled(
            states_ND: Tensor, head: Callable[[Tensor], Tensor], labels: Labels, *, count_correct: bool
        ) -> LossSums:
            own = labels._replace(divisor=1.0)  # no loss reads it, and its value would be compiled in
            sums = _sums if chunked_body(head, states_ND) else self._sums  # of chunks the formula is compiled
            return sums(loss, states_ND, head, own, count_correct=count_correct)

        return compiled
