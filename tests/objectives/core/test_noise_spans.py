"""The alphabet of noise, second half: spans and order, every promised uniformity by counting."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.core.noise.masking import runs
from objectives.core.noise.rewriting import (
    insertion_places,
    overlapping_spans,
    permute_sentences,
    poisson_lengths,
    rotate,
    separate_spans,
)
from objectives.core.noise.spans import composition, cut_runs, random_spans, replace_spans, span_counts
from tests.objectives.texts import FIXED, assert_alike, assert_distributed, key

seeds = st.integers(0, 10_000)
lengths_of_spans = st.lists(st.integers(1, 8), max_size=12).map(lambda values: np.array(values, dtype=np.int64))


# --- T5 ---


def test_every_composition_is_equally_likely() -> None:
    draws = [tuple(composition(7, 3, key(index))) for index in range(4_000)]
    assert all(sum(parts) == 7 and min(parts) >= 1 for parts in draws)
    assert_alike(draws, math.comb(6, 2))


@pytest.mark.parametrize(("total", "parts", "expected"), [(1, 1, (1,)), (5, 1, (5,)), (4, 4, (1, 1, 1, 1))])
def test_a_composition_without_a_choice_is_what_it_must_be(total: int, parts: int, expected: tuple[int, ...]) -> None:
    assert tuple(composition(total, parts, key())) == expected


@given(length=st.integers(1, 80), density=st.floats(0.01, 0.99), mean=st.floats(1, 20), seed=seeds)
@FIXED
def test_a_mask_begins_with_text_ends_with_noise_and_has_the_counts(
    length: int, density: float, mean: float, seed: int
) -> None:
    """C63, C66: down to one token, at any density."""
    num_noise, num_spans = span_counts(length, density, mean)
    mask = random_spans(length, noise_density=density, mean_span_length=mean, rng=key(seed))
    starts, _ = runs(mask)
    assert (len(mask), mask.sum(), len(starts)) == (length, num_noise, num_spans)
    if length > 1:
        assert not mask[0]
        assert mask[-1]
        assert 1 <= num_noise < length


def test_every_mask_of_this_form_is_equally_likely() -> None:
    draws = (
        tuple(random_spans(9, noise_density=0.5, mean_span_length=2.0, rng=key(index)).tolist())
        for index in range(4_000)
    )
    assert_alike(draws, math.comb(3, 1) * math.comb(4, 1))  # 4 of 9 are noise, in 2 spans


def test_two_tokens_give_text_and_noise_and_one_gives_nothing() -> None:
    """C66."""
    assert random_spans(2, noise_density=0.15, mean_span_length=3.0, rng=key()).tolist() == [False, True]
    assert random_spans(1, noise_density=0.15, mean_span_length=3.0, rng=key()).tolist() == [False]


@pytest.fixture(scope="module")
def masks_of_t5() -> np.ndarray:
    """bool[draws, 568], masks of T5's own settings: 85 noise tokens in 28 spans."""
    return np.stack(
        [random_spans(568, noise_density=0.15, mean_span_length=3.0, rng=key(index)) for index in range(4_000)]
    )


def test_the_marginals_of_t5s_masks_are_those_of_the_reference(masks_of_t5: np.ndarray) -> None:
    """C64."""
    marginals, tolerance = masks_of_t5.mean(axis=0), 4 * 0.5 / len(masks_of_t5) ** 0.5
    assert marginals[[0, -1]].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(marginals[1:5], [0.054, 0.085, 0.110, 0.126], atol=tolerance)
    np.testing.assert_allclose(marginals[-5:-1], [0.272, 0.350, 0.480, 0.678], atol=tolerance)
    assert abs(marginals[200:368].mean() - 0.146) < 0.004


def test_span_lengths_of_t5_have_the_closed_form(masks_of_t5: np.ndarray) -> None:
    """C64: P(k) = C(N - k - 1, S - 2) / C(N - 1, S - 1); one span of each mask, so that draws are independent."""
    lengths = []
    for index, mask in enumerate(masks_of_t5):
        starts, ends = runs(mask)
        lengths.append(int((ends - starts)[index % 28]))
    pmf = np.array([math.comb(85 - k - 1, 26) / math.comb(84, 27) for k in range(1, 59)])
    np.testing.assert_allclose(pmf[:6], [0.3214, 0.2207, 0.1507, 0.1024, 0.0691, 0.0464], atol=5e-5)
    counts = np.bincount(lengths, minlength=59)[1:]
    assert_distributed([*counts[:10], counts[10:].sum()], np.array([*pmf[:10], pmf[10:].sum()]))


def test_a_mask_is_cut_where_documents_part_noise_and_nowhere_else() -> None:
    mask = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1], dtype=bool)
    starts, ends = cut_runs(mask, np.array([0, 2, 3, 4, 5, 7, 8]))
    assert (starts.tolist(), ends.tolist()) == ([0, 2, 4, 5, 8], [2, 3, 5, 6, 9])


@given(mask=st.lists(st.booleans(), min_size=1, max_size=40), seed=seeds)
@FIXED
def test_replacing_spans_keeps_all_that_is_not_in_one(mask: list[bool], seed: int) -> None:
    tokens = key(seed).integers(0, 50, size=len(mask))
    starts, ends = runs(np.array(mask))
    noised, origins = replace_spans(tokens, starts, ends, 100 + np.arange(len(starts)))
    expected = [(100 + starts.tolist().index(place), place) for place in starts.tolist()]
    expected += [(int(token), place) for place, token in enumerate(tokens) if not mask[place]]
    assert list(zip(noised.tolist(), origins.tolist(), strict=True)) == sorted(expected, key=lambda pair: pair[1])


# --- BART ---


@given(total=st.integers(0, 200), mean=st.floats(0.05, 20), seed=seeds)
@FIXED
def test_span_lengths_sum_to_the_total(total: int, mean: float, seed: int) -> None:
    lengths, zeros = poisson_lengths(total, mean, key(seed))
    assert lengths.sum() == total
    assert (lengths > 0).all()
    assert zeros >= 0


@pytest.mark.parametrize("mean", [3.0, 3.5])
def test_span_lengths_are_poisson_zeros_included(mean: float) -> None:
    """C53: about 5 % of the spans at a mean of 3 are of length 0."""
    lengths, zeros = poisson_lengths(60_000, mean, key())
    counts = np.bincount(lengths, minlength=12)
    counts[0] = zeros
    pmf = np.array([math.exp(-mean) * mean**k / math.factorial(k) for k in range(10)])
    assert_distributed([*counts[:10], counts[10:].sum()], np.array([*pmf, 1 - pmf.sum()]))


@given(lengths=lengths_of_spans, text=st.integers(0, 60), seed=seeds)
@FIXED
def test_parted_spans_never_touch(lengths: np.ndarray, text: int, seed: int) -> None:
    total = int(lengths.sum()) + text
    starts, ends = separate_spans(total, lengths, key(seed))
    assert (starts[1:] > ends[:-1]).all()
    assert ((starts >= 0) & (ends <= total)).all()
    placed = np.sort(ends - starts).tolist()
    if len(lengths) <= text + 1:  # there is a token to part each from the next
        assert placed == np.sort(lengths).tolist()
    else:
        assert 1 <= len(placed) <= text + sum(lengths) - sum(placed) + 1
        assert Counter(placed) < Counter(lengths.tolist())


def test_every_way_to_part_spans_is_equally_likely() -> None:
    draws = (
        tuple(np.concatenate(separate_spans(7, np.array([2, 1]), key(index))).tolist()) for index in range(4_000)
    )  # fmt: skip
    assert_alike(draws, 2 * math.comb(5, 2))  # two orders, and two of the five gaps that 4 tokens of text leave


def fairseq_source(length: int, starts: np.ndarray, lengths: np.ndarray) -> list[int]:
    """`DenoisingDataset.add_whole_word_mask` with replace_length 1: places that are left, masks as -1.

    All starts become masks first; then spans grow by a token at a time, and what they reach is deleted.
    """
    source, kept = list(range(length)), [True] * length
    for start in starts:
        source[start] = -1
    left = [[int(start), int(size)] for start, size in zip(starts, lengths, strict=True)]
    while left:
        left = [[place + 1, size - 1] for place, size in left if size - 1 > 0 and place + 1 < length]
        for place, _ in left:
            kept[place] = False
    return [token for token, keep in zip(source, kept, strict=True) if keep]


@given(lengths=lengths_of_spans, length=st.integers(1, 40), seed=seeds)
@FIXED
def test_overlapping_spans_hide_what_fairseqs_do(lengths: np.ndarray, length: int, seed: int) -> None:
    starts, ends = overlapping_spans(length, lengths, key(seed))
    noised, origins = replace_spans(np.arange(length), starts, ends, np.full(len(starts), -1))
    drawn = key(seed).permutation(length)[: len(lengths)]
    assert noised.tolist() == fairseq_source(length, drawn, lengths[: len(drawn)])
    assert (np.diff(origins) > 0).all()


@pytest.mark.parametrize(("mean", "share", "masks"), [(3.0, 0.268, 42.8), (3.5, 0.266, 35.7)])
def test_overlapping_spans_hide_the_share_that_fairseqs_hide(mean: float, share: float, masks: float) -> None:
    """C51: 510 tokens, 30 % asked for; the masks of spans of length 0 are counted with the rest."""
    hidden, counts = [], []
    for index in range(2_000):
        rng = key(index)
        lengths, zeros = poisson_lengths(153, mean, rng)
        starts, ends = overlapping_spans(510, lengths, rng)
        hidden.append((ends - starts).sum() / 510)
        counts.append(len(starts) + zeros)
    assert abs(np.mean(hidden) - share) < 0.002
    assert abs(np.mean(counts) - masks) < 0.5


def test_insertions_go_anywhere_alike() -> None:
    assert_alike(insertion_places(5, 3_000, key()).tolist(), 6)
    assert insertion_places(5, 0, key()).tolist() == []


@given(bounds=st.lists(st.integers(1, 6), min_size=1, max_size=8), rate=st.floats(0, 1), seed=seeds)
@FIXED
def test_as_many_sentences_change_places_as_the_rate_says(bounds: list[int], rate: float, seed: int) -> None:
    """C54: each sentence stays whole, and at most ceil(rate · n) leave their seats."""
    starts = np.cumsum([0, *bounds])
    places = permute_sentences(int(starts[-1]), starts[1:-1], rate, key(seed))
    sentences = [list(range(start, end)) for start, end in pairwise(starts.tolist())]
    first_to_sentence = {sentence[0]: sentence for sentence in sentences}
    order, rest = [], places.tolist()
    while rest:
        sentence = first_to_sentence[rest[0]]
        assert rest[: len(sentence)] == sentence
        order, rest = [*order, sentence], rest[len(sentence) :]
    assert sorted(order) == sentences
    moved = sum(one != other for one, other in zip(order, sentences, strict=True))
    assert moved <= math.ceil(rate * len(sentences))


def test_every_order_of_the_sentences_is_equally_likely() -> None:
    """C54: n! orders; at a rate of a half two of three sentences may change seats, which three pairs may."""
    starts = np.array([2, 3])
    whole = (tuple(permute_sentences(6, starts, 1.0, key(index))) for index in range(3_000))
    assert_alike(whole, 6)
    half = [tuple(permute_sentences(6, starts, 0.5, key(index)).tolist()) for index in range(3_000)]
    stayed = half.count((0, 1, 2, 3, 4, 5))
    assert_distributed([stayed, len(half) - stayed], np.array([0.5, 0.5]))
    assert_alike([order for order in half if order != (0, 1, 2, 3, 4, 5)], 3)


@pytest.mark.parametrize(("length", "starts"), [(5, [0]), (0, []), (1, [0])])
def test_one_sentence_stays_as_it_is(length: int, starts: list[int]) -> None:
    places = permute_sentences(length, np.array(starts, dtype=np.int64), 1.0, key())
    assert places.tolist() == list(range(length))


def test_every_rotation_is_equally_likely() -> None:
    """C55."""
    draws = [tuple(rotate(7, key(index)).tolist()) for index in range(3_000)]
    assert all(sorted(places) == list(range(7)) for places in draws)
    assert_alike(draws, 7)


def test_fairseqs_rotation_leaves_a_text_as_it_is_twice_as_often() -> None:
    """W5."""
    firsts = [int(rotate(7, key(index), like_fairseq=True)[0]) for index in range(4_000)]
    assert_distributed(np.bincount(firsts), np.array([2, 1, 1, 1, 1, 1, 1]) / 8)


def test_nothing_is_rotated_to_nothing() -> None:
    assert rotate(0, key()).tolist() == []
