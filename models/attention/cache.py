"""Keys and values of the positions that a decoder has read, so that each is computed once.

Shapes: B batch, K key and value heads, S positions, C width of a head.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class KeysAndValues:
    """Those of one attention, in memory that is taken once.

    Args:
        capacity: the most positions there will be; None for as many as the first call brings.
        place_1: of a static one, int64[1], where each position behind the first ones is written; `length` is then that
            of the first ones.
    """

    def __init__(self, capacity: int | None, place_1: Tensor | None = None) -> None:
        self.capacity, self.length, self.place_1 = capacity, 0, place_1
        self._keys_BKSC = self._values_BKSC = torch.empty(0, device="cpu")  # until the first positions come

    def append(self, key_BKTC: Tensor, value_BKTC: Tensor) -> tuple[Tensor, Tensor]:
        """Adds positions; returns all, [B, K, S, C] each, of a static one those as well that are still to come."""
        B, K, T, C = key_BKTC.shape
        if self.place_1 is not None and self.length:
            self._keys_BKSC.index_copy_(2, self.place_1, key_BKTC)
            self._values_BKSC.index_copy_(2, self.place_1, value_BKTC)
            return self._keys_BKSC, self._values_BKSC
        if self.length == 0:
            self._keys_BKSC = key_BKTC.new_zeros(B, K, self.capacity or T, C)  # a hidden key must be a number
            self._values_BKSC = torch.zeros_like(self._keys_BKSC)
        end = self.length + T
        assert end <= self._keys_BKSC.shape[2], f"{end} positions in a cache for {self._keys_BKSC.shape[2]}"
        self._keys_BKSC[:, :, self.length : end] = key_BKTC
        self._values_BKSC[:, :, self.length : end] = value_BKTC
        self.length = end
        return self.read()

    def read(self) -> tuple[Tensor, Tensor]:
        """All positions so far, [B, K, S, C] each."""
        return self._keys_BKSC[:, :, : self.length], self._values_BKSC[:, :, : self.length]

    def select(self, rows_B: Tensor) -> None:
        """Puts other rows in the places of these."""
        keys_BKSC, values_BKSC = self.read() if self.place_1 is None else (self._keys_BKSC, self._values_BKSC)
        keys_BKSC.copy_(keys_BKSC[rows_B])
        values_BKSC.copy_(values_BKSC[rows_B])


class BlockCache(NamedTuple):
    """That of a Block: of the decoder's own positions, and of the encoder's."""

    own: KeysAndValues | None = None
    cross: KeysAndValues | None = None


class TransformerCache:
    """That of a decoder.

    Args:
        num_blocks: of the decoder.
        capacity: the most positions it will read.
        place_1: of a static one, int64[1], on the decoder's device: where its next position stands. All its steps
            behind the first have one shape, so that they can be compiled, or replayed, as one.
    """

    def __init__(self, num_blocks: int, capacity: int, place_1: Tensor | None = None) -> None:
        self.length, self.capacity, self.place_1 = 0, capacity, place_1
        self.blocks = [BlockCache(KeysAndValues(capacity, place_1), KeysAndValues(None)) for _ in range(num_blocks)]

    def select(self, rows_B: Tensor) -> None:
        """Puts other rows in the places of these, all of which look at the same encoder's states as before."""
        for block in self.blocks:
            assert block.own is not None
            block.own.select(rows_B)
