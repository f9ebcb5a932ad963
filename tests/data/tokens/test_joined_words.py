"""Words that are encoded as one text have the tokens that each has by itself, or are not encoded so."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

from data.tokens import joined_words
from data.tokens.joined_words import bytes_of_tokens, encoded_together, ids_of
from data.tokens.word_encoding import keys_of, word_of
from tests.data.tokens.test_encoding import EVERY, odd_texts, own
from tests.data.tokens.test_pieces import bpe

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)


def set_to(**settings: Any) -> Tokenizer:
    """A tokenizer of bytes whose tokens hang on more than merges."""
    vocab = {letter: place for place, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE({**vocab, "#a": 256, "Ġ..": 257}, [], **settings))
    tokenizer.pre_tokenizer = BYTES  # pyright: ignore[reportAttributeAccessIssue] - its stub has no setter
    return tokenizer


def lacking() -> Tokenizer:
    """A tokenizer that drops what no token stands for."""
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate("Ġabc")}, []))
    tokenizer.pre_tokenizer = BYTES  # pyright: ignore[reportAttributeAccessIssue] - its stub has no setter
    return tokenizer


@pytest.mark.parametrize(
    ("make", "is_known"),
    [
        (lambda: own("byte_bpe"), True),
        (lambda: bpe(BYTES, alphabet=True), True),
        (lambda: bpe(BYTES, normalizers.NFC(), alphabet=True), False),
        (lambda: bpe(pre_tokenizers.Whitespace()), False),
        (lambda: set_to(dropout=0.1), False),
        (lambda: set_to(), True),
        (lambda: set_to(ignore_merges=True), False),
        (lambda: set_to(continuing_subword_prefix="#"), False),
        (lambda: set_to(end_of_word_suffix="#"), False),
        (lambda: bpe(pre_tokenizers.Whitespace(), alphabet=True), False),
        (lambda: bpe(pre_tokenizers.BertPreTokenizer(), alphabet=True), False),
        (lacking, False),
        *((make, name == "byte_bpe") for name, make in EVERY.items()),
    ],
)
def test_bytes_are_known_where_a_tokenizer_reads_them_as_they_are(
    make: Callable[[], Tokenizer], is_known: bool
) -> None:
    tokenizer = make()
    counts = bytes_of_tokens(tokenizer)
    assert (counts is not None) is is_known
    if counts is not None:
        for text in odd_texts(50):
            assert counts[tokenizer.encode(text, add_special_tokens=False).ids].sum() == len(text.encode())


def merging(signs: str) -> Tokenizer:
    """A tokenizer that has tokens of several such signs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = BYTES  # pyright: ignore[reportAttributeAccessIssue] - its stub has no setter
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=letters)
    tokenizer.train_from_iterator([f"a{one}{other}{one}b" for one in signs for other in signs] * 9, trainer)
    return tokenizer


@pytest.mark.parametrize("together", [1, 2, 3, 100])
def test_words_encoded_together_have_the_tokens_of_each(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined_words, "WORDS_TOGETHER", together)
    words = sorted(set(map(word_of, keys_of(odd_texts(300)))))
    random.Random(0).shuffle(words)
    for tokenizer in (own("byte_bpe"), bpe(BYTES, alphabet=True), merging(" \n")):
        counts = bytes_of_tokens(tokenizer)
        assert counts is not None
        found = encoded_together(tokenizer, words, counts)
        assert found is not None
        for one, wanted in zip(found, ids_of(tokenizer.encode_batch(words, add_special_tokens=False)), strict=True):
            assert np.array_equal(one, wanted)


def test_words_are_not_encoded_together_where_a_special_token_takes_their_white_space() -> None:
    tokenizer = own("byte_bpe")
    tokenizer.encode_special_tokens = False
    tokenizer.add_special_tokens([AddedToken("<greedy>", rstrip=True)])
    counts = bytes_of_tokens(tokenizer)
    assert counts is not None
    assert encoded_together(tokenizer, [" a", " <greedy>", " cat"], counts) is None
    assert encoded_together(tokenizer, [" a", " cat", " <greedy>"], counts) is not None


def test_words_are_not_encoded_together_where_a_token_begins_in_one_and_ends_in_the_next() -> None:
    tokenizer = merging(".\x1c")  # white space to Python, and a sign like any other to the tokenizer
    counts = bytes_of_tokens(tokenizer)
    assert counts is not None
    assert encoded_together(tokenizer, [" a.", "\x1cb"], counts) is None
    assert encoded_together(tokenizer, [" a.", " b"], counts) is not None
