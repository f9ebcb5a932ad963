"""Causal language modelling: every token once, each from those before it."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given

from data.stream.batch import EARLIER, IGNORE
from data.stream.collate import collate
from data.stream.windows import Windows
from models.attention.positions import positions_of
from objectives.causal_lm import CausalLM
from tests.objectives.texts import EOS, FIXED, VOCABULARY, examples_of, key, made, of_documents, texts, window_of

EVERYTHING = made(CausalLM).corruption(VOCABULARY)
WITHIN = made(CausalLM, predict_across_documents=False).corruption(VOCABULARY)


@given(windows=texts())
@FIXED
def test_what_is_predicted_is_the_window(windows: Windows) -> None:
    """Law 5; the encoder is not there."""
    for window, example in examples_of(EVERYTHING, windows):
        assert example.labels["next_token"].tolist() == window.tokens.tolist()
        assert example.encoder_ids is None


@given(windows=texts())
@FIXED
def test_what_is_read_is_the_token_before(windows: Windows) -> None:
    """C40: over window edges too, so that every token of the text is said just once."""
    read, targets = [], []
    for window, example in examples_of(EVERYTHING, windows):
        assert example.decoder_ids is not None
        assert example.decoder_ids[0] == window.previous
        read += example.decoder_ids.tolist()
        targets += example.labels["next_token"].tolist()
    assert targets == windows.store.tokens.tolist()
    assert read == [EOS, *targets[:-1]]


@given(windows=texts())
@FIXED
def test_a_window_goes_on_where_the_one_before_ended(windows: Windows) -> None:
    """C40."""
    for (_, one), (_, other) in pairwise(examples_of(EVERYTHING, windows)):
        assert other.decoder_ids is not None
        assert one.labels["next_token"][-1] == other.decoder_ids[0]


@given(windows=texts())
@FIXED
def test_only_first_tokens_of_documents_go_unsaid_within_documents(windows: Windows) -> None:
    """C42: the label behind an EOS; EOS itself is said. What is unsaid is read, at the latest in the next window."""
    pairs = examples_of(WITHIN, windows)
    read = np.concatenate([example.decoder_ids for _, example in pairs if example.decoder_ids is not None])
    targets = np.concatenate([example.labels["next_token"] for _, example in pairs])
    unsaid = np.flatnonzero(targets == IGNORE)
    assert unsaid.tolist() == windows.store.document_starts.tolist()
    assert targets[targets != IGNORE].tolist() == np.delete(windows.store.tokens, unsaid).tolist()
    assert read[1:].tolist() == windows.store.tokens[:-1].tolist()


def test_every_document_ends_with_one_eos_that_is_predicted() -> None:
    """C41."""
    documents = [[[200, 201], [202, EOS]], [[203, EOS]], [[204], [EOS]]]
    targets = [
        token
        for _, example in examples_of(EVERYTHING, of_documents(documents, length=4))
        for token in example.labels["next_token"].tolist()
    ]
    assert Counter(targets)[EOS] == 3


def test_eos_is_predicted_though_it_be_the_padding_too() -> None:
    """C43: labels follow from lengths, never from which token it is."""
    windows = of_documents([[[200, 201, EOS]], [[202, EOS]]], length=3)
    shown, examples = zip(*examples_of(EVERYTHING, windows), strict=True)
    batch = collate(shown, examples, pad=EOS, max_lengths=made(CausalLM).max_lengths(3), keep_documents_apart=False)
    assert batch.labels["next_token"].ids_N.tolist() == [200, 201, EOS, 202, EOS]
    assert batch.labels["next_token"].positions_N.tolist() == [0, 1, 2, 3, 4]
    assert batch.decoder_ids_BT is not None
    assert batch.decoder_ids_BT.tolist() == [[EOS, 200, 201], [EOS, 202, EOS]]


@pytest.mark.parametrize(("across", "labels"), [(True, [6, EOS, 7, 8]), (False, [6, EOS, IGNORE, 8])])
def test_packed_documents_are_those_of_megatron(across: bool, labels: list[int]) -> None:
    """W7: documents [5 6] and [7 8 9], T = 4, from the second token on; C42 is the label at index 2."""
    window = window_of([6, EOS, 7, 8], sentence_starts=[2], document_starts=[2], previous=5)
    corrupt = made(CausalLM, predict_across_documents=across).corruption(VOCABULARY)
    example = corrupt(window, key(), of_documents([[[200]]], length=1))
    assert example.decoder_ids is not None
    assert example.decoder_ids.tolist() == [5, 6, EOS, 7]
    assert example.labels["next_token"].tolist() == labels
    max_lengths = made(CausalLM).max_lengths(4)
    batch = collate([window], [example], pad=0, max_lengths=max_lengths, keep_documents_apart=True)
    assert batch.decoder_documents_BT is not None
    assert batch.decoder_documents_BT.tolist() == [[1, 1, 1, 2]]
    assert positions_of(batch.decoder_documents_BT).tolist() == [[0, 1, 2, 0]]


@given(windows=texts())
@FIXED
def test_what_is_read_belongs_to_the_document_it_is_of(windows: Windows) -> None:
    """An EOS belongs to the document that it ends; what was read of an earlier one is told apart from all here."""
    owners = np.repeat(
        np.arange(len(windows.store.document_starts)),
        np.diff(windows.store.document_starts, append=windows.num_tokens),
    )
    for window, example in examples_of(EVERYTHING, windows):
        start = int(window.tokens.ctypes.data - windows.store.tokens.ctypes.data) // windows.store.tokens.itemsize
        max_lengths = made(CausalLM).max_lengths(len(window))
        batch = collate([window], [example], pad=0, max_lengths=max_lengths, keep_documents_apart=True)
        assert batch.decoder_documents_BT is not None
        read = batch.decoder_documents_BT[0].tolist()
        here = (owners[start : start + len(window)] - owners[start] + 1).tolist()
        assert read[1:] == here[:-1]
        assert read[0] == (-1 if 0 in window.document_starts else 1)


def test_a_window_of_one_token_that_begins_a_document_is_read_from_before() -> None:
    windows = of_documents([[[200]], [[201]]], length=1)
    for window, example in examples_of(EVERYTHING, windows):
        assert example.decoder_origins is not None
        assert example.decoder_origins.tolist() == [EARLIER]
        batch = collate(
            [window], [example], pad=0, max_lengths=made(CausalLM).max_lengths(1), keep_documents_apart=True
        )
        assert batch.decoder_documents_BT is not None
        assert batch.decoder_documents_BT.tolist() == [[-1]]


@given(windows=texts())
@FIXED
def test_max_lengths_are_reached_and_never_exceeded(windows: Windows) -> None:
    for window, example in examples_of(EVERYTHING, windows):
        assert example.decoder_ids is not None
        length = len(window)
        assert made(CausalLM).max_lengths(length) == (0, len(example.decoder_ids), len(example.labels["next_token"]))
