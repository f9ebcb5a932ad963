"""Answers within a context: windows over its tokens, and the best span of all windows by logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from data.text.graphemes import whole_graphemes
from finetuning.metrics.spans import Spans

NO_PLACE = -1


def sliding_windows(num_tokens: int, *, length: int, stride: int) -> list[tuple[int, int]]:
    """Windows [start, end) over the tokens of a context that leave none out (Devlin et al. 2019, run_squad.py).

    Args:
        num_tokens: of the context; 0 has one window without a token.
        length: tokens of a window; the last one ends with the context and may be shorter.
        stride: tokens from the beginning of one window to that of the next, at most `length`.
    """
    assert 1 <= stride <= length, "no token falls between two windows"
    num_more = -(-max(num_tokens - length, 0) // stride)
    return [(start, min(start + length, num_tokens)) for start in range(0, num_more * stride + 1, stride)]


def maximal_context(windows: Spans, num_tokens: int) -> np.ndarray:
    """int64[num_tokens], the window in which each token has most context to its scarcer side.

    Of equal ones the longest window wins, then the first (run_squad.py, _check_is_max_context).
    """
    best = np.zeros(num_tokens, dtype=np.int64)
    most = np.full(num_tokens, -1.0)
    for number, (start, end) in enumerate(windows):
        places = np.arange(start, end)
        context = np.minimum(places - start, end - 1 - places) + 0.01 * (end - start)
        better = places[context > most[start:end]]
        most[better] = context[better - start]
        best[better] = number
    return best


def answer_tokens(offsets: Spans, start: int, end: int) -> tuple[int, int] | None:
    """The first and the last token that hold some of the characters [start, end); None where no token does."""
    places = [place for place, (begin, stop) in enumerate(offsets) if begin < end and stop > start and begin < stop]
    return (places[0], places[-1]) if places else None


def within(window: tuple[int, int], tokens: tuple[int, int] | None) -> tuple[int, int] | None:
    """An answer's first and last token counted from the window's first; None where it does not hold both."""
    if tokens is None or tokens[0] < window[0] or tokens[1] >= window[1]:
        return None
    return tokens[0] - window[0], tokens[1] - window[0]


@dataclass(frozen=True, kw_only=True)
class WindowLogits:
    """What a model predicts for one window [start, end) of a context.

    Args:
        window: the tokens of the context that it holds.
        starts: float[end - start], of an answer's first token.
        ends: float[end - start], of its last.
        none: sum of both logits for "no answer" (at CLS).
    """

    window: tuple[int, int]
    starts: np.ndarray
    ends: np.ndarray
    none: float = -np.inf


@dataclass(frozen=True, kw_only=True)
class FoundAnswer:
    """An answer, `context[start:end]`, or none: "" at NO_PLACE.

    Args:
        text: the answer.
        start: its first character.
        end: one behind its last.
        score: sum of the two logits.
        probability: softmax of the scores of all spans that could have been chosen, and of "no answer".
    """

    text: str
    start: int
    end: int
    score: float
    probability: float

    @property
    def is_none(self) -> bool:
        return self.start == NO_PLACE


def _span_scores(part: WindowLogits, can_end: np.ndarray, is_own: np.ndarray, longest: int) -> np.ndarray:
    """float64[L, longest], the score of the span of every length from every token; -inf where it may be no answer."""
    starts = np.where(can_end & is_own, part.starts.astype(np.float64), -np.inf)
    ends = np.where(can_end, part.ends.astype(np.float64), -np.inf)
    padded = np.concatenate([ends, np.full(longest, -np.inf)])
    return starts[:, None] + sliding_window_view(padded, longest)[:-1]


def best_answer(
    context: str,
    offsets: Spans,
    windows: Sequence[WindowLogits],
    *,
    longest: int = 30,
    may_be_none: bool = False,
    threshold: float = 0.0,
) -> FoundAnswer:
    """The span of highest score over all windows, or "no answer".

    A span's score is that of its first token plus that of its last, in the window in which the first has most context
    around it. White space at its ends is no part of an answer, and no character is cut.

    Args:
        context: the text.
        offsets: characters of its tokens.
        windows: logits of all windows; together they hold every token.
        longest: tokens that an answer may have.
        may_be_none: whether a question may have no answer.
        threshold: by how much "no answer", of the window that believes in it least, must score higher than the best
            span to be chosen (SQuAD 2.0's null_score_diff_threshold).
    """
    own = maximal_context([part.window for part in windows], len(offsets))
    holds_text = np.array([start < end and not context[start:end].isspace() for start, end in offsets], dtype=bool)
    none = float(min((part.none for part in windows), default=-np.inf))
    best, first, last = -np.inf, 0, 0
    log_total = none if may_be_none else -np.inf
    for number, part in enumerate(windows):
        start, end = part.window
        scores_LW = _span_scores(part, holds_text[start:end], own[start:end] == number, longest)
        if not scores_LW.size or scores_LW.max() == -np.inf:
            continue
        top = float(scores_LW.max())
        if top > best:
            place, max_lengths = np.unravel_index(scores_LW.argmax(), scores_LW.shape)
            best, first, last = top, start + int(place), start + int(place) + int(max_lengths)
        log_total = float(np.logaddexp(log_total, top + np.log(np.exp(scores_LW - top).sum())))
    if best == -np.inf or (may_be_none and none - best > threshold):
        probability = float(np.exp(none - log_total)) if log_total > -np.inf else 1.0
        return FoundAnswer(text="", start=NO_PLACE, end=NO_PLACE, score=none, probability=probability)
    begin, stop = offsets[first][0], offsets[last][1]
    text = context[begin:stop]
    begin, stop = begin + len(text) - len(text.lstrip()), stop - len(text) + len(text.rstrip())
    begin, stop = whole_graphemes(context, begin, stop)
    probability = float(np.exp(best - log_total))
    return FoundAnswer(text=context[begin:stop], start=begin, end=stop, score=best, probability=probability)
