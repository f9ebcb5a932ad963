"""Masked language modelling: what is hidden, what is said, and that nothing is lost."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.stream.batch import IGNORE, Example
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from objectives.core.noise.masking import budget
from objectives.core.segments import FOLLOWS, RANDOM_SEGMENT, Segments, shortened, whole
from objectives.masked_lm import MaskedLM
from tests.objectives.texts import (
    CLS,
    EOS,
    FIRST,
    FIXED,
    MASK,
    PAD,
    SEP,
    VOCABULARY,
    assert_alike,
    assert_distributed,
    batch_of,
    examples_of,
    key,
    labelled,
    made,
    numbered,
    of_documents,
    texts,
    window_of,
)

UNITS = ("token", "word", "span")
unpaired = st.sampled_from([made(MaskedLM, next_sentence=False, unit=unit, noise_density=0.3) for unit in UNITS])
either = st.sampled_from(
    [made(MaskedLM, next_sentence=pairs, unit=unit, noise_density=0.3) for unit in UNITS for pairs in (False, True)]
)


def restored(example: Example) -> dict[int, int]:
    """The token at each place that the example stands for, from input and labels."""
    assert example.encoder_ids is not None
    assert example.encoder_origins is not None
    labels = example.labels["masked"]
    ids = np.where(labels == IGNORE, example.encoder_ids, labels)
    text = example.encoder_origins >= 0
    return dict(zip(example.encoder_origins[text].tolist(), ids[text].tolist(), strict=True))


@given(windows=texts(), objective=unpaired)
@FIXED
def test_input_and_labels_restore_the_window(windows: Windows, objective: MaskedLM) -> None:
    """C23: law 5, without segment pairs every token of every window."""
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert restored(example) == dict(enumerate(window.tokens.tolist()))


@given(windows=texts())
@FIXED
def test_with_pairs_all_is_restored_but_what_a_random_segment_replaces(windows: Windows) -> None:
    for window, example in examples_of(made(MaskedLM).corruption(VOCABULARY), windows):
        assert example.segments is not None
        found, length = restored(example), len(window)
        if example.labels["next_sentence"][0] == RANDOM_SEGMENT:
            length = int((example.segments == 0).sum()) - 2
        assert found == dict(enumerate(window.tokens[:length].tolist()))


@given(windows=texts(), objective=either)
@FIXED
def test_special_tokens_are_never_hidden_nor_drawn(windows: Windows, objective: MaskedLM) -> None:
    """C21: neither [CLS] and [SEP] nor an EOS of the text."""
    for _, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        assert not VOCABULARY.is_special[labelled(example, "masked")].any()
        read = example.encoder_ids[example.labels["masked"] != IGNORE]
        assert not VOCABULARY.is_special[read[read != MASK]].any()
        assert (example.encoder_ids == MASK).sum() == (read == MASK).sum()


@given(windows=texts(), objective=either)
@FIXED
def test_nothing_else_gives_away_what_is_hidden(windows: Windows, objective: MaskedLM) -> None:
    """Law 4: every place of the window stands at one position at most, and a mask is all that is read there."""
    for _, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.encoder_origins is not None
        origins = example.encoder_origins[example.encoder_origins >= 0]
        assert len(set(origins.tolist())) == len(origins)
        assert set(example.labels) <= {"masked", "next_sentence"}


@pytest.mark.parametrize(("length", "count"), [(128, 19), (256, 38), (512, 77), (10, 2), (30, 4), (3, 1)])
@pytest.mark.parametrize("unit", ["token", "span"])
def test_as_many_tokens_are_hidden_as_in_bert(length: int, count: int, unit: str) -> None:
    """C20: [CLS] and [SEP] are counted, halves go to the even number, the count follows from the length alone."""
    objective = made(MaskedLM, next_sentence=False, unit=unit)
    windows = of_documents([[numbered(length - 2).tolist()]], length=length - 2)
    for epoch in range(3):
        ((_, example),) = examples_of(objective.corruption(VOCABULARY), windows, epoch=epoch)
        assert len(labelled(example, "masked")) == count == budget(length, 0.15)


@given(windows=texts(), density=st.floats(0.05, 0.95))
@FIXED
def test_whole_words_are_hidden_or_none_of_their_pieces(windows: Windows, density: float) -> None:
    """C29: pieces at the beginning of a window, of B, or behind an EOS belong to no word before."""
    corrupt = made(MaskedLM, unit="word", noise_density=density).corruption(VOCABULARY)
    for _, example in examples_of(corrupt, windows):
        assert example.encoder_ids is not None
        labels = example.labels["masked"]
        ids = np.where(labels == IGNORE, example.encoder_ids, labels)
        words, chosen = np.cumsum(VOCABULARY.word_starts(ids)), labels != IGNORE
        for word in np.unique(words):
            assert len(set(chosen[words == word].tolist())) == 1
        assert chosen.sum() <= budget(len(ids), density)


def test_a_span_is_masked_kept_or_randomised_as_one() -> None:
    """SpanBERT: one draw for each span."""
    objective = made(MaskedLM, next_sentence=False, unit="span", mask_rate=0.5, random_rate=0.0)
    windows = of_documents([[numbered(200).tolist()]], length=200)
    for epoch in range(30):
        ((_, example),) = examples_of(objective.corruption(VOCABULARY), windows, epoch=epoch)
        assert example.encoder_ids is not None
        chosen, hidden = example.labels["masked"] != IGNORE, example.encoder_ids == MASK
        touching = chosen[1:] & chosen[:-1]
        assert (hidden[1:] == hidden[:-1])[touching].all()


def test_eight_tenths_of_the_hidden_are_masks_one_is_kept_and_one_random() -> None:
    """C22, of 105,000 hidden tokens."""
    objective = made(MaskedLM, next_sentence=False)
    windows = of_documents([[numbered(500).tolist()] * 1400], length=500)
    counts = np.zeros(3)
    for _, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        labels = example.labels["masked"]
        read, predicted = example.encoder_ids[labels != IGNORE], labels[labels != IGNORE]
        counts += [(read == MASK).sum(), (read == predicted).sum(), ((read != MASK) & (read != predicted)).sum()]
    chance = 0.1 / len(VOCABULARY.ordinary)
    assert counts.sum() == 1400 * 75
    assert_distributed(counts, np.array([0.8, 0.1 + chance, 0.1 - chance]))


def test_a_pair_looks_as_in_bert() -> None:
    """C26, W6: A = a1 a2 a3, B = b1 b2; one is hidden, since 8 · 0.15 is 1.2; padding is of segment 0."""
    a, b = numbered(5)[:3], numbered(5)[3:]
    segments = Segments(tokens=[a, b], origins=[np.arange(3), np.arange(3, 5)], label=FOLLOWS)
    example = made(MaskedLM, mask_rate=0.0, random_rate=0.0).masked(segments, key(), VOCABULARY)
    assert example.encoder_ids is not None
    assert example.segments is not None
    assert example.encoder_ids.tolist() == [CLS, *a, SEP, *b, SEP]
    assert example.segments.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert len(labelled(example, "masked")) == 1
    assert example.labels["next_sentence"].tolist() == [FOLLOWS] + [IGNORE] * 7
    long = made(MaskedLM).masked(whole(window_of(numbered(10).tolist())), key(), VOCABULARY)
    windows = of_documents([[numbered(10).tolist()]], length=10)
    batch = batch_of(made(MaskedLM), windows, [(windows[0], example), (windows[0], long)])
    assert batch.encoder_ids_BS is not None
    assert batch.segments_BS is not None
    assert batch.encoder_lengths_B is not None
    assert batch.encoder_lengths_B.tolist() == [8, 12]
    assert batch.encoder_ids_BS[0].tolist() == [CLS, *a, SEP, *b, SEP] + [PAD] * 5
    assert batch.segments_BS[0].tolist() == [0] * 5 + [1] * 3 + [0] * 5


def test_masks_are_drawn_anew_in_every_epoch_and_the_same_in_the_same() -> None:
    """C30: law 1."""
    windows = of_documents([[numbered(100).tolist()]], length=100)
    corrupt = made(MaskedLM, next_sentence=False).corruption(VOCABULARY)
    first, again, other = (examples_of(corrupt, windows, epoch=epoch)[0][1].labels["masked"] for epoch in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_a_short_window_is_a_beginning_of_every_length_alike() -> None:
    window = window_of(numbered(7).tolist(), sentence_starts=(0, 3, 5), document_starts=(0, 5))
    draws = [shortened(window, key(index)) for index in range(2_000)]
    assert_alike(map(len, draws), 6)
    for short in draws:
        assert short.tokens.tolist() == window.tokens[: len(short)].tolist()
        assert short.sentence_starts.tolist() == [start for start in (0, 3, 5) if start < len(short)]
        assert short.document_starts.tolist() == [start for start in (0, 5) if start < len(short)]


@pytest.mark.parametrize("length", [1, 2])
def test_a_window_of_one_or_two_tokens_cannot_be_shortened(length: int) -> None:
    assert len(shortened(window_of(numbered(length).tolist()), key())) == length


def test_as_many_windows_are_short_as_the_rate_says() -> None:
    """C28: windows here, where BERT's are documents."""
    windows = of_documents([[numbered(50).tolist()] * 2_000], length=50)
    corrupt = made(MaskedLM, next_sentence=False, short_rate=0.1).corruption(VOCABULARY)
    pairs = examples_of(corrupt, windows)
    short = sum(len(example.encoder_ids) < 52 for _, example in pairs if example.encoder_ids is not None)
    assert_distributed([short, 2_000 - short], np.array([0.1 * 48 / 49, 1 - 0.1 * 48 / 49]))


@given(windows=texts(), density=st.floats(0.01, 0.99), pairs=st.booleans(), short=st.booleans())
@FIXED
def test_no_example_is_longer_than_its_max_lengths(windows: Windows, density: float, pairs: bool, short: bool) -> None:
    """C28."""
    objective = made(MaskedLM, noise_density=density, next_sentence=pairs, short_rate=float(short))
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        max_lengths = objective.max_lengths(len(window))
        assert example.encoder_ids is not None
        assert len(example.encoder_ids) <= max_lengths.encoder <= objective.max_lengths(windows.length).encoder
        assert len(labelled(example, "masked")) <= max_lengths.targets <= objective.max_lengths(windows.length).targets


@pytest.mark.parametrize("pairs", [False, True])
def test_max_lengths_are_reached(pairs: bool) -> None:
    objective = made(MaskedLM, next_sentence=pairs)
    windows = of_documents([[numbered(5).tolist()] * 8] * 2, length=40)
    seen = [example for _, example in examples_of(objective.corruption(VOCABULARY), windows)]
    lengths = [len(example.encoder_ids) for example in seen if example.encoder_ids is not None]
    counts = [len(labelled(example, "masked")) for example in seen]
    assert (max(lengths), 0, max(counts)) == tuple(objective.max_lengths(40))


@pytest.mark.parametrize("unit", UNITS)
def test_a_window_of_nothing_but_eos_has_nothing_to_hide(unit: str) -> None:
    example = made(MaskedLM, unit=unit).corruption(VOCABULARY)(window_of([EOS, EOS]), key(), _no_windows())
    assert (example.labels["masked"] == IGNORE).all()
    assert example.encoder_ids is not None
    assert example.encoder_ids.tolist() == [CLS, EOS, EOS, SEP]


def _no_windows() -> Windows:
    return of_documents([[[FIRST]]], length=1)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"noise_density": 0.0}, r"model\.init_args\.noise_density = 0\.0 must lie between 0 and 1"),
        ({"noise_density": 1.0}, r"model\.init_args\.noise_density = 1\.0 must lie between 0 and 1"),
        ({"mask_rate": 1.1}, r"model\.init_args\.mask_rate = 1\.1 must lie in \[0, 1\]"),
        ({"mask_rate": 0.8, "random_rate": 0.3}, r"mask_rate \+ random_rate = 1\.1 must lie in \[0, 1\]"),
        ({"short_rate": -0.1}, r"model\.init_args\.short_rate = -0\.1 must lie in \[0, 1\]"),
    ],
)
def test_impossible_rates_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(MaskedLM, **knobs)


def test_rates_that_sum_to_one_but_for_rounding_are_taken() -> None:
    assert made(MaskedLM, mask_rate=0.7, random_rate=0.3).mask_rate == 0.7  # 0.1 + 0.2 and the like exceed by 1e-17
    assert made(MaskedLM, mask_rate=0.1 + 0.2, random_rate=0.7).random_rate == 0.7


def test_pairs_cannot_be_classified_where_documents_are_kept_apart() -> None:
    with pytest.raises(ValueError, match=r"document_masking .*next_sentence to false"):
        made(MaskedLM, keep_documents_apart=True)
    assert made(MaskedLM, keep_documents_apart=True, next_sentence=False).keep_documents_apart


def test_the_vocabulary_by_hand_is_one(vocabulary: Vocabulary) -> None:
    """The tests of this folder lean on it: ids that go on with a word, and special ones that stand alone."""
    assert not vocabulary.begins_word[: len(vocabulary.sentinels)].any()
    assert 0.6 < vocabulary.begins_word[vocabulary.ordinary].mean() < 0.7


def test_a_window_is_whole_where_it_is_one_segment() -> None:
    window: Window = window_of([FIRST, EOS])
    segments = whole(window)
    assert [run.tolist() for run in segments.tokens] == [[FIRST, EOS]]
    assert segments.label == IGNORE
