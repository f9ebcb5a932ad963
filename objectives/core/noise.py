"""The alphabet of masks and rewrites that objectives are spelled with: pure numpy, every draw from a given generator.

A mask is bool[length], true where text is hidden. What a function promises holds for every draw.
"""

import itertools
import math

import numpy as np
from numpy.random import Generator


def runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64[runs] starts and ends (one behind the last) of the runs of true in a mask."""
    edges = np.diff(mask.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def budget(length: int, rate: float) -> int:
    """max(1, round(rate · length)), halves to the even number, as Python's round does it in float64."""
    return max(1, round(length * rate))


# --- which tokens: masked language modelling ---


def choose_tokens(candidates: np.ndarray, count: int, rng: Generator) -> np.ndarray:
    """Mask of `count` of the candidates (all, where they are fewer), every set of them equally likely."""
    places = np.flatnonzero(candidates)
    chosen = np.zeros(len(candidates), dtype=bool)
    chosen[rng.permutation(places)[:count]] = True
    return chosen


def choose_words(candidates: np.ndarray, word_starts: np.ndarray, count: int, rng: Generator) -> np.ndarray:
    """Mask of whole words: all tokens of a word or none, at most `count` tokens (Devlin et al., whole-word masking).

    Words come in random order; one that does not fit into what is left is passed over, so that a smaller one may.
    """
    words = np.cumsum(word_starts) * candidates  # 0 where not a candidate; words count from 1
    lengths = np.bincount(words).tolist()
    taken = []
    for word in rng.permutation(np.unique(words[words > 0])):
        if lengths[word] <= count:
            taken.append(word)
            count -= lengths[word]
        if not count:
            break
    return np.isin(words, taken)


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
    pmf = p * (1 - p) ** np.arange(longest)
    lengths = rng.choice(longest, size=count, p=pmf / pmf.sum()) + 1  # each span masks a token at least
    for length in lengths:
        left = count - int(chosen.sum())
        if left <= 0:
            break
        first = words[rng.choice(np.flatnonzero(candidates & ~chosen))]
        span = (words >= first) & (words < first + length) & candidates & ~chosen
        chosen |= span & (np.cumsum(span) <= left)
    return chosen


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


# --- which spans: T5 ---


def composition(total: int, parts: int, rng: Generator) -> np.ndarray:
    """int64[parts], positive, summing to `total`; every such composition is equally likely."""
    cuts = np.sort(rng.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(cuts, prepend=0, append=total)


def span_counts(length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """Noise tokens and spans in `length` tokens (T5, random_spans_noise_mask), both 0 where there is but one token.

    There are never more spans than tokens of either kind to part them with.
    """
    if length < 2:
        return 0, 0
    num_noise = min(max(round(length * noise_density), 1), length - 1)
    return num_noise, min(max(round(num_noise / mean_span_length), 1), num_noise, length - num_noise)


def random_spans(length: int, *, noise_density: float, mean_span_length: float, rng: Generator) -> np.ndarray:
    """Mask with the numbers of `span_counts`, text and noise in turn: text first, noise last, no two spans touch.

    All masks of this form are equally likely (Raffel et al. 2020, 3.1.4).
    """
    num_noise, num_spans = span_counts(length, noise_density, mean_span_length)
    mask = np.zeros(length, dtype=bool)
    if num_spans:
        noise = composition(num_noise, num_spans, rng)
        text = composition(length - num_noise, num_spans, rng)
        for end, span in zip(np.cumsum(noise + text), noise, strict=True):
            mask[end - span : end] = True
    return mask


def cut_runs(mask: np.ndarray, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`runs` of a mask, cut further at the given places."""
    starts, ends = runs(mask)
    inner = cuts[(cuts > 0) & mask[cuts] & mask[cuts - 1]] if len(mask) else cuts
    return np.sort(np.concatenate([starts, inner])), np.sort(np.concatenate([ends, inner]))


def replace_spans(
    tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray, replacements: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens with the k-th span replaced by the one token `replacements[k]`.

    Returns int64 tokens and their origins; a replacement's origin is the first place it hides.
    """
    covered = np.zeros(len(tokens) + 1, dtype=np.int8)
    np.add.at(covered, starts, 1)
    np.add.at(covered, ends, -1)
    kept = np.cumsum(covered[:-1]) == 0
    kept[starts] = True
    noised = tokens.astype(np.int64)
    noised[starts] = replacements
    origins = np.flatnonzero(kept)
    return noised[origins], origins


# --- what a decoder reads: T5 and BART ---


def shifted(labels: np.ndarray, start: int, documents: np.ndarray | None = None) -> np.ndarray:
    """int64[length], the label before each, and `start` before the first.

    Of documents that are kept apart, given by their number at each label, each begins with `start` (seqio, packing):
    what one of them says is not read in the next. 0 is none.
    """
    ids = np.concatenate([[start], labels[:-1]])
    if documents is not None:
        before, here = documents[:-1], documents[1:]
        ids[1:][(before != here) & (before > 0) & (here > 0)] = start
    return ids


# --- which spans: BART ---


def poisson_lengths(total: int, mean: float, rng: Generator) -> tuple[np.ndarray, int]:
    """Lengths, drawn one after another from Poisson(`mean`) until they sum to `total`, the last cut to fit.

    Returns the positive lengths and the number of zeros among the draws.
    """
    lengths = np.zeros(0, dtype=np.int64)
    while lengths.sum() < total:
        lengths = np.concatenate([lengths, rng.poisson(mean, size=8 + int(2 * total / mean))])
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), total)) + 1].copy()
    lengths[-1:] -= lengths.sum() - total
    return lengths[lengths > 0], int((lengths == 0).sum())


def parted_spans(length: int, lengths: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of spans of the given lengths, in a random order, that neither overlap nor touch.

    Every way to place them is equally likely. Spans that the text is too short to part are left out.
    """
    lengths = rng.permutation(lengths)
    while len(lengths) > length - lengths.sum() + 1:
        lengths = lengths[:-1]
    text_before = np.sort(rng.permutation(length - lengths.sum() + 1)[: len(lengths)])
    ends = text_before + np.cumsum(lengths)
    return ends - lengths, ends


def overlapping_spans(length: int, lengths: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of spans as fairseq's DenoisingDataset places them: at distinct random places.

    They may overlap, and are then one, and run into the end, so that less is hidden than was asked for: 26.8 % of 510
    tokens instead of 30 % at a mean length of 3.
    """
    starts = rng.permutation(length)[: len(lengths)]
    order = np.argsort(starts)
    starts, ends = starts[order], np.minimum(starts + lengths[: len(starts)], length)[order]
    reach = np.maximum.accumulate(ends)
    begins = np.ones(len(starts), dtype=bool)
    begins[1:] = starts[1:] >= reach[:-1]
    return starts[begins], np.maximum.reduceat(ends, np.flatnonzero(begins)) if len(starts) else ends


def insertion_places(length: int, count: int, rng: Generator) -> np.ndarray:
    """int64[count] places to insert something before, 0 to `length`, all alike."""
    return rng.integers(length + 1, size=count)


# --- order: BART ---


def permute_sentences(length: int, sentence_starts: np.ndarray, rate: float, rng: Generator) -> np.ndarray:
    """int64[length] places: ceil(rate * n) of the n sentences, chosen at random, in random order on their own seats."""
    bounds = np.unique(np.concatenate([[0], sentence_starts, [length]]))
    sentences = [np.arange(start, end) for start, end in itertools.pairwise(bounds)]
    seats = np.sort(rng.permutation(len(sentences))[: math.ceil(rate * len(sentences))])
    order = np.arange(len(sentences))
    order[seats] = rng.permutation(seats)
    return np.concatenate([np.arange(0), *(sentences[index] for index in order)])


def rotate(length: int, rng: Generator, *, like_fairseq: bool = False) -> np.ndarray:
    """int64[length] places, begun at any of them, all equally likely.

    fairseq draws the offset over the item with its two special tokens, which makes leaving it as it is twice as
    likely as each other outcome.
    """
    offset = int(rng.integers(length + 1 if like_fairseq else length)) if length else 0
    return np.roll(np.arange(length), -offset)
