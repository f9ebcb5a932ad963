"""Answers: windows lose nothing, the best span is the best of all, and its text is a slice of the context."""

import itertools
import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.text.graphemes import graphemes
from data.tokens.tokenizer import KINDS, train_tokenizer
from finetuning.metrics.answers import (
    NO_PLACE,
    WindowLogits,
    answer_tokens,
    best_answer,
    maximal_context,
    sliding_windows,
    within,
)
from tests.helpers import made_up_documents

FIXED = settings(deadline=None, derandomize=True, max_examples=100)

sizes = st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(1, 20)).filter(lambda size: size[2] <= size[1])


def by_run_squad(num_tokens: int, length: int, stride: int) -> list[tuple[int, int]]:
    """Windows as the loop of BERT's run_squad.py makes them."""
    windows, start = [], 0
    while start < num_tokens:
        size = min(num_tokens - start, length)
        windows.append((start, start + size))
        if start + size == num_tokens:
            break
        start += min(size, stride)
    return windows


@FIXED
@given(size=sizes)
def test_windows_are_those_of_run_squad_and_hold_every_token(size: tuple[int, int, int]) -> None:
    num_tokens, length, stride = size
    windows = sliding_windows(num_tokens, length=length, stride=stride)
    assert windows == (by_run_squad(*size) or [(0, 0)])
    assert {token for start, end in windows for token in range(start, end)} == set(range(num_tokens))


@FIXED
@given(size=sizes)
def test_every_token_belongs_to_the_one_window_with_most_context_around_it(size: tuple[int, int, int]) -> None:
    num_tokens, length, stride = size
    windows = sliding_windows(num_tokens, length=length, stride=stride)
    own = maximal_context(windows, num_tokens)
    for token in range(num_tokens):
        scores = [
            min(token - start, end - 1 - token) + 0.01 * (end - start) if start <= token < end else -math.inf
            for start, end in windows
        ]
        assert own[token] == scores.index(max(scores))


@pytest.mark.parametrize(("length", "stride"), [(10, 0), (10, 11), (0, 1)])
def test_a_stride_that_would_skip_tokens_is_a_mistake_of_ours(
    length: int, stride: int
) -> None:  # the task has its range
    with pytest.raises(AssertionError, match="no token falls between two windows"):
        sliding_windows(30, length=length, stride=stride)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_of_an_answer_hold_it_whole_and_no_others_do(kind: str) -> None:
    texts = [*made_up_documents(), "이순신은 1545년에 태어났다."]
    tokenizer = train_tokenizer(iter(texts), kind=kind, vocab_size=600)  # pyright: ignore[reportArgumentType]
    rng = np.random.default_rng(0)
    for text in texts[-40:]:
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        start = int(rng.integers(len(text)))
        end = start + int(rng.integers(1, 12))
        held = [place for place, span in enumerate(offsets) if set(range(*span)) & set(range(start, end))]
        found = answer_tokens(offsets, start, end)
        assert found == ((held[0], held[-1]) if held else None)


def test_a_token_without_a_character_holds_no_answer() -> None:
    assert answer_tokens([(0, 0), (1, 1), (0, 2), (1, 1), (2, 2)], 0, 2) == (2, 2)
    assert answer_tokens([(0, 0), (1, 1)], 0, 2) is None


def test_an_answer_that_a_window_does_not_hold_whole_has_no_place_in_it() -> None:
    assert within((10, 20), (10, 19)) == (0, 9)
    assert within((10, 20), (12, 12)) == (2, 2)
    assert within((10, 20), (9, 12)) is within((10, 20), (19, 20)) is within((10, 20), None) is None


CONTEXT = "The  Nile flows  north , they say .  "


def tokens_of(context: str) -> list[tuple[int, int]]:
    """Tokens that begin with the white space before a word, in words of at most three letters, as BPE cuts them."""
    offsets, place = [], 0
    while place < len(context):
        end = place + len(context[place:]) - len(context[place:].lstrip())
        end += min(3, len(context[end:].split(" ")[0])) if end < len(context) else 0
        offsets.append((place, end))
        place = end
    return offsets


@st.composite
def readings(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[WindowLogits]]:
    """Tokens of the context with logits of every window."""
    offsets = tokens_of(CONTEXT)
    length = draw(st.integers(1, len(offsets)))
    windows = sliding_windows(len(offsets), length=length, stride=draw(st.integers(1, length)))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    draws = [rng.normal(scale=3, size=(2, end - start)).astype(np.float32) for start, end in windows]
    nones = rng.normal(scale=3, size=len(windows)).tolist()
    return offsets, [
        WindowLogits(window=window, starts=logits[0], ends=logits[1], none=none)
        for window, logits, none in zip(windows, draws, nones, strict=True)
    ]


def all_spans(
    offsets: list[tuple[int, int]], windows: list[WindowLogits], longest: int
) -> dict[tuple[int, int], float]:
    """The score of every span of tokens that may be an answer."""
    own = maximal_context([part.window for part in windows], len(offsets))
    spans = {}
    for number, part in enumerate(windows):
        for first, last in itertools.product(range(*part.window), repeat=2):
            is_text = all(CONTEXT[slice(*offsets[token])].strip() for token in (first, last))
            if own[first] == number and 0 <= last - first < longest and is_text:
                begin = part.window[0]
                spans[first, last] = float(part.starts[first - begin]) + float(part.ends[last - begin])
    return spans


@FIXED
@given(reading=readings(), longest=st.integers(1, 9))
def test_the_answer_is_the_best_of_all_spans(
    reading: tuple[list[tuple[int, int]], list[WindowLogits]], longest: int
) -> None:
    offsets, windows = reading
    spans = all_spans(offsets, windows, longest)
    (first, last), score = max(spans.items(), key=lambda item: item[1])
    found = best_answer(CONTEXT, offsets, windows, longest=longest)
    assert found.score == pytest.approx(score, rel=1e-12)
    assert found.text == CONTEXT[found.start : found.end] == CONTEXT[offsets[first][0] : offsets[last][1]].strip()
    total = sum(math.exp(other - score) for other in spans.values())
    assert found.probability == pytest.approx(1 / total, rel=1e-10)


@FIXED
@given(reading=readings(), threshold=st.sampled_from([-2.0, 0.0, 3.0]))
def test_no_answer_is_chosen_where_every_window_believes_in_it_more_than_in_the_best_span(
    reading: tuple[list[tuple[int, int]], list[WindowLogits]], threshold: float
) -> None:
    offsets, windows = reading
    spans = all_spans(offsets, windows, 30)
    none = min(part.none for part in windows)
    found = best_answer(CONTEXT, offsets, windows, may_be_none=True, threshold=threshold)
    assert found.is_none == (none - max(spans.values()) > threshold)
    chosen = none if found.is_none else max(spans.values())
    assert found.score == pytest.approx(chosen)
    total = sum(math.exp(score) for score in spans.values()) + math.exp(none)
    assert found.probability == pytest.approx(math.exp(chosen) / total, rel=1e-10)
    if found.is_none:
        assert (found.text, found.start, found.end) == ("", NO_PLACE, NO_PLACE)


def test_a_context_without_a_word_has_no_answer() -> None:
    nothing = np.zeros(0)
    for context, offsets in (("", []), ("  ", [(0, 2)])):
        logits = np.zeros(len(offsets))
        windows = [WindowLogits(window=(0, len(offsets)), starts=logits, ends=logits, none=-1.0)]
        found = best_answer(context, offsets, windows)
        assert found.is_none
        assert (found.text, found.probability) == ("", 1.0)
    assert best_answer("", [], [WindowLogits(window=(0, 0), starts=nothing, ends=nothing)]).is_none


def test_bytes_of_a_letter_never_cut_it() -> None:
    context, offsets = "서울", [(0, 1)] * 3 + [(1, 2)] * 3
    starts, ends = np.zeros(6), np.zeros(6)
    starts[1], ends[1] = 9, 9  # the middle byte of the first letter
    found = best_answer(context, offsets, [WindowLogits(window=(0, 6), starts=starts, ends=ends)])
    assert (found.text, found.start, found.end) == ("서", 0, 1)


def test_huge_logits_overflow_nothing() -> None:
    starts = np.array([4e4, 0.0], dtype=np.float32)
    found = best_answer("a b", [(0, 1), (1, 3)], [WindowLogits(window=(0, 2), starts=starts, ends=starts)])
    assert (found.text, found.score) == ("a", 8e4)
    assert found.probability == 1.0


def test_an_answer_cuts_no_character() -> None:
    """A jamo of a syllable, a part of a family: the whole of it is the answer."""
    for context in (unicodedata.normalize("NFD", "서울"), "a👨\u200d👩\u200d👧b"):
        offsets = [(place, place + 1) for place in range(len(context))]
        for place in range(len(context)):
            starts = np.where(np.arange(len(context)) == place, 9.0, 0.0)
            window = WindowLogits(window=(0, len(context)), starts=starts, ends=starts)
            found = best_answer(context, offsets, [window], longest=1)
            assert found.text == context[found.start : found.end]
            borders = {0} | {end for _, end in graphemes(context)}
            assert {found.start, found.end} <= borders
            assert found.start <= place < found.end
