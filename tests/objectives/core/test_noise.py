"""The alphabet of noise, first half: which tokens are hidden, and what becomes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.core.noise.masking import (
    budget,
    by_weight,
    choose_spans,
    choose_tokens,
    choose_words,
    mask_keep_or_randomise,
    runs,
)
from tests.objectives.texts import FIXED, MASK, VOCABULARY, assert_alike, assert_distributed, key, standard_error

masks = st.lists(st.booleans(), max_size=40).map(lambda values: np.array(values, dtype=bool))
seeds = st.integers(0, 10_000)
words_and_candidates = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40).map(
    lambda pairs: np.array(pairs, dtype=bool).T
)


@given(mask=masks)
@FIXED
def test_runs_cover_a_mask_and_nothing_else(mask: np.ndarray) -> None:
    starts, ends = runs(mask)
    drawn = np.zeros(len(mask), dtype=bool)
    for start, end in zip(starts, ends, strict=True):
        assert start < end
        drawn[start:end] = True
    assert (drawn == mask).all()
    assert (starts[1:] > ends[:-1]).all()


@pytest.mark.parametrize(("length", "expected"), [(8, 1), (10, 2), (30, 4), (50, 8), (70, 10), (190, 28)])
def test_a_budget_rounds_halves_to_the_even_number(length: int, expected: int) -> None:
    """0.4 of the reference, in float64: 190 gives 28 where float32 gives 29."""
    assert budget(length, 0.15) == expected


@pytest.mark.parametrize(("length", "expected"), [(1, 1), (3, 1), (128, 19), (256, 38), (512, 77)])
def test_a_budget_is_that_of_bert(length: int, expected: int) -> None:
    """C20."""
    assert budget(length, 0.15) == expected


@given(weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=12), number=st.integers(0, 30), seed=seeds)
@FIXED
def test_what_is_drawn_by_weight_is_what_numpys_choice_draws(weights: list[float], number: int, seed: int) -> None:
    shares = np.array(weights) / np.sum(weights)
    expected = np.random.default_rng(seed).choice(len(weights), size=number, p=shares)
    assert by_weight(np.array(weights), number, np.random.default_rng(seed)).tolist() == expected.tolist()


@given(candidates=masks, count=st.integers(0, 45), seed=seeds)
@FIXED
def test_just_so_many_candidates_are_chosen(candidates: np.ndarray, count: int, seed: int) -> None:
    chosen = choose_tokens(candidates, count, key(seed))
    assert chosen.sum() == min(count, candidates.sum())
    assert not (chosen & ~candidates).any()


def test_every_set_of_candidates_is_equally_likely() -> None:
    candidates = np.array([1, 0, 1, 1, 0, 1, 1], dtype=bool)
    draws = (tuple(np.flatnonzero(choose_tokens(candidates, 2, key(index)))) for index in range(4_000))
    assert_alike(draws, 10)


@given(both=words_and_candidates, count=st.integers(0, 45), seed=seeds)
@FIXED
def test_words_are_hidden_whole_and_within_the_budget(both: np.ndarray, count: int, seed: int) -> None:
    """C29."""
    word_starts, candidates = both
    chosen = choose_words(candidates, word_starts, count, key(seed))
    words = np.cumsum(word_starts)
    assert chosen.sum() <= count
    assert not (chosen & ~candidates).any()
    for word in np.unique(words[words > 0]):
        pieces = chosen[(words == word) & candidates]
        assert pieces.all() or not pieces.any()


@given(both=words_and_candidates, count=st.integers(0, 45), seed=seeds)
@FIXED
def test_no_word_is_passed_over_that_would_still_fit(both: np.ndarray, count: int, seed: int) -> None:
    word_starts, candidates = both
    word_starts[0] = True
    chosen = choose_words(candidates, word_starts, count, key(seed))
    words = np.cumsum(word_starts)
    left = [int((candidates & (words == word)).sum()) for word in set(words[candidates & ~chosen])]
    assert not left or min(left) > count - chosen.sum()


def test_words_of_one_length_are_equally_likely() -> None:
    word_starts = np.array([1, 0, 1, 0, 1, 0, 1, 0], dtype=bool)
    everything = np.ones(8, dtype=bool)
    draws = (tuple(np.flatnonzero(choose_words(everything, word_starts, 5, key(index)))) for index in range(3_000))
    assert_alike(draws, 6)


@given(both=words_and_candidates, count=st.integers(0, 45), seed=seeds)
@FIXED
def test_spans_hide_just_the_budget(both: np.ndarray, count: int, seed: int) -> None:
    word_starts, candidates = both
    chosen = choose_spans(candidates, word_starts, count, key(seed))
    assert chosen.sum() == min(count, candidates.sum())
    assert not (chosen & ~candidates).any()


def test_a_span_begins_with_the_beginning_of_a_word_and_only_the_last_is_cut() -> None:
    word_starts = np.tile([True, False, False], 200)
    for index in range(20):
        chosen = choose_spans(np.ones(600, dtype=bool), word_starts, 60, key(index))
        starts, ends = runs(chosen)
        assert word_starts[starts].all()
        assert (ends % 3 != 0).sum() <= 1


def test_span_lengths_in_words_are_geometric_up_to_ten() -> None:
    """SpanBERT, 3.1: p = 0.2, cut off at 10, a mean of 3.80; so much text that spans hardly ever meet."""
    everything = np.ones(100_000, dtype=bool)
    starts, ends = runs(choose_spans(everything, everything, 4_000, key()))
    lengths = ends - starts
    assert abs(lengths.mean() - 3.80) < 4 * 2.7 / len(lengths) ** 0.5
    pmf = 0.2 * 0.8 ** np.arange(10)
    for length, share in enumerate(pmf / pmf.sum(), start=1):
        assert abs((lengths == length).mean() - share) < 4 * standard_error(share, len(lengths)) + 0.01


def test_a_span_begins_with_the_word_of_any_token_alike() -> None:
    """SpanBERT draws an anchor among the tokens, so a word of three pieces is three times as likely as one of one."""
    word_starts = np.array([1, 0, 0, 1], dtype=bool)
    everything = np.ones(4, dtype=bool)
    firsts = [int(choose_spans(everything, word_starts, 1, key(index)).argmax()) for index in range(2_000)]
    assert_distributed([firsts.count(0), firsts.count(3)], np.array([0.75, 0.25]))


def noised(length: int, *, mask_rate: float, random_rate: float) -> np.ndarray:
    """Tokens of one id, all chosen."""
    return mask_keep_or_randomise(
        np.full(length, 200),
        np.ones(length, dtype=bool),
        mask=MASK,
        pool=VOCABULARY.ordinary,
        mask_rate=mask_rate,
        random_rate=random_rate,
        rng=key(),
    )


def test_eight_tenths_are_masked_one_is_kept_and_one_is_random() -> None:
    """C22: a random token is the original one with probability 1 / V of the pool."""
    drawn = noised(100_000, mask_rate=0.8, random_rate=0.1)
    chance = 0.1 / len(VOCABULARY.ordinary)
    counts = [(drawn == MASK).sum(), (drawn == 200).sum(), ((drawn != MASK) & (drawn != 200)).sum()]
    assert_distributed(counts, np.array([0.8, 0.1 + chance, 0.1 - chance]))


def test_random_tokens_are_never_special_and_all_others_alike() -> None:
    drawn = noised(40_000, mask_rate=0.0, random_rate=1.0)
    assert not VOCABULARY.is_special[drawn].any()
    assert_alike(drawn.tolist(), len(VOCABULARY.ordinary))


@pytest.mark.parametrize(("mask_rate", "random_rate", "expected"), [(1.0, 0.0, MASK), (0.0, 0.0, 200)])
def test_rates_of_one_and_zero_leave_nothing_to_chance(mask_rate: float, random_rate: float, expected: int) -> None:
    assert (noised(1_000, mask_rate=mask_rate, random_rate=random_rate) == expected).all()


def test_what_was_not_chosen_stays_as_it_is() -> None:
    tokens = VOCABULARY.ordinary.astype(np.uint16)
    chosen = np.arange(len(tokens)) % 3 == 0
    pool = VOCABULARY.ordinary[:5]
    drawn = mask_keep_or_randomise(
        tokens, chosen, mask=MASK, pool=pool, mask_rate=0.5, random_rate=0.5, rng=key()
    )  # fmt: skip
    assert (drawn[~chosen] == tokens[~chosen]).all()
    assert set(drawn[chosen].tolist()) <= {MASK, *pool.tolist()}
    assert drawn.dtype == np.int64
    assert not np.shares_memory(drawn, tokens)


def test_a_group_shares_its_fate_but_not_its_random_tokens() -> None:
    groups = np.repeat(np.arange(2_000), 3)
    drawn = mask_keep_or_randomise(
        np.full(6_000, 200),
        np.ones(6_000, dtype=bool),
        mask=MASK,
        pool=VOCABULARY.ordinary[VOCABULARY.ordinary != 200],
        mask_rate=0.4,
        random_rate=0.3,
        rng=key(),
        as_one=groups,
    ).reshape(-1, 3)
    fates = np.where(drawn == MASK, 0, np.where(drawn == 200, 1, 2))
    assert (fates == fates[:, :1]).all()
    assert_distributed(np.bincount(fates[:, 0]), np.array([0.4, 0.3, 0.3]))
    randomised = drawn[fates[:, 0] == 2]
    assert (randomised[:, 0] != randomised[:, 1]).mean() > 0.9
