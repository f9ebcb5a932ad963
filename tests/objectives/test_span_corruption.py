"""Span corruption: T5's own examples, lengths and sentinels, and the way back to the window."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.stream.batch import IGNORE, NOWHERE, Example
from data.stream.windows import Windows
from objectives.core.noise.masking import runs
from objectives.core.noise.spans import inputs_and_targets
from objectives.span_corruption import SpanCorruption
from tests.objectives.texts import (
    EOS,
    FIRST,
    FIXED,
    PAD,
    SENTINELS,
    VOCABULARY,
    assert_distributed,
    batch_of,
    examples_of,
    hidden_places,
    key,
    made,
    numbered,
    of_documents,
    texts,
    window_of,
)

objectives = st.builds(
    lambda density, mean, roll, apart: made(
        SpanCorruption,
        keep_documents_apart=apart,
        noise_density=density,
        mean_span_length=mean,
        roll=roll,
    ),
    st.sampled_from([0.05, 0.15, 0.5, 0.95]),
    st.sampled_from([1.0, 3.0, 10.0]),
    st.booleans(),
    st.booleans(),
)


def rewritten(tokens: list[Any], mask: list[int]) -> tuple[list[int], list[int]]:
    """Inputs and targets of a mask, with sentinels that fall from 99 (V = 100)."""
    starts, ends = runs(np.array(mask, dtype=bool))
    source, target = inputs_and_targets(np.array(tokens), starts, ends, np.arange(99, 0, -1))
    return source[0].tolist(), target[0].tolist()


def as_ids(text: str) -> list[int]:
    """Words of the paper's example as ids from 10 on, sentinels from 99 down."""
    names = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    return [99 - int(word[1:-1]) if word.startswith("<") else 10 + names.index(word) for word in text.split()]


def test_the_worked_example_of_t5() -> None:
    """W1, but for EOS, which `corrupt` puts behind each."""
    source, target = rewritten([*range(10, 22)], [0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1, 1])
    assert source == [10, 11, 99, 14, 15, 16, 98, 18, 19, 97]
    assert target == [99, 12, 13, 98, 17, 97, 20, 21]


def test_sentinels_fit_where_noise_comes_first_and_text_last() -> None:
    """W2, W3: T5's own numbers differ on the two sides where noise comes first; here they are those of the paper."""
    assert rewritten([1, 2, 3, 4], [1, 0, 0, 1]) == ([99, 2, 3, 98], [99, 1, 98, 4])
    source, target = rewritten(
        as_ids("Thank you for inviting me to your party last week ."), [0, 0, 1, 1] + [0] * 4 + [1, 0, 0]
    )
    assert source == as_ids("Thank you <0> me to your party <1> week .")
    assert target == as_ids("<0> for inviting <1> last <2>")


@pytest.mark.parametrize(
    ("mask", "source", "target"),
    [([0, 0, 0], [10, 11, 12], []), ([1, 1, 1], [99], [99, 10, 11, 12])],
)
def test_nothing_and_everything_can_be_hidden(mask: list[int], source: list[int], target: list[int]) -> None:
    assert rewritten([10, 11, 12], mask) == (source, target)


def restored(example: Example) -> list[int]:
    """C61: what is read, with each sentinel replaced by what is said behind it."""
    assert example.encoder_ids is not None
    spans: dict[int, list[int]] = {}
    last = -1
    for token in example.labels["span"][:-1].tolist():
        if token in SENTINELS:
            assert token not in spans
            spans[last := token] = []
        else:
            spans[last].append(token)
    text = [spans.pop(token) if token in SENTINELS else [token] for token in example.encoder_ids[:-1].tolist()]
    assert list(spans.values()) in ([], [[]]), "what is said and not read is the closing sentinel alone"
    return [token for run in text for token in run]


@given(windows=texts(), objective=objectives)
@FIXED
def test_the_spans_put_back_in_their_places_are_the_window(windows: Windows, objective: SpanCorruption) -> None:
    """C61: law 5, at every density, with EOS in the text, rotated or not."""
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert restored(example) == window.tokens.tolist()


@given(windows=texts(), objective=objectives)
@FIXED
def test_origins_lead_back_to_the_window_too(windows: Windows, objective: SpanCorruption) -> None:
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        assert example.encoder_origins is not None
        assert example.decoder_origins is not None
        found = np.full(len(window), IGNORE)
        for ids, origins in (
            (example.encoder_ids, example.encoder_origins),
            (example.labels["span"], example.decoder_origins),
        ):
            text = ~np.isin(ids, SENTINELS) & (origins != NOWHERE)
            found[origins[text]] = ids[text]
        assert found.tolist() == window.tokens.tolist()


@given(windows=texts(), objective=objectives)
@FIXED
def test_what_is_predicted_is_not_read(windows: Windows, objective: SpanCorruption) -> None:
    """Law 4: each place is either text of the encoder or said, never both."""
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.decoder_origins is not None
        text = ~np.isin(example.labels["span"], SENTINELS) & (example.decoder_origins != NOWHERE)
        predicted = example.decoder_origins[text]
        assert sorted(predicted.tolist()) == np.flatnonzero(hidden_places(example, len(window))).tolist()


@given(windows=texts(), objective=objectives)
@FIXED
def test_sentinels_fall_by_one_each_once_on_both_sides(windows: Windows, objective: SpanCorruption) -> None:
    """C62."""
    for _, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        read = [token for token in example.encoder_ids.tolist() if token in SENTINELS]
        predicted = [token for token in example.labels["span"].tolist() if token in SENTINELS]
        assert read == SENTINELS[: len(read)].tolist()
        assert predicted == SENTINELS[: len(predicted)].tolist()
        assert len(predicted) - len(read) in (0, 1)


@given(windows=texts())
@FIXED
def test_the_reference_begins_with_text_and_ends_with_noise_and_eos(windows: Windows) -> None:
    """C63, C65: no final sentinel; the decoder reads pad and what it has said."""
    for window, example in examples_of(made(SpanCorruption).corruption(VOCABULARY), windows):
        labels = example.labels["span"]
        assert example.encoder_ids is not None
        assert example.decoder_ids is not None
        assert example.encoder_ids[-1] == labels[-1] == EOS
        assert example.decoder_ids.tolist() == [PAD, *labels[:-1]]
        assert example.encoder_ids[0] == window.tokens[0]
        if len(window) > 1:
            assert labels[0] == SENTINELS[0]
            assert labels[-2] == window.tokens[-1]
        else:  # C66: one token hides nothing
            assert labels.tolist() == [EOS]
            assert example.encoder_ids.tolist() == [*window.tokens, EOS]


def test_eos_has_a_label_and_padding_none() -> None:
    """C65."""
    windows = of_documents([[numbered(50).tolist()]], length=32)
    batch = batch_of(made(SpanCorruption), windows)
    assert batch.decoder_ids_BT is not None
    width, lengths = batch.decoder_ids_BT.shape[1], []
    for row in range(2):
        inside = batch.labels["span"].positions_N // width == row
        assert (batch.labels["span"].positions_N[inside] % width).tolist() == list(range(int(inside.sum())))
        assert int(batch.labels["span"].ids_N[inside][-1]) == EOS
        lengths.append(int(inside.sum()))
    assert len(set(lengths)) == 2
    assert (batch.decoder_ids_BT[1, lengths[1] :] == PAD).all()


@given(windows=texts(), objective=objectives)
@FIXED
def test_no_example_is_longer_than_its_max_lengths(windows: Windows, objective: SpanCorruption) -> None:
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        assert example.decoder_ids is not None
        encoder, decoder, targets = objective.max_lengths(len(window))
        assert len(example.encoder_ids) <= encoder
        assert len(example.decoder_ids) <= decoder
        assert len(example.labels["span"]) <= targets


def test_a_rotated_mask_hides_every_place_alike() -> None:
    """C64: of 20 tokens 3, in one span, so that each is hidden with probability 3/20."""
    windows = of_documents([[numbered(20).tolist()]], length=20)
    corrupt = made(SpanCorruption, roll=True).corruption(VOCABULARY)
    firsts = np.zeros(20, dtype=int)
    for epoch in range(3_000):
        ((_, example),) = examples_of(corrupt, windows, epoch=epoch)
        hidden = hidden_places(example, 20)
        firsts[np.flatnonzero(hidden & ~np.roll(hidden, 1))[0]] += 1  # one span: where it begins says all
    assert_distributed(firsts, np.full(20, 0.05))


def test_a_span_never_crosses_documents_that_are_kept_apart() -> None:
    objective = made(SpanCorruption, keep_documents_apart=True, noise_density=0.6, mean_span_length=8.0)
    windows = of_documents([[numbered(length).tolist()] for length in (5, 3, 7, 1, 4)] * 6, length=30)
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.decoder_origins is not None
        documents = window.documents()
        inside = example.decoder_origins[:-1]
        spans = np.cumsum(np.isin(example.labels["span"][:-1], SENTINELS))
        for span in np.unique(spans):
            assert len(set(documents[np.minimum(inside[spans == span], len(window) - 1)])) == 1


@pytest.mark.parametrize("roll", [False, True])
@pytest.mark.parametrize("length", [252, 253, 254, 255, 256, 257, 258, 300, 500])
def test_where_documents_part_more_spans_than_there_are_sentinels_the_rest_stays_text(length: int, roll: bool) -> None:
    """C62: at any number of spans about the 128 sentinels there are."""
    knobs = {"noise_density": 0.5, "mean_span_length": 2.0, "roll": roll}
    objective = made(SpanCorruption, keep_documents_apart=True, **knobs)
    starts = range(0, length, 2)
    window = window_of(numbered(length).tolist(), sentence_starts=starts, document_starts=starts)
    windows = of_documents([[[FIRST]]], length=1)
    for index in range(20):
        example = objective.corruption(VOCABULARY)(window, key(index), windows)
        assert restored(example) == window.tokens.tolist()
        assert example.encoder_ids is not None
        assert len(example.encoder_ids) <= objective.max_lengths(length).encoder


def test_the_closing_sentinel_is_counted_too() -> None:
    """C62: 127 spans, of which a document parts one, and text behind the last: 129 sentinels were needed."""
    knobs = {"noise_density": 0.5, "mean_span_length": 2.0, "roll": True}
    objective = made(SpanCorruption, keep_documents_apart=True, **knobs)
    window = window_of(numbered(508).tolist(), sentence_starts=(0, 254), document_starts=(0, 254))
    for index in range(60):
        example = objective.corruption(VOCABULARY)(window, key(index), of_documents([[[FIRST]]], length=1))
        assert np.isin(example.labels["span"], SENTINELS).sum() in (127, 128)
        assert len(restored(example)) == 508


def test_as_many_spans_as_sentinels_are_taken_and_one_more_is_refused() -> None:
    """C62: UL2's (3, 0.5) at 512 needs just the 128 there are."""
    made(SpanCorruption, noise_density=0.5).check_window(768)
    made(SpanCorruption, noise_density=0.5, roll=True).check_window(760)
    message = r"data\.window = 774 .* makes 129 spans, .* has 128: raise model\.init_args\.mean_span_length, or lower"
    with pytest.raises(ValueError, match=message):
        made(SpanCorruption, noise_density=0.5).check_window(774)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"noise_density": 0.0}, r"model\.init_args\.noise_density = 0\.0 must lie between 0 and 1"),
        ({"noise_density": 1.0}, r"model\.init_args\.noise_density = 1\.0 must lie between 0 and 1"),
        ({"mean_span_length": 0.9}, r"model\.init_args\.mean_span_length = 0\.9 must be at least 1"),
        ({"mean_span_length": float("nan")}, r"model\.init_args\.mean_span_length = nan must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(SpanCorruption, **knobs)
