"""Next-sentence prediction: where windows are cut, who is a stranger, and which texts cannot be used."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from data.stream.batch import IGNORE, NOWHERE
from data.stream.windows import TokensInMemory, Window, Windows
from objectives.core.segments import FOLLOWS, RANDOM_SEGMENT, Segments, pair
from objectives.masked_lm import MaskedLM
from tests.objectives.texts import (
    EOS,
    FIXED,
    VOCABULARY,
    assert_alike,
    assert_distributed,
    examples_of,
    key,
    made,
    numbered,
    of_documents,
    texts,
    window_of,
)


def pairs_of(windows: Windows, draws: int = 1) -> list[tuple[Window, Segments]]:
    """Every window as segments, so many times."""
    shown = [windows[index] for index in range(len(windows))]
    return [(window, pair(window, key(window.index, epoch=draw), windows)) for window in shown for draw in range(draws)]


def documents_by_their_ids(count: int, *, seed: int = 0) -> Windows:
    """Windows of 40 tokens over documents whose every token is the document's own id."""
    rng = np.random.default_rng(seed)
    return of_documents(
        [
            [
                [int(VOCABULARY.ordinary[number])] * int(length)
                for length in rng.integers(3, 9, size=rng.integers(3, 20))
            ]
            for number in range(count)
        ],
        length=40,
    )


def test_every_other_pair_has_a_random_segment() -> None:
    """C27: the marginal rate is a half too, since a window that makes no pair has no label; BERT's is 0.5 to 0.7."""
    labels = Counter(segments.label for _, segments in pairs_of(documents_by_their_ids(60), draws=40))
    assert labels[FOLLOWS] + labels[RANDOM_SEGMENT] > 2_000
    strangers = labels[RANDOM_SEGMENT] / (labels[FOLLOWS] + labels[RANDOM_SEGMENT])
    assert abs(strangers - 0.5) < 4 * 0.5 / (labels[FOLLOWS] + labels[RANDOM_SEGMENT]) ** 0.5 + 0.005


def test_a_random_segment_is_never_of_a_document_of_the_first_segment() -> None:
    """C27: told by the ids; of a few documents, so that chance would meet the same one often."""
    for _, segments in pairs_of(documents_by_their_ids(4), draws=100):
        if segments.label == RANDOM_SEGMENT:
            first, second = (set(tokens.tolist()) for tokens in segments.tokens)
            assert not first & second


@given(windows=texts())
@FIXED
def test_a_pair_is_the_window_cut_at_a_sentence_within_a_document(windows: Windows) -> None:
    """C27, C28: what follows is contiguous, and a stranger just as long as what it replaces."""
    for window, segments in pairs_of(windows, draws=3):
        assert sum(map(len, segments.tokens)) == len(window)
        assert segments.tokens[0].tolist() == window.tokens[: len(segments.tokens[0])].tolist()
        if len(segments.tokens) == 1:
            assert segments.label == IGNORE
            continue
        cut = len(segments.tokens[0])
        assert cut in window.sentence_starts
        assert cut not in window.document_starts
        if segments.label == FOLLOWS:
            assert segments.tokens[1].tolist() == window.tokens[cut:].tolist()
            assert np.concatenate(segments.origins).tolist() == list(range(len(window)))
        else:
            assert segments.label == RANDOM_SEGMENT
            assert segments.origins[1].tolist() == [NOWHERE] * (len(window) - cut)


@given(windows=texts())
@FIXED
def test_a_random_segment_begins_with_a_sentence(windows: Windows) -> None:
    text, starts = windows.store.tokens.tolist(), windows.store.sentence_starts.tolist()
    for _, segments in pairs_of(windows, draws=3):
        if segments.label == RANDOM_SEGMENT:
            random_segment = segments.tokens[1].tolist()
            assert any(text[start : start + len(random_segment)] == random_segment for start in starts)


@pytest.mark.parametrize(("sentence_starts", "document_starts"), [((), ()), ((0,), (0,)), ((0, 2), (0, 2))])
def test_a_window_without_a_cut_has_no_label(
    sentence_starts: tuple[int, ...], document_starts: tuple[int, ...]
) -> None:
    """C27: single sentences, of one document or several; BERT calls them strangers."""
    window = window_of(numbered(4).tolist(), sentence_starts=sentence_starts, document_starts=document_starts)
    windows = documents_by_their_ids(5)
    for index in range(10):
        assert pair(window, key(index), windows).label == IGNORE
        example = made(MaskedLM).corruption(VOCABULARY)(window, key(index), windows)
        assert (example.labels["next_sentence"] == IGNORE).all()
        assert example.segments is not None
        assert not example.segments.any()


def test_every_cut_is_equally_likely() -> None:
    windows = of_documents([[[200] * 3] * 5, [[201] * 3] * 8], length=15)
    drawn = [pair(windows[0], key(index), windows) for index in range(4_000)]
    assert_alike((len(segments.tokens[0]) for segments in drawn if segments.label == FOLLOWS), 4)


def test_random_segments_come_from_any_other_document_alike_and_from_any_of_its_sentences() -> None:
    documents = [[[200 + number] * 2] * (4 + 10 * (number == 3)) + [[300 + number]] for number in range(5)]
    windows = of_documents([*documents, [[390] * 40]], length=6)
    strangers = [pair(windows[0], key(index), windows) for index in range(12_000)]
    two = [
        segments.tokens[1]
        for segments in strangers
        if segments.label == RANDOM_SEGMENT and len(segments.tokens[1]) == 2
    ]
    counts = Counter(int(tokens[0]) for tokens in two)
    by_document = [counts[200 + number] + counts[300 + number] for number in range(1, 5)] + [counts[390]]
    assert_distributed(by_document, np.full(5, 0.2))
    assert_distributed([counts[201], counts[301]], np.array([0.8, 0.2]))
    assert_distributed([counts[203], counts[303]], np.array([14 / 15, 1 / 15]))


def test_where_no_random_segment_is_found_the_window_stays_whole() -> None:
    windows = of_documents([[[200] * 3] * 5], length=15)
    labels = Counter(pair(windows[0], key(index), windows).label for index in range(1_000))
    assert_distributed([labels[FOLLOWS], labels[IGNORE]], np.array([0.5, 0.5]))


def several_and_single(several: int, single: int) -> Windows:
    """Documents of two sentences, and others of one, EOS behind each."""
    documents = [[[200, 201], [202, EOS]]] * several + [[[203, EOS]]] * single
    return of_documents(documents, length=3)


@pytest.mark.parametrize(("several", "single"), [(1, 0), (0, 5), (1, 5)])
def test_text_without_two_documents_of_several_sentences_is_refused(several: int, single: int) -> None:
    """C27."""
    message = rf"two documents of several sentences, and data\.corpus has {several} among its {several + single}"
    windows = several_and_single(several, single)
    with pytest.raises(ValueError, match=message):
        made(MaskedLM).check_data(windows)
    made(MaskedLM, next_sentence=False).check_data(windows)


def test_text_with_two_such_documents_is_taken() -> None:
    made(MaskedLM).check_data(several_and_single(2, 0))
    made(MaskedLM).check_data(several_and_single(2, 7))


def test_a_document_cut_by_windows_is_still_the_same_document() -> None:
    """The first token of a window belongs to the document that an earlier window began."""
    windows = documents_by_their_ids(3)
    assert isinstance(windows.store, TokensInMemory)
    started_earlier = [window for window, _ in pairs_of(windows) if 0 not in window.document_starts]
    assert started_earlier
    for window in started_earlier:
        assert int(window.tokens[0]) == int(VOCABULARY.ordinary[window.first_document])


def test_short_windows_are_cut_within_what_is_left_of_them() -> None:
    windows = documents_by_their_ids(20)
    for _, example in examples_of(made(MaskedLM, short_rate=1.0).corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        assert example.segments is not None
        num_special = 2 + int(example.segments.any())
        assert 2 <= len(example.encoder_ids) - num_special <= 40
