"""One tensor of ours and what it is made of in a class of transformers."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WeightEntry:
    """One tensor of ours and what it is made of there.

    Attributes:
        ours: its name in a module that has the Transformer as `transformer`.
        theirs: names of the tensors that stand below each other in it.
        rows: how many each of them has, where there are several.
        is_transposed: whether theirs is [in, out], as in GPT-2's Conv1D.
        unread_rows: with which their table begins.
        is_row: whether theirs is [1, V].
        copies: other names under which they keep the same tensor.
    """

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...] = ()
    is_transposed: bool = False
    unread_rows: int = 0
    is_row: bool = False
    copies: tuple[str, ...] = ()

    def split(self, tensor: Tensor) -> dict[str, Tensor]:
        """Ours as theirs."""
        parts = tensor.split(list(self.rows)) if self.rows else [tensor]
        if self.is_transposed:
            parts = [part.T for part in parts]
        if self.unread_rows:
            parts = [torch.cat([part.new_zeros(self.unread_rows, part.shape[1]), part]) for part in parts]
        if self.is_row:
            parts = [part[None] for part in parts]
        named = dict(zip(self.theirs, parts, strict=True))
        return {**named, **dict.fromkeys(self.copies, parts[0])}

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Theirs as ours."""
        parts = [tensors[name][self.unread_rows :] for name in self.theirs]
        if self.is_row:
            parts = [part[0] for part in parts]
        if self.is_transposed:
            parts = [part.T for part in parts]
        return torch.cat(parts) if len(parts) > 1 else parts[0]
