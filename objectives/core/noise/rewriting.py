"""The noises of BART, one function a kind: spans infilled, tokens masked or deleted, sentences permuted, texts rotated.

Lewis et al. 2020, 2.2; fairseq, data/denoising_dataset.py.
"""

import itertools
import math

import numpy as np
from numpy.random import Generator

from data.stream.batch import NOWHERE
from data.stream.windows import Window
from objectives.core.noise.spans import replace_spans


def poisson_lengths(total: int, mean: float, rng: Generator) -> tuple[np.ndarray, int]:
    """Lengths, drawn one after another from Poisson(`mean`) until they sum to `total`, the last cut to fit.

    Returns the positive lengths and the number of zeros among the draws.
    """
    if not total:
        return np.zeros(0, dtype=np.int64), 0
    number = 8 + int(2 * total / mean)  # nearly always enough
    lengths = rng.poisson(mean, size=number)
    while (reach := lengths.cumsum())[-1] < total:
        lengths = np.concatenate([lengths, rng.poisson(mean, size=number)])
    last = int(reach.searchsorted(total))
    lengths[last] -= reach[last] - total
    lengths = lengths[: last + 1]
    positive = lengths[lengths > 0]
    return positive, len(lengths) - len(positive)


def separate_spans(length: int, lengths: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of spans of the given lengths, in a random order, that neither overlap nor touch.

    Every way to place them is equally likely. Spans for which the text is too short are left out.
    """
    lengths = rng.permutation(lengths)
    while len(lengths) > (seats := length - int(lengths.sum()) + 1):
        lengths = lengths[:-1]
    text_before = rng.permutation(seats)[: len(lengths)]
    text_before.sort()
    ends = text_before + lengths.cumsum()
    return ends - lengths, ends


def overlapping_spans(length: int, lengths: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of spans as fairseq's DenoisingDataset places them: at distinct random places.

    They may overlap and are then merged, and are cut at the end, so that less is hidden than was requested: 26.8 % of
    510 tokens instead of 30 % at a mean length of 3.
    """
    starts = rng.permutation(length)[: len(lengths)]
    order = np.argsort(starts)
    starts, ends = starts[order], np.minimum(starts + lengths[: len(starts)], length)[order]
    reach = np.maximum.accumulate(ends)
    begins = np.ones(len(starts), dtype=bool)
    begins[1:] = starts[1:] >= reach[:-1]
    return starts[begins], np.maximum.reduceat(ends, np.flatnonzero(begins)) if len(starts) else ends


def insertion_places(length: int, count: int, rng: Generator) -> np.ndarray:
    """int64[count] places to insert something before, 0 to `length`, all equally likely."""
    return rng.integers(length + 1, size=count)


def _bounds(starts: np.ndarray, length: int) -> np.ndarray:
    """int64[...], where what rises and begins at 0 and at `starts` begins, and `length`."""
    return np.concatenate([[0], starts[(starts > 0) & (starts < length)], [length]])


def permute_sentences(length: int, sentence_starts: np.ndarray, rate: float, rng: Generator) -> np.ndarray:
    """int64[length] places: ceil(rate * n) of the n sentences, chosen at random, are permuted among themselves."""
    bounds = _bounds(sentence_starts, length)
    starts, lengths = bounds[:-1], bounds[1:] - bounds[:-1]
    seats = np.sort(rng.permutation(len(starts))[: math.ceil(rate * len(starts))])
    order = np.arange(len(starts))
    order[seats] = rng.permutation(seats)
    starts, lengths = starts[order], lengths[order]
    return np.arange(length) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


def rotate(length: int, rng: Generator, *, like_fairseq: bool = False) -> np.ndarray:
    """int64[length] places, rotated to begin at any of them, all equally likely.

    fairseq draws the offset over the item with its two special tokens, which makes leaving it as it is twice as
    likely as each other outcome.
    """
    offset = int(rng.integers(length + 1 if like_fairseq else length)) if length else 0
    return np.roll(np.arange(length), -offset)


class NoisedTokens:
    """Tokens under noise, each with its origin: the place in the window that it stands for."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens, self.origins = tokens.astype(np.int64), np.arange(len(tokens))
        self.order = self.origins  # before anything is hidden

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, places: np.ndarray) -> None:
        """Keeps the tokens at `places`, in that order."""
        self.tokens, self.origins = self.tokens[places], self.origins[places]

    def permute(self, places: np.ndarray) -> None:
        """`take` before anything is hidden; the order is kept."""
        self.take(places)
        self.order = self.origins

    def infill(self, starts: np.ndarray, ends: np.ndarray, mask: int) -> None:
        """Replaces each span by one mask."""
        self.tokens, kept = replace_spans(self.tokens, starts, ends, np.full(len(starts), mask))
        self.origins = self.origins[kept]

    def insert(self, places: np.ndarray, mask: int) -> None:
        """Puts a mask, which stands for no token, before each of `places`."""
        is_kept = np.ones(len(self) + len(places), dtype=bool)
        is_kept[np.sort(places) + np.arange(len(places))] = False
        tokens, origins = np.full(len(is_kept), mask), np.full(len(is_kept), NOWHERE)
        tokens[is_kept], origins[is_kept] = self.tokens, self.origins
        self.tokens, self.origins = tokens, origins

    def randomise(self, mask: int, rate: float, pool: np.ndarray, rng: Generator) -> None:
        """Replaces each mask, with probability `rate`, by a random token of `pool`."""
        masks = np.flatnonzero(self.tokens == mask)
        replaced = masks[rng.random(len(masks)) < rate]
        self.tokens[replaced] = pool[rng.integers(len(pool), size=len(replaced))]


def permutation(window: Window, rate: float, eos: int, rng: Generator) -> np.ndarray:
    """int64[length] places, with the sentences of each document permuted among themselves.

    EOS keeps its place: it ends its document, whichever sentence comes last.
    """
    bounds = _bounds(window.document_starts, len(window)).tolist()
    parts = []
    for start, end in itertools.pairwise(bounds):
        body_end = end - (window.tokens[end - 1] == eos)
        inner = window.sentence_starts[(window.sentence_starts > start) & (window.sentence_starts < body_end)]
        parts += [start + permute_sentences(body_end - start, inner - start, rate, rng), np.arange(body_end, end)]
    return np.concatenate(parts)
