"""Texts of like length are computed together, whatever their order; results come in the order of the texts."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

TEXTS_AT_ONCE = 32
TEXTS_AHEAD = 512  # from which a batch is chosen
Found = TypeVar("Found")


def batches_of(kinds: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """The numbers of texts that are computed together, each once: of one kind, and of lengths near to one another.

    The first text that is left is always in the next batch, so that no result waits for texts far behind it.
    """
    left = list(range(len(kinds)))
    while left:
        kind, length = kinds[left[0]], lengths[left[0]]
        here = [number for number in left[:TEXTS_AHEAD] if kinds[number] == kind]
        batch = sorted(sorted(here, key=lambda number: abs(lengths[number] - length))[:TEXTS_AT_ONCE])
        yield batch
        taken = set(batch)
        left = [number for number in left if number not in taken]


def in_order(found: Iterable[tuple[Sequence[int], Iterable[Found]]]) -> Iterator[Found]:
    """The results of numbered texts, each as soon as those before it are there."""
    ready: dict[int, Found] = {}
    due = 0
    for numbers, results in found:
        ready |= zip(numbers, results, strict=True)
        while due in ready:
            yield ready.pop(due)
            due += 1
