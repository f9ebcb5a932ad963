"""Sizes that a compiled Block takes any of, declared on what it is given; all others are compiled in.

With few symbols there is little for the compiler to reason about. On a CPU lengths are symbols in both stacks of an
encoder-decoder even where they are fixed: then the stacks have kernels in common, so that `lab` needs 19 in place of
29, and each takes nearly a second of g++.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.attention.kernels import KernelMask


class SymbolicSizes(NamedTuple):
    """Lengths are symbols, and so are rows where they vary.

    Attributes:
        lengths_vary: whether they do; else they are symbols on a CPU alone.
        rows_vary: whether rows do.
    """

    lengths_vary: bool
    rows_vary: bool

    def on(self, device: torch.device) -> "SymbolicSizes | None":
        """These, where there are any on that device."""
        return self if self.lengths_vary or device.type == "cpu" else None

    def of(self, tensor: Tensor, *lengths: int) -> Tensor:
        """The tensor, its first dimension that of rows, these of lengths; those of size 1 are broadcast."""
        symbols = [dim for dim in ([0] if self.rows_vary else []) + list(lengths) if tensor.shape[dim] != 1]
        torch._dynamo.maybe_mark_dynamic(tensor, symbols)
        return tensor

    def of_mask(self, mask: KernelMask) -> KernelMask:
        """The same, its numbers [..., T, S]."""
        bias = mask.bias
        return mask if bias is None else mask._replace(bias=self.of(bias, bias.dim() - 2, bias.dim() - 1))

    def of_angles(self, angles: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
        """The same, [..., T, 1, C]."""
        if angles is None:
            return None
        cosines, sines = (self.of(angle, angle.dim() - 3) for angle in angles)
        return cosines, sines
