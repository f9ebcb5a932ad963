"""Which window comes when, and with what randomness: pure functions of (seed, epoch, index).

Nothing is stored and nothing is advanced, so the order and the noise are the same for any number of workers, devices
and micro-batches, and resuming costs nothing.
"""

import hashlib
from enum import IntEnum
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class Purpose(IntEnum):
    """What randomness is for; streams of different purposes never meet."""

    ORDER = 0
    NOISE = 1
    VALIDATION_NOISE = 2
    DISPLAY = 3
    MEMBER = 4


class _Key(ISeedSequence):
    """A key of Philox as it is. Given as `key`, the generator first takes an entropy of the system that it drops, which
    takes twice as long as all else.
    """

    def __init__(self, key: np.ndarray) -> None:
        self.key = key

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """uint64[2], the key."""
        assert n_words == len(self.key)
        return self.key


def _philox(key: np.ndarray, counter: np.ndarray) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(cast(Any, _Key(key)), counter=counter))  # numpy's types lack it


def generator(seed: int, purpose: Purpose, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one window: the counter-based Philox 4x64, keyed by all that may matter.

    (seed, purpose) is the key and (epoch, index) the upper half of the counter, so two streams could meet only after
    2^128 draws.
    """
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF, purpose], dtype=np.uint64)
    counter = np.array([0, 0, index, epoch], dtype=np.uint64)
    return _philox(key, counter)


_EVERY_WINDOW = 2**64 - 1  # the index of what all windows of an epoch share; no window has it


def _related(rng: np.random.Generator, number: int, index: int | None = None) -> np.random.Generator:
    assert isinstance(rng.bit_generator, np.random.Philox), "only what `generator` gave knows its key"
    state = cast(dict[str, Any], rng.bit_generator.state)["state"]
    (seed, purpose), (_, _, own_index, epoch) = state["key"], state["counter"]
    key = np.array([seed, int(purpose) + (number << 32)], dtype=np.uint64)
    counter = np.array([0, 0, own_index if index is None else index, epoch], dtype=np.uint64)
    return _philox(key, counter)


def side_stream(rng: np.random.Generator, number: int) -> np.random.Generator:
    """Further random numbers of the window that `generator` gave `rng` for; those of `rng` are not used up.

    What is drawn here, such as which of several objectives has a window, leaves the noise of the window as it was.
    `number`, from 1, is for what they are.
    """
    return _related(rng, number)


def epoch_stream(rng: np.random.Generator, number: int) -> np.random.Generator:
    """Random numbers that all windows of an epoch share, from those that `generator` gave for one of them."""
    return _related(rng, number, _EVERY_WINDOW)


_ROUNDS = 8
_ODD = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def _mix(value: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit words that scatters them: the finaliser of splitmix64 (Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * _ODD[0]
    value = (value ^ (value >> np.uint64(27))) * _ODD[1]
    return value ^ (value >> np.uint64(31))


class Permutation:
    """A keyed bijection of 0..size-1, computed and not stored: 10^9 windows take no more memory than ten.

    A balanced Feistel network shuffles the least power of four that holds `size`; what falls outside is shuffled
    again until it falls inside (cycle walking, Black & Rogaway 2002), at most four times on average.
    """

    def __init__(self, size: int, *, seed: int, epoch: int) -> None:
        assert size > 0
        self.size = size
        self.half_bits = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
        self.half_mask = np.uint64((1 << int(self.half_bits)) - 1)
        self.round_keys = generator(seed, Purpose.ORDER, epoch, 0).integers(0, 2**64, _ROUNDS, dtype=np.uint64)

    def _feistel(self, values: np.ndarray) -> np.ndarray:
        high, low = values >> self.half_bits, values & self.half_mask
        for key in self.round_keys:
            high, low = low, high ^ (_mix(low ^ key) & self.half_mask)
        return (high << self.half_bits) | low

    def __call__(self, indices: np.ndarray | np.integer) -> np.ndarray:
        """int64[...] places in the order -> int64[...] what stands there."""
        values = self._feistel(np.array(indices, dtype=np.uint64, ndmin=1))
        while (outside := values >= self.size).any():
            values[outside] = self._feistel(values[outside])
        return values.astype(np.int64).reshape(np.shape(indices))


BLOCK = 1 << 10


@lru_cache(maxsize=16)  # 8 KB each; a step's windows stand in a row, whichever process reads them
def _block(size: int, seed: int, epoch: int, number: int) -> np.ndarray:
    """int64[BLOCK, fewer at the end], what stands at the places of a block of an epoch's order."""
    places = np.arange(number * BLOCK, min((number + 1) * BLOCK, size))
    return Permutation(size, seed=seed, epoch=epoch)(places)


def windows_at(positions: np.ndarray, size: int, *, seed: int) -> list[tuple[int, int]]:
    """Epoch and number of the window at each position of the endless concatenation of shuffled epochs.

    A thousand places are shuffled at once, which takes hardly longer than a few.
    """
    epochs, places = np.divmod(positions, size)
    return [
        (epoch, int(_block(size, seed, epoch, place // BLOCK)[place % BLOCK]))
        for epoch, place in zip(epochs.tolist(), places.tolist(), strict=True)
    ]


def order_sha256(size: int, *, seed: int, consumed: int, chunk: int = 1 << 16) -> str:
    """SHA-256 of the numbers of the first `consumed` windows that a run reads, as int64 in little-endian order."""
    digest = hashlib.sha256()
    for epoch, first in enumerate(range(0, consumed, size)):
        order, end = Permutation(size, seed=seed, epoch=epoch), min(size, consumed - first)
        for start in range(0, end, chunk):
            digest.update(order(np.arange(start, min(start + chunk, end))).astype("<i8").tobytes())
    return digest.hexdigest()
