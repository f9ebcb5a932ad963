"""Which spans are hidden, and by what they are replaced: T5's span corruption.

A mask is bool[length], true where text is hidden; spans are int64 starts and ends, one behind the last token.
"""

import numpy as np
from numpy.random import Generator

from objectives.core.noise.masking import runs


def composition(total: int, parts: int, rng: Generator) -> np.ndarray:
    """int64[parts], positive, summing to `total`; every such composition is equally likely."""
    bounds = np.zeros(parts + 1, dtype=np.int64)
    bounds[1:-1] = rng.permutation(total - 1)[: parts - 1] + 1
    bounds[1:-1].sort()
    bounds[-1] = total
    return bounds[1:] - bounds[:-1]


def span_counts(length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """Noise tokens and spans in `length` tokens (T5, random_spans_noise_mask), both 0 where there is but one token.

    There are never more spans than noise tokens or than other tokens, so that no two spans touch.
    """
    if length < 2:
        return 0, 0
    num_noise = min(max(round(length * noise_density), 1), length - 1)
    return num_noise, min(max(round(num_noise / mean_span_length), 1), num_noise, length - num_noise)


def random_spans(length: int, *, noise_density: float, mean_span_length: float, rng: Generator) -> np.ndarray:
    """Mask with the numbers of `span_counts`, text and noise in turn, text first and noise last; no two spans touch.

    All masks of this form are equally likely (Raffel et al. 2020, 3.1.4).
    """
    num_noise, num_spans = span_counts(length, noise_density, mean_span_length)
    if not num_spans:
        return np.zeros(length, dtype=bool)
    lengths = np.empty(2 * num_spans, dtype=np.int64)
    lengths[1::2] = composition(num_noise, num_spans, rng)
    lengths[::2] = composition(length - num_noise, num_spans, rng)
    return (np.arange(2 * num_spans) % 2 == 1).repeat(lengths)


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
    length = len(tokens) + 1
    covered = np.bincount(starts, minlength=length) - np.bincount(ends, minlength=length)
    kept = np.cumsum(covered[:-1]) == 0
    kept[starts] = True
    noised = tokens.astype(np.int64)
    noised[starts] = replacements
    origins = np.flatnonzero(kept)
    return noised[origins], origins


def inputs_and_targets(
    tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray, sentinels: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets, each as int64 tokens and their origins, without EOS.

    In the input the k-th sentinel stands for the k-th noise span; the targets are each sentinel and its span.
    Text behind the last span adds one more sentinel to the targets, as in the paper's example; the reference's masks
    end with noise and never need it. The same as T5's `noise_span_to_unique_sentinel` of the mask and of its
    complement, except for masks that begin with noise, where T5's sentinels of inputs and targets do not match.
    """
    source = replace_spans(tokens, starts, ends, sentinels[: len(starts)])
    if len(ends) and ends[-1] < len(tokens):  # one more sentinel, with an empty span
        starts, ends = np.append(starts, ends[-1]), np.append(ends, ends[-1])
    lengths = ends - starts + 1
    firsts = np.cumsum(lengths) - lengths
    origins = np.arange(lengths.sum()) + np.repeat(starts - 1 - firsts, lengths)
    origins[firsts] = starts
    targets = tokens[np.minimum(origins, len(tokens) - 1)].astype(np.int64)
    targets[firsts] = sentinels[: len(starts)]
    return source, (targets, origins)


def ended(ids: np.ndarray, end: int) -> np.ndarray:
    """int64[length + 1], ids and behind them `end`; `np.append` at a third of its time."""
    found = np.empty(len(ids) + 1, dtype=np.int64)
    found[:-1], found[-1] = ids, end
    return found


def shifted(labels: np.ndarray, start: int, documents: np.ndarray | None = None) -> np.ndarray:
    """int64[length], labels shifted right by one, with `start` at the beginning.

    Where documents are kept apart, `documents` holds the number of the document of each label, 0 for none, and every
    document begins with `start`, so that no label of one is read in the next (seqio, packing).
    """
    ids = np.concatenate([[start], labels[:-1]])
    if documents is not None:
        before, here = documents[:-1], documents[1:]
        ids[1:][(before != here) & (before > 0) & (here > 0)] = start
    return ids
