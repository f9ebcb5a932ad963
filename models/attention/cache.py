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
    """

    def __init__(self, capacity: int | None) -> None:
        self.capacity, self.length = capacity, 0
        self._keys_BKSC = self._values_BKSC = torch.empty(0, device="cpu")  # until the first positions come

    def append(self, key_BKTC: Tensor, value_BKTC: Tensor) -> tuple[Tensor, Tensor]:
        """Adds positions; returns all, [B, K, S, C] each."""
        B, K, T, C = key_BKTC.shape
        if self.length == 0:
            self._keys_BKSC = key_BKTC.new_empty(B, K, self.capacity or T, C)
            self._values_BKSC = torch.empty_like(self._keys_BKSC)
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
        keys_BKSC, values_BKSC = self.read()
        self._keys_BKSC[:, :, : self.length] = keys_BKSC[rows_B]
        self._values_BKSC[:, :, : self.length] = values_BKSC[rows_B]


class BlockCache(NamedTuple):
    """That of a Block: of the decoder's own positions, and of the encoder's."""

    own: KeysAndValues | None = None
    cross: KeysAndValues | None = None


class TransformerCache:
    """That of a decoder.

    Args:
        num_blocks: of the decoder.
        capacity: the most positions it will read.
    """

    def __init__(self, num_blocks: int, capacity: int) -> None:
        self.length = 0
        self.blocks = [BlockCache(KeysAndValues(capacity), KeysAndValues(None)) for _ in range(num_blocks)]

    def select(self, rows_B: Tensor) -> None:
        """Puts other rows in the places of these, all of which look at the same encoder's states as before."""
        for block in self.blocks:
            assert block.own is not None
            block.own.select(rows_B)
