"""Words are cut before blanks, looked up by what is behind those, and encoded once while they are kept."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.tokens import word_encoding
from data.tokens.word_encoding import Encoded, WordEncoder, key_of, keys_of, word_of
from tests.data.tokens.test_encoding import INK, SPACES, own

# A word and the white space before it, up to a blank that stands behind no white space; and what else is at the end.
WORD = re.compile(r"\s*\S+(?:[^\S ]\s*\S+)*(?:[^\S ]\s*\Z)?|\s+")
PLAIN = st.lists(st.sampled_from([" the", " cat", "\n\nThe", "."]), min_size=1).map("".join)
ODD = st.lists(st.sampled_from([*SPACES, *INK])).map("".join)


def words_of(text: str) -> list[str]:
    return list(map(word_of, keys_of([text])))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the cat  sat", ["the", " cat", "  sat"]),
        (" the cat ", [" the", " cat", " "]),
        ("\n\nthe cat\nsat", ["\n\nthe", " cat\nsat"]),
        ("the \ncat\n", ["the", " \ncat\n"]),
        ("  ", ["  "]),
        ("", []),
    ],
)
def test_a_text_is_cut_before_each_blank_that_is_behind_no_white_space(text: str, wanted: list[str]) -> None:
    assert words_of(text) == wanted


@given(st.lists(st.one_of(ODD, PLAIN, st.text()), max_size=80))
def test_the_words_of_texts_are_those_that_a_pattern_finds_in_each(texts: list[str]) -> None:
    found = list(map(word_of, keys_of(texts)))
    assert found == [word for text in texts for word in WORD.findall(text)]


@given(st.text(), st.text())
def test_different_words_have_different_keys(one: str, other: str) -> None:
    assert word_of(key_of(one)) == one
    assert (key_of(one) == key_of(other)) is (one == other)


class Counting:
    """A tokenizer that counts the words that it is given, and takes them one by one."""

    def __init__(self) -> None:
        self.inner, self.given = own("wordpiece"), list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode_batch_fast(self, texts: Sequence[str], *, add_special_tokens: bool) -> object:
        self.given += texts
        return self.inner.encode_batch_fast(texts, add_special_tokens=add_special_tokens)


def encode(encoder: WordEncoder, text: str) -> list[int]:
    """The ids of a text, which are those that the tokenizer gives."""
    found: Encoded = encoder(keys_of([text]))
    assert found.lengths.sum() == len(found.ids)
    assert found.characters.sum() == len(text)
    return found.ids.tolist()


def test_a_word_is_encoded_once() -> None:
    tokenizer = Counting()
    encoder = WordEncoder(tokenizer, with_offsets=False)  # pyright: ignore[reportArgumentType]
    for _ in range(3):
        encode(encoder, "the cat sat on the mat. " * 50)
    assert tokenizer.given == ["the", " cat", " sat", " on", " the", " mat.", " "]


def test_where_words_are_too_many_those_met_most_often_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_encoding, "KEPT_CHARACTERS", 100)
    tokenizer = Counting()
    encoder = WordEncoder(tokenizer, with_offsets=False)  # pyright: ignore[reportArgumentType]
    rng = np.random.default_rng(0)
    for _ in range(20):
        rare = rng.integers(10**6, size=40).tolist()
        text = " ".join(["", *(["the", "cat", "sat", "on", "a", "mat"] * 3), *map(str, rare)])
        assert encode(encoder, text) == tokenizer.inner.encode(text, add_special_tokens=False).ids
        assert encoder._known.characters.sum() <= 50
    for often in (" the", " cat", " sat", " on", " a", " mat"):
        assert tokenizer.given.count(often) == 1, often
