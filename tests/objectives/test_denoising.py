"""Denoising: every noise alone and all in their order, and that the text is said as it was."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.stream.batch import NOWHERE
from data.stream.windows import Windows
from objectives.core.noise.rewriting import NoisedTokens, permutation
from objectives.denoising import Denoising
from tests.objectives.texts import (
    BOS,
    EOS,
    FIXED,
    MASK,
    PAD,
    VOCABULARY,
    assert_alike,
    examples_of,
    key,
    made,
    numbered,
    of_documents,
    read_of,
    texts,
    window_of,
)

rates = st.sampled_from([0.0, 0.1, 0.5])
KNOBS = ("permute_rate", "infill_rate", "mean_span_length", "sampler", "mask_rate", "delete_rate", "rotate_rate")
objectives = st.builds(
    lambda **knobs: made(Denoising, **knobs),
    permute_rate=st.sampled_from([0.0, 0.5, 1.0]),
    infill_rate=st.sampled_from([0.0, 0.3, 0.9]),
    mean_span_length=st.sampled_from([0.5, 3.0]),
    sampler=st.sampled_from(["exact", "fairseq"]),
    mask_rate=rates,
    delete_rate=rates,
    rotate_rate=rates,
    random_rate=rates,
)
without_random_tokens = objectives.map(
    lambda objective: made(Denoising, **{name: getattr(objective, name) for name in KNOBS}, random_rate=0.0)
)


@given(windows=texts(), objective=objectives)
@FIXED
def test_the_window_is_the_target_as_it_was(windows: Windows, objective: Denoising) -> None:
    """C50: law 5, whatever the noises; the decoder reads `</s>` and what it has said."""
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.labels["token"].tolist() == [BOS, *window.tokens, EOS]
        assert example.decoder_ids is not None
        assert example.decoder_ids.tolist() == [EOS, BOS, *window.tokens]


@given(windows=texts(), objective=without_random_tokens)
@FIXED
def test_what_is_read_is_text_from_its_own_place_or_a_mask(windows: Windows, objective: Denoising) -> None:
    """C56, C57, law 4: no place is read twice, and nothing special but what the text itself holds."""
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        ids, origins = read_of(example)
        text = ids != MASK
        assert (origins[text] >= 0).all()
        assert ids[text].tolist() == window.tokens[origins[text]].tolist()
        placed = origins[origins != NOWHERE].tolist()
        assert len(set(placed)) == len(placed)
        assert PAD not in ids


@given(windows=texts(), objective=objectives)
@FIXED
def test_random_tokens_are_never_special(windows: Windows, objective: Denoising) -> None:
    for _, example in examples_of(objective.corruption(VOCABULARY), windows):
        ids, _ = read_of(example)
        assert set(ids[VOCABULARY.is_special[ids]].tolist()) <= {MASK, EOS}


@given(windows=texts(), infill_rate=st.sampled_from([0.0, 0.3, 0.7]), sampler=st.sampled_from(["exact", "fairseq"]))
@FIXED
def test_without_permutation_what_is_left_keeps_its_order(windows: Windows, infill_rate: float, sampler: str) -> None:
    """C57."""
    objective = made(Denoising, permute_rate=0.0, infill_rate=infill_rate, sampler=sampler, delete_rate=0.2)
    for _, example in examples_of(objective.corruption(VOCABULARY), windows):
        _, origins = read_of(example)
        assert (np.diff(origins[origins != NOWHERE]) > 0).all()


@given(windows=texts())
@FIXED
def test_without_noise_the_window_is_read_as_it_is(windows: Windows) -> None:
    """C58: and the extent is reached."""
    objective = made(Denoising, permute_rate=0.0, infill_rate=0.0)
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        assert example.encoder_ids.tolist() == example.labels["token"].tolist()
        assert objective.max_lengths(len(window)) == (len(window) + 2,) * 3


@given(windows=texts(), objective=objectives)
@FIXED
def test_no_example_is_longer_than_its_max_lengths(windows: Windows, objective: Denoising) -> None:
    """Insertions too fit into what the spans made free."""
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        assert example.decoder_ids is not None
        max_lengths = objective.max_lengths(len(window))
        assert len(example.encoder_ids) <= max_lengths.encoder
        assert len(example.decoder_ids) == len(example.labels["token"]) == max_lengths.decoder == max_lengths.targets


@given(windows=texts())
@FIXED
def test_sentences_stay_whole_and_within_their_document(windows: Windows) -> None:
    """C54: an EOS keeps its place, and so do documents."""
    for window in (windows[index] for index in range(len(windows))):
        places = permutation(window, 1.0, EOS, key(window.index))
        assert sorted(places.tolist()) == list(range(len(window)))
        assert (window.documents()[places] == window.documents()).all()
        is_eos = window.tokens == EOS
        assert (places[is_eos] == np.flatnonzero(is_eos)).all()
        starts = {0, *window.sentence_starts.tolist(), *(np.flatnonzero(is_eos) + 1).tolist()}
        for one, other in pairwise(places.tolist()):
            assert other == one + 1 or other in starts or window.tokens[other] == EOS


def test_the_worked_example_of_bart() -> None:
    """W4: sentences in the order 3, 1, 2; then `b .` is hidden, and a span of length 0 put before `d`."""
    a, b, stop, c, d, e, f = numbered(7).tolist()
    body = [a, b, stop, c, d, stop, e, f]
    window = window_of(body, sentence_starts=(0, 3, 6))
    draws = [permutation(window, 1.0, EOS, key(index)) for index in range(3_000)]
    assert_alike(map(tuple, draws), 6)
    source = NoisedTokens(window.tokens)
    source.take(next(places for places in draws if places.tolist() == [6, 7, 0, 1, 2, 3, 4, 5]))
    assert source.tokens.tolist() == [e, f, a, b, stop, c, d, stop]
    source.infill(np.array([3]), np.array([5]), MASK)
    source.insert(np.array([5]), MASK)
    assert source.tokens.tolist() == [e, f, a, MASK, c, MASK, d, stop]
    assert source.origins.tolist() == [6, 7, 0, 1, 3, NOWHERE, 4, 5]
    ((_, example),) = examples_of(
        made(Denoising).corruption(VOCABULARY), of_documents([[body[:3], body[3:6], body[6:]]], length=8)
    )
    assert example.labels["token"].tolist() == [BOS, *body, EOS]
    assert example.decoder_ids is not None
    assert example.decoder_ids.tolist() == [EOS, BOS, *body]


def test_permutation_comes_before_hiding() -> None:
    """C56: a span may hide the end of one sentence and the beginning of one from elsewhere."""
    window = window_of(numbered(30).tolist(), sentence_starts=tuple(range(0, 30, 3)))
    objective = made(Denoising, permute_rate=1.0, infill_rate=0.3, mean_span_length=6.0)
    crossing = 0
    for index in range(30):
        source = objective.noised(window, key(index), VOCABULARY)
        shown = set(source.origins[source.tokens != MASK].tolist())
        spans = np.split(source.order, np.flatnonzero([place in shown for place in source.order.tolist()]))
        crossing += any((np.diff(span[1:]) != 1).any() for span in spans)
    assert crossing > 10


def test_the_order_of_the_sentences_goes_with_the_example() -> None:
    window = window_of(numbered(30).tolist(), sentence_starts=(0, 10, 20))
    windows = of_documents([[numbered(10).tolist()] * 3], length=30)
    for index in range(10):
        example = made(Denoising).corruption(VOCABULARY)(window, key(index), windows)
        assert example.order is not None
        assert sorted(example.order.tolist()) == list(range(30))
        _, origins = read_of(example)
        seats = np.argsort(example.order)[origins[origins != NOWHERE]]
        assert (np.diff(seats) > 0).all()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"permute_rate": 1.5}, r"model\.init_args\.permute_rate = 1\.5 must lie in \[0, 1\]"),
        ({"rotate_rate": -0.5}, r"model\.init_args\.rotate_rate = -0\.5 must lie in \[0, 1\]"),
        ({"random_rate": 2.0}, r"model\.init_args\.random_rate = 2\.0 must lie in \[0, 1\]"),
        ({"infill_rate": 1.0}, r"model\.init_args\.infill_rate = 1\.0 must lie between 0 and 1"),
        ({"mask_rate": -0.1}, r"model\.init_args\.mask_rate = -0\.1 must lie between 0 and 1"),
        ({"delete_rate": 1.0}, r"model\.init_args\.delete_rate = 1\.0 must lie between 0 and 1"),
        ({"mean_span_length": 0.0}, r"model\.init_args\.mean_span_length = 0\.0 must be above 0"),
        ({"mean_span_length": math.nan}, r"model\.init_args\.mean_span_length = nan must be above 0"),
        ({"mean_span_length": math.inf}, r"model\.init_args\.mean_span_length = inf must be above 0"),
    ],
)
def test_impossible_settings_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(Denoising, **knobs)
