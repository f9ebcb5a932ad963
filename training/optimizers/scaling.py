"""The scale of a loss that is computed in float16 (Micikevicius et al. 2018, 3.2)."""

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

LARGEST, LEAST = 2.0**24, 1.0


class LossScale:
    """Lifts gradients above the least number of float16, by a power of 2, so that taking it back is exact.

    A gradient that overflows halves the scale, and its update is left out; `interval` steps without overflow double it.
    Scale and count follow from the gradients of all processes, so that these agree, and are part of a checkpoint.

    Args:
        scale: a power of 2.
        good_steps: steps since it changed.
        interval: of those, before it doubles.
    """

    def __init__(self, scale: float = 2.0**16, good_steps: int = 0, *, interval: int = 2000) -> None:
        self.scale, self.good_steps, self.interval = scale, good_steps, interval

    def undo(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divides gradients by the scale."""
        gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
        torch._foreach_mul_(gradients, 1 / self.scale)  # pyright: ignore[reportPrivateImportUsage]

    def take(self, norm: float) -> bool:
        """Whether an update is made with a gradient of this norm; the scale follows.

        One that overflows under the least scale is no matter of scale: the update is left to whoever refuses it.
        """
        if math.isfinite(norm):
            self.good_steps += 1
            if self.good_steps == self.interval:
                self.scale, self.good_steps = min(2 * self.scale, LARGEST), 0
            return True
        if self.scale <= LEAST:
            return True
        self.scale, self.good_steps = self.scale / 2, 0
        return False

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"scale": self.scale, "good_steps": self.good_steps}
