"""Which tokens are hidden, and what stands in their place: masked language modelling.

A mask is bool[length], true where text is hidden. Every random number comes from the given generator; a guarantee in a
docstring holds for every draw.
"""

from typing import Literal

import numpy as np
from numpy.random import Generator

Unit = Literal["token", "word", "span", "ngram"]


def runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64[runs] starts and ends (one behind the last) of the runs of true in a mask."""
    padded = np.zeros(len(mask) + 2, dtype=np.int8)
    padded[1:-1] = mask
    edges = padded[1:] - padded[:-1]
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def budget(length: int, rate: float) -> int:
    """max(1, round(rate · length)), halves to the even number, as Python's round does it in float64."""
    return max(1, round(length * rate))


def choose_tokens(candidates: np.ndarray, count: int, rng: Generator) -> np.ndarray:
    """Mask of `count` of the candidates (all, where they are fewer), every set of them equally likely."""
    places = np.flatnonzero(candidates)
    chosen = np.zeros(len(candidates), dtype=bool)
    chosen[rng.permutation(places)[:count]] = True
    return chosen


def choose_rare(
    tokens: np.ndarray, candidates: np.ndarray, count: int, counts: np.ndarray, smoothing: float, rng: Generator
) -> np.ndarray:
    """Mask of `count` of the candidates, one after another, each by its weight among those that are left.

    Args:
        tokens: ids.
        candidates: bool, which may be chosen; all are, where they are fewer than `count`.
        count: how many.
        counts: how often each id occurs in the text.
        smoothing: see `rarity`.
        rng: random numbers.
    """
    places = np.flatnonzero(candidates)
    # The order of exponential waiting times is that of draws without replacement (Efraimidis & Spirakis 2006).
    waits = rng.exponential(size=len(places)) / rarity(counts[tokens[places]], smoothing)
    chosen = np.zeros(len(candidates), dtype=bool)
    chosen[places[np.argsort(waits, kind="stable")[:count]]] = True
    return chosen


def rarity(counts: np.ndarray, smoothing: float) -> np.ndarray:
    """float64[...], max(count, 1)^-smoothing, by which rare tokens are hidden more often (Lample & Conneau 2019)."""
    return np.maximum(counts, 1).astype(np.float64) ** -smoothing


def _words(candidates: np.ndarray, word_starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each token's word, from 1, and 0 of what is no candidate; and the length of each word, 0 of 0."""
    words = word_starts.cumsum() * candidates
    lengths = np.bincount(words)
    lengths[:1] = 0
    return words, lengths


def by_weight(weights: np.ndarray, number: int, rng: Generator) -> np.ndarray:
    """int64[number], each i with probability proportional to `weights[i]`, as `Generator.choice` draws them."""
    reach = (weights / weights.sum()).cumsum()
    return (reach / reach[-1]).searchsorted(rng.random(number), side="right")


def choose_words(candidates: np.ndarray, word_starts: np.ndarray, count: int, rng: Generator) -> np.ndarray:
    """Mask of whole words: all tokens of a word or none, at most `count` tokens (Devlin et al., whole-word masking).

    Words come in random order; one that does not fit into what is left is passed over, so that a smaller one may.
    """
    words, lengths = _words(candidates, word_starts)
    taken, length_of = np.zeros(len(lengths), dtype=bool), lengths.tolist()
    for word in rng.permutation(np.flatnonzero(lengths)).tolist():
        if length_of[word] <= count:
            taken[word] = True
            count -= length_of[word]
        if not count:
            break
    return taken[words]


def choose_spans(
    candidates: np.ndarray, word_starts: np.ndarray, count: int, rng: Generator, *, p: float = 0.2, longest: int = 10
) -> np.ndarray:
    """Mask of just `count` candidates in spans of whole words, the last cut to fit (Joshi et al. 2020, SpanBERT 3.1).

    A span's length in words is geometric with parameter `p`, cut off at `longest`; it begins with the word of a token
    that is not yet masked, every such token equally likely.
    """
    words = np.cumsum(word_starts)
    chosen = np.zeros(len(candidates), dtype=bool)
    count = min(count, int(candidates.sum()))
    lengths = by_weight(p * (1 - p) ** np.arange(longest), count, rng) + 1  # each span masks a token at least
    for length in lengths:
        left = count - int(chosen.sum())
        if left <= 0:
            break
        first = words[rng.choice(np.flatnonzero(candidates & ~chosen))]
        span = (words >= first) & (words < first + length) & candidates & ~chosen
        chosen |= span & (np.cumsum(span) <= left)
    return chosen


def choose_ngrams(
    candidates: np.ndarray, word_starts: np.ndarray, count: int, rng: Generator, *, longest: int = 3
) -> np.ndarray:
    """Mask of n-grams of whole words, at most `count` tokens, n up to `longest` with p(n) proportional to 1/n.

    N-grams begin at the words in random order (Lan et al. 2020, 3.1). One that meets a masked word, what is no
    candidate, or the end, or does not fit into what is left, is as long as it can be.
    """
    words, lengths = _words(candidates, word_starts)
    order = rng.permutation(np.flatnonzero(lengths))
    sizes = by_weight(1 / np.arange(1, longest + 1), len(order), rng) + 1
    left = lengths.tolist()  # 0 of what is masked
    for first, size in zip(order.tolist(), sizes.tolist(), strict=True):
        for word in range(first, min(first + size, len(left))):
            if not 0 < left[word] <= count:
                break
            count -= left[word]
            left[word] = 0
        if not count:
            break
    return (lengths > left)[words]


def choose(
    unit: Unit, candidates: np.ndarray, word_starts: np.ndarray, count: int, rng: Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """The mask by a unit, and, of spans, the number of each token's span, whose tokens are replaced alike."""
    if unit == "token":
        return choose_tokens(candidates, count, rng), None
    if unit == "word":
        return choose_words(candidates, word_starts, count, rng), None
    if unit == "ngram":
        return choose_ngrams(candidates, word_starts, count, rng), None
    chosen = choose_spans(candidates, word_starts, count, rng)
    return chosen, np.cumsum(np.diff(chosen.astype(np.int8), prepend=0) == 1)


def mask_keep_or_randomise(
    tokens: np.ndarray,
    chosen: np.ndarray,
    *,
    mask: int,
    pool: np.ndarray,
    mask_rate: float,
    random_rate: float,
    rng: Generator,
    as_one: np.ndarray | None = None,
) -> np.ndarray:
    """The tokens with each chosen one masked, replaced by a random one of `pool`, or kept.

    The three happen with `mask_rate`, `random_rate` and what is left to 1, independently for every token; or for
    every group of tokens that has the same number in `as_one`.
    """
    places = np.flatnonzero(chosen)
    draws = rng.random(len(places))
    if as_one is not None and len(places):
        draws = draws[np.unique(as_one[places], return_inverse=True)[1]]
    noised = tokens.astype(np.int64)
    noised[places[draws < mask_rate]] = mask
    randomised = places[(draws >= mask_rate) & (draws < mask_rate + random_rate)]
    noised[randomised] = pool[rng.integers(len(pool), size=len(randomised))]
    return noised
