"""What every objective must do to text: each law is a function of one, and never asks which objective it holds.

test_contract.py runs them all, with those of contract_model.py.
"""

import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from data.stream.batch import IGNORE, Example
from data.stream.loader import CorruptedWindows
from data.stream.windows import Window, Windows
from objectives.core.base import Objective
from objectives.core.segments import RANDOM_SEGMENT
from tests.helpers import random_documents
from tests.objectives.texts import VOCABULARY, batch_of, examples_of, of_documents

LENGTH = 24  # of the windows that models are tried on


def some_windows(length: int = LENGTH, *, documents: int = 12, sentences: int = 5) -> Windows:
    """Windows that cross documents, with a shorter one at the end; their arrays cannot be written to."""
    text = random_documents(VOCABULARY, documents=documents, sentences=sentences, seed=0)
    return of_documents(text, length=length)


EDGES = [
    some_windows(1, documents=3),
    some_windows(2, documents=5),
    some_windows(7),
    some_windows(),
    some_windows(300),
    some_windows(sentences=1),
]


@lru_cache(maxsize=4)
def corrupted(objective: Objective) -> list[tuple[Windows, list[tuple[Window, Example]]]]:
    """What becomes of each of those windows, once for all laws that read it."""
    return [(windows, examples_of(objective.corruption(VOCABULARY), windows)) for windows in EDGES]


def arrays_of(example: Example) -> dict[str, np.ndarray]:
    """Every array of an example by its name."""
    entries = {entry.name: getattr(example, entry.name) for entry in fields(example)}
    labels = {f"labels of {term}": labels for term, labels in example.labels.items()}
    return {name: value for name, value in entries.items() if isinstance(value, np.ndarray)} | labels


def assert_same(one: Example, other: Example) -> None:
    left, right = arrays_of(one), arrays_of(other)
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert np.array_equal(array, right[name]), name


def the_same_key_gives_the_same_example(objective: Objective) -> None:
    """Law 1; a second `corruption` is no other, and the windows, which cannot be written to, stay as they are."""
    for windows, pairs in corrupted(objective):
        again = examples_of(objective.corruption(VOCABULARY), windows)
        for (_, one), (_, other) in zip(pairs, again, strict=True):
            assert_same(one, other)


def an_example_follows_from_seed_epoch_and_index_alone(objective: Objective) -> None:
    """Law 1: not from what is asked for before it or beside it."""
    examples = CorruptedWindows(some_windows(), objective.corruption(VOCABULARY), seed=3)
    last = len(examples.windows) * 2 - 1
    together = examples.__getitems__([last, 0, 2])
    for (window, one), position in zip(together, (last, 0, 2), strict=True):
        other_window, other = examples[position]
        assert window.index == other_window.index
        assert_same(one, other)


def all_arrays_are_int64(objective: Objective) -> None:
    for _, pairs in corrupted(objective):
        for _, example in pairs:
            assert {array.dtype for array in arrays_of(example).values()} == {np.dtype(np.int64)}


def arrays_fit_the_stacks(objective: Objective) -> None:
    """An encoder, a decoder or both, as the class says; labels are as long as what the last of them reads."""
    for _, pairs in corrupted(objective):
        for window, example in pairs:
            assert (example.encoder_ids is not None) == objective.uses_encoder
            assert (example.decoder_ids is not None) == objective.uses_decoder
            assert objective.token_term == example.token_term
            assert example.token_term in example.labels
            for stack in ("encoder", "decoder"):
                ids, origins = getattr(example, f"{stack}_ids"), getattr(example, f"{stack}_origins")
                if ids is not None:
                    assert len(origins) == len(ids)
                    assert ((origins >= -2) & (origins < len(window))).all()
            last = example.decoder_ids if example.decoder_ids is not None else example.encoder_ids
            assert last is not None
            assert {len(labels) for labels in example.labels.values()} == {len(last)}
            if example.segments is not None:
                assert example.encoder_ids is not None
                assert len(example.segments) == len(example.encoder_ids)
                assert set(example.segments.tolist()) <= {0, 1}


def ids_lie_in_the_vocabulary(objective: Objective) -> None:
    for _, pairs in corrupted(objective):
        for _, example in pairs:
            for ids in (example.encoder_ids, example.decoder_ids):
                assert ids is None or ((ids >= 0) & (ids < VOCABULARY.size)).all()
            labels = example.token_labels
            assert ((labels == IGNORE) | (labels >= 0) & (labels < VOCABULARY.size)).all()


@lru_cache
def renamed(windows: Windows) -> Windows:
    """The same text with other words: ordinary ids change in pairs that both begin a word, or both do not."""
    names = np.arange(VOCABULARY.size)
    for begins in (False, True):
        ordinary = np.flatnonzero(~VOCABULARY.is_special & (VOCABULARY.begins_word == begins))
        names[ordinary] = np.roll(ordinary, 1)
    tokens = names[windows.store.tokens]
    starts = windows.store.sentence_starts
    documents: list[list[list[int]]] = []
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        if start in windows.store.document_starts:
            documents.append([])
        documents[-1].append(tokens[start:end].tolist())
    return of_documents(documents, length=windows.length)


def where_labels_stand_does_not_depend_on_the_words(objective: Objective) -> None:
    """IGNORE follows from places: another text of the same shape has its labels in the same places."""
    for windows, pairs in corrupted(objective):
        others = examples_of(objective.corruption(VOCABULARY), renamed(windows))
        for (_, one), (_, other) in zip(pairs, others, strict=True):
            for term, labels in one.labels.items():
                assert ((labels == IGNORE) == (other.labels[term] == IGNORE)).all()


def no_example_is_longer_than_its_max_lengths(objective: Objective) -> None:
    for _, pairs in corrupted(objective):
        for window, example in pairs:
            max_lengths = objective.max_lengths(len(window))
            lengths = [0 if ids is None else len(ids) for ids in (example.encoder_ids, example.decoder_ids)]
            targets = int((example.token_labels != IGNORE).sum())
            for found, most in zip([*lengths, targets], max_lengths, strict=True):
                assert found <= most


def every_token_is_read_or_a_target(objective: Objective) -> None:
    """Law 5, as far as it holds for any objective: token by token, what a window holds is in its example.

    The exceptions are those of next-sentence prediction and of windows read in part; each example shows them itself.
    """
    for _, pairs in corrupted(objective):
        for window, example in pairs:
            held: Counter[int] = Counter()
            if example.encoder_ids is not None:
                labels = example.token_labels
                on_encoder = example.decoder_ids is None
                held.update(example.encoder_ids[labels == IGNORE if on_encoder else ...].tolist())
            elif example.decoder_ids is not None:  # what is read a position later, and is no target
                held.update(example.decoder_ids[1:][example.token_labels[:-1] == IGNORE].tolist())
            for labels in example.labels.values():
                held.update(labels.tolist())
            tokens = window.tokens
            is_random = example.labels.get("next_sentence", np.array([IGNORE]))[0] == RANDOM_SEGMENT
            if is_random or getattr(objective, "short_rate", 0.0):
                assert example.encoder_origins is not None
                tokens = tokens[: example.encoder_origins.max() + 1]
            assert Counter(tokens.tolist()) <= held


def a_corruption_travels_to_workers(objective: Objective) -> None:
    corrupt = objective.corruption(VOCABULARY)
    travelled = pickle.loads(pickle.dumps(corrupt))
    windows = some_windows()
    for (_, one), (_, other) in zip(examples_of(corrupt, windows), examples_of(travelled, windows), strict=True):
        assert_same(one, other)


def examples_stand_side_by_side(objective: Objective) -> None:
    """Each row of a batch begins with its example, and the labels are those of the rows, in order."""
    for windows, pairs in corrupted(objective):
        batch = batch_of(objective, windows, pairs)
        labels = [example.token_labels for _, example in pairs]
        assert batch.labels[objective.token_term].ids_N.tolist() == [i for row in labels for i in row if i != IGNORE]
        assert batch.raw_tokens == windows.num_tokens
        for name in ("encoder_ids_BS", "decoder_ids_BT"):
            table: Tensor | None = getattr(batch, name)
            if table is not None:
                for row, (_, example) in zip(table.tolist(), pairs, strict=True):
                    ids: np.ndarray = getattr(example, name[:11])
                    assert row[: len(ids)] == ids.tolist()
                    assert set(row[len(ids) :]) <= {VOCABULARY.pad}


LAWS_OF_TEXT: list[Callable[[Any], None]] = [
    the_same_key_gives_the_same_example,
    an_example_follows_from_seed_epoch_and_index_alone,
    all_arrays_are_int64,
    arrays_fit_the_stacks,
    ids_lie_in_the_vocabulary,
    where_labels_stand_does_not_depend_on_the_words,
    no_example_is_longer_than_its_max_lengths,
    every_token_is_read_or_a_target,
    a_corruption_travels_to_workers,
    examples_stand_side_by_side,
]
