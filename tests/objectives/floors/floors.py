"""What the noises of the objectives can have done, way by way: from what is read, all that may lie behind it.

A text is int64[length] tokens 0..V-1, HIDDEN where what is read shows a mask or a sentinel. Each function gives the
`Ways` of one noise, with their exact probabilities, after the code of objectives/ and from nothing it has drawn.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from tests.objectives.floors.markov import Ways

HIDDEN = -1


def shown(read: np.ndarray, num_tokens: int) -> np.ndarray:
    """float64[length, V], 1 for the token that is read, and for all where none is."""
    return ((read[:, None] == np.arange(num_tokens)) | (read[:, None] == HIDDEN)).astype(np.float64)


def _ways(probabilities: Iterable[float], likelihoods: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> Ways:
    return Ways(np.array(list(probabilities)), np.stack(likelihoods), np.stack(targets))


# --- one by one ---


def masked_or_kept(read: np.ndarray, *, count: int, mask_rate: float, random_rate: float, num_tokens: int) -> Ways:
    """BERT's: `count` places are asked for, every set of them alike, each masked, randomised or kept.

    Of the places that show a token, any may be asked for, as long as there are `count` in all.
    """
    masks, others = np.flatnonzero(read == HIDDEN), np.flatnonzero(read != HIDDEN)
    plain_WV = shown(read, num_tokens)
    kept_or_random_WV = (1 - mask_rate - random_rate) * plain_WV + random_rate / num_tokens
    kept_or_random_WV[masks] = mask_rate
    chosen_PK = np.array(list(itertools.combinations(others, count - len(masks))), dtype=np.int64)
    targets_PW = np.zeros((len(chosen_PK), len(read)), dtype=bool)
    targets_PW[:, masks] = True
    np.put_along_axis(targets_PW, chosen_PK, True, axis=1)
    likelihoods_PWV = np.where(targets_PW[:, :, None], kept_or_random_WV, plain_WV)
    return Ways(np.full(len(targets_PW), 1 / math.comb(len(read), count)), likelihoods_PWV, targets_PW)


def masked_one_by_one(read: np.ndarray, *, num_tokens: int) -> Ways:
    """BART's token masking: as many places are hidden as there are masks, every set alike."""
    hidden = read == HIDDEN
    return _ways([1 / math.comb(len(read), int(hidden.sum()))], [shown(read, num_tokens)], [hidden])


def deleted(read: np.ndarray, *, length: int, num_tokens: int) -> Ways:
    """BART's token deletion: what is missing may have stood anywhere, every set of places alike."""
    likelihoods, targets = [], []
    for places in itertools.combinations(range(length), length - len(read)):
        targets.append(np.isin(np.arange(length), places))
        window = np.full(length, HIDDEN)
        window[~targets[-1]] = read
        likelihoods.append(shown(window, num_tokens))
    return _ways([1 / len(targets)] * len(targets), likelihoods, targets)


def rotated(read: np.ndarray, *, rate: float, num_tokens: int) -> Ways:
    """BART's rotation: with `rate` the window begins at any of its places alike, that of its first token included."""
    likelihoods = [shown(np.roll(read, offset), num_tokens) for offset in range(len(read))]
    probabilities = [rate / len(read) + (1 - rate) * (offset == 0) for offset in range(len(read))]
    return _ways(probabilities, likelihoods, [np.zeros(len(read), dtype=bool)] * len(read))


# --- spans ---


def _lengths(total: int, parts: int, least: int) -> Iterable[tuple[int, ...]]:
    """Every way to write `total` as so many lengths of at least so much, in order."""
    if parts == 0:
        yield from [()] if total == 0 else []
        return
    for first in range(least, total - least * (parts - 1) + 1):
        for rest in _lengths(total - first, parts - 1, least):
            yield (first, *rest)


def _unfolded(read: np.ndarray, first_masks: np.ndarray, lengths: tuple[int, ...]) -> np.ndarray:
    """int64[W], the window behind what is read, if the span at each of `first_masks` is so long."""
    repeats = (read != HIDDEN).astype(np.int64)
    repeats[first_masks] = lengths
    return np.repeat(read, repeats)


def spans_of_t5(read: np.ndarray, *, num_noise: int, num_tokens: int) -> Ways:
    """T5's: text and noise in turn, every way to part each of them alike. The ways are in the order of `_lengths`."""
    sentinels = np.flatnonzero(read == HIDDEN)
    num_text, num_spans = len(read) - len(sentinels), len(sentinels)
    windows = [_unfolded(read, sentinels, lengths) for lengths in _lengths(num_noise, num_spans, 1)]
    probability = 1 / math.comb(num_noise - 1, num_spans - 1) / math.comb(num_text - 1, num_spans - 1)
    likelihoods = [shown(window, num_tokens) for window in windows]
    return _ways([probability] * len(windows), likelihoods, [window == HIDDEN for window in windows])


def _poisson(length: int, mean: float) -> float:
    return math.exp(-mean) * mean**length / math.factorial(length)


def _poisson_tail(length: int, mean: float) -> float:
    """P(drawn >= length)."""
    return 1 - sum(_poisson(shorter, mean) for shorter in range(length))


def _probability_of_lengths(lengths: list[int], insertions: int, mean: float) -> float:
    """That spans stand in this order, of lengths drawn until they sum to the total, with so many zeros in between.

    The last one drawn is cut to fit; it stands at any place of the order alike. No more masks are inserted than the
    spans take tokens away.
    """
    number, most = len(lengths), sum(lengths) - len(lengths)
    drawn = [
        _poisson_tail(lengths[last], mean) * math.prod(_poisson(n, mean) for n in lengths[:last] + lengths[last + 1 :])
        for last in range(number)
    ]
    zeros = [math.comb(number - 1 + zero, zero) * _poisson(0, mean) ** zero for zero in range(most + 1)]
    as_many_or_more = (1 - _poisson(0, mean)) ** -number - sum(zeros[:most])
    return sum(drawn) / number * ([*zeros[:most], as_many_or_more][insertions])


def infilled(read: np.ndarray, *, num_hidden: int, mean_span_length: float, num_tokens: int) -> Ways:
    """BART's text infilling, with spans that are parted: a mask is a span, or was inserted.

    Of masks side by side at most one is a span. Those inserted at one place are told apart by nothing, so that m of
    them have come there in one of m! orders.
    """
    is_mask = read == HIDDEN
    firsts = np.flatnonzero(is_mask & ~np.append(False, is_mask[:-1]))
    runs = [int(np.argmin(np.append(is_mask[first:], False))) for first in firsts]
    num_text, num_masks = int((~is_mask).sum()), int(is_mask.sum())
    probabilities, windows = [], []
    for lengths in _lengths(num_hidden, len(runs), 0):
        spans = [length for length in lengths if length]
        insertions = num_masks - len(spans)
        if not 0 <= insertions <= num_hidden - len(spans):
            continue
        orders = math.prod(
            2 ** (run - 1) / math.factorial(run - 1) if length else 1 / math.factorial(run)
            for run, length in zip(runs, lengths, strict=True)
        )
        places = math.factorial(insertions) * (num_text + len(spans) + 1.0) ** -insertions
        parted = 1 / math.comb(num_text + 1, len(spans))
        probabilities.append(_probability_of_lengths(spans, insertions, mean_span_length) * parted * places * orders)
        windows.append(_unfolded(read, firsts, lengths))
    likelihoods = [shown(window, num_tokens) for window in windows]
    return _ways(probabilities, likelihoods, [window == HIDDEN for window in windows])
