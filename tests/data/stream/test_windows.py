"""Windows: every token once, with its sentences and its documents."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.stream.windows import TokensInMemory, WindowRule, Windows

END = 999
Text = list[list[list[int]]]
texts = st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=5), min_size=1, max_size=6)
rules = st.sampled_from(["contiguous", "within_document"])


def numbered(lengths: list[list[int]]) -> Text:
    """Documents of sentences of those lengths; a token is its place in the whole text."""
    counter = itertools.count()
    return [[[next(counter) for _ in range(length)] for length in document] for document in lengths]


def windows_of(lengths: list[list[int]], length: int, rule: WindowRule) -> Windows:
    return Windows(TokensInMemory.of(numbered(lengths)), length=length, rule=rule, end_token=END)


@given(lengths=texts, length=st.integers(1, 12), rule=rules)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_windows_hold_every_token_once_and_in_order(lengths: list[list[int]], length: int, rule: WindowRule) -> None:
    windows = windows_of(lengths, length, rule)
    found = [windows[index] for index in range(len(windows))]
    assert [token for window in found for token in window.tokens.tolist()] == list(range(windows.num_tokens))
    assert all(0 < len(window) <= length for window in found)
    assert [window.index for window in found] == list(range(len(windows)))


@given(lengths=texts, length=st.integers(1, 12), rule=rules)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_a_window_knows_its_sentences_and_documents(lengths: list[list[int]], length: int, rule: WindowRule) -> None:
    text = numbered(lengths)
    document_of = [number for number, document in enumerate(text) for sentence in document for _ in sentence]
    sentence_starts = {sentence[0] for document in text for sentence in document}
    document_starts = {document[0][0] for document in text}
    windows = windows_of(lengths, length, rule)
    for window in (windows[index] for index in range(len(windows))):
        tokens = window.tokens.tolist()
        assert window.sentence_starts.tolist() == [place for place, t in enumerate(tokens) if t in sentence_starts]
        assert window.document_starts.tolist() == [place for place, t in enumerate(tokens) if t in document_starts]
        assert window.first_document == document_of[tokens[0]]
        assert window.documents().tolist() == [document_of[token] for token in tokens]
        assert window.previous == (tokens[0] - 1 if tokens[0] else END)
        assert [windows.document_of(token) for token in tokens] == window.documents().tolist()


@given(lengths=texts, length=st.integers(1, 12))
@settings(deadline=None, derandomize=True)
def test_all_but_the_last_contiguous_window_are_full(lengths: list[list[int]], length: int) -> None:
    windows = windows_of(lengths, length, "contiguous")
    assert len(windows) == -(-windows.num_tokens // length)
    assert all(len(windows[index]) == length for index in range(len(windows) - 1))


@given(lengths=texts, length=st.integers(1, 12))
@settings(deadline=None, derandomize=True)
def test_within_documents_a_window_is_short_only_where_its_document_ends(lengths: list[list[int]], length: int) -> None:
    windows = windows_of(lengths, length, "within_document")
    assert len(windows) == sum(-(-sum(document) // length) for document in lengths)
    ends = set(itertools.accumulate(map(sum, lengths)))
    for window in (windows[index] for index in range(len(windows))):
        assert len(set(window.documents().tolist())) == 1
        assert len(window) == length or int(window.tokens[-1]) + 1 in ends


@pytest.mark.parametrize("rule", ["contiguous", "within_document"])
def test_there_is_no_window_beyond_the_last(rule: WindowRule) -> None:
    windows = windows_of([[3, 4], [5]], 4, rule)
    for index in (-1, len(windows)):
        with pytest.raises(IndexError):
            windows[index]


def test_a_window_is_a_view_of_the_store() -> None:
    windows = windows_of([[30]], 8, "contiguous")
    assert np.shares_memory(windows[1].tokens, windows.store.tokens)


@given(lengths=texts, length=st.integers(1, 12), seed=st.integers(0, 5))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_a_run_from_a_sentence_is_the_text_from_there_on(lengths: list[list[int]], length: int, seed: int) -> None:
    text = numbered(lengths)
    document_of = [number for number, document in enumerate(text) for sentence in document for _ in sentence]
    windows = windows_of(lengths, 8, "contiguous")
    run, documents = windows.run_from_sentence(np.random.default_rng(seed), length)
    tokens = run.tolist()
    assert tokens[0] in {sentence[0] for document in text for sentence in document}
    assert tokens == list(range(tokens[0], min(tokens[0] + length, windows.num_tokens)))
    assert list(documents) == sorted({document_of[token] for token in tokens})


def test_a_run_begins_in_any_document_alike_and_in_any_of_its_sentences_alike() -> None:
    windows = windows_of([[1, 1, 1, 1], [20]], 8, "contiguous")
    rng = np.random.default_rng(0)
    starts = [int(windows.run_from_sentence(rng, 3)[0][0]) for _ in range(2_000)]
    counts = np.bincount(starts, minlength=24)
    assert set(np.flatnonzero(counts).tolist()) == {0, 1, 2, 3, 4}
    assert counts[4] == pytest.approx(1_000, abs=120)
    assert counts[:4] == pytest.approx(250, abs=75)
