"""Words and their tags on sub-tokens, and back."""

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from data.stream.batch import IGNORE
from data.tokens.tokenizer import KINDS, train_tokenizer
from finetuning.metrics.spans import (
    Entity,
    Mention,
    first_tokens,
    join_words,
    labelled_tokens,
    mentions,
    split_words,
    tag_names,
    to_bio,
    to_entities,
    token_labels,
    word_tags,
)
from tests.finetuning.metrics.tagged import FIXED, sentences, to_tags
from tests.helpers import made_up_documents

TEXTS = [*made_up_documents(), "서울에서 이순신 장군을 보았다.", "😀 naïve café 한국어!"]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(iter(TEXTS), kind=request.param, vocab_size=600)


def encoded(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    return tokenizer.encode(text, add_special_tokens=False).offsets


def by_definition(words: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The first token that has a character in common with each word."""
    characters = [set(range(*offset)) for offset in offsets]
    return [next((place for place, token in enumerate(characters) if token & set(range(*word))), -1) for word in words]


word = st.one_of(
    st.sampled_from(
        ["cat", "tree", "서울에서", "고양이가", "😀", "naïve", "U.S.", "'s", "...", "한", "\u200b", "\u00a0", ""]
    ),
    st.text(max_size=4),
)


@FIXED
@given(words=st.lists(word, max_size=6), joiner=st.sampled_from([" ", ""]))
def test_the_first_sub_token_of_a_word_is_the_first_that_holds_some_of_it(
    tokenizer: Tokenizer, words: list[str], joiner: str
) -> None:
    words = [part.encode("utf-8", "replace").decode() for part in words]
    text, places = join_words(words, joiner)
    assert [text[start:end] for start, end in places] == words
    offsets = encoded(tokenizer, text)
    assert first_tokens(places, offsets).tolist() == by_definition(places, offsets)


def test_bytes_of_one_letter_are_one_word_and_its_label_stands_at_the_first() -> None:
    tokenizer = train_tokenizer(iter(["the cat"]), kind="byte_bpe", vocab_size=391)
    text, words = join_words(["서울", "cat"])
    offsets = encoded(tokenizer, text)
    assert len(offsets) > len(text)  # a letter of Hangul is three bytes here
    first = first_tokens(words, offsets)
    assert first[0] == 0
    labels = token_labels(first, np.array([3, 0]), len(offsets))
    assert np.flatnonzero(labels != IGNORE).tolist() == first.tolist()
    assert labels[first].tolist() == [3, 0]


def test_words_beyond_the_last_token_have_none() -> None:
    _, words = join_words(["one", "two", "three"])
    assert first_tokens(words, [(0, 0), (0, 3), (3, 7)]).tolist() == [1, 2, -1]
    assert word_tags(np.array([1, 2, -1]), ["B-a", "I-a"]) == ("B-a", "I-a", "O")


@FIXED
@given(sentence=sentences(), joiner=st.sampled_from([" ", ""]))
def test_tags_survive_the_way_through_sub_tokens(
    tokenizer: Tokenizer, sentence: tuple[list[Entity], int], joiner: str
) -> None:
    entities, length = sentence
    words = [("서울에서", "cat", "고양이가", "tree")[place % 4] for place in range(length)]
    tags = to_tags(entities, length)
    text, places = join_words(words, joiner)
    offsets = encoded(tokenizer, text)
    first = first_tokens(places, offsets)
    names = tag_names([tags])
    labels = token_labels(first, np.array([names.index(tag) for tag in tags], dtype=np.int64), len(offsets))
    decoded = [names[label] for label in labels[labelled_tokens(first)]]
    found_tags = word_tags(first, decoded)
    assert to_bio(found_tags)[1] <= to_bio(decoded)[1]
    if joiner == " ":  # of words that share a token the first is told
        assert found_tags == tags
    assert [(mention.kind, mention.text) for mention in mentions(text, places, found_tags)] == [
        (kind, joiner.join(words[start:end])) for kind, start, end in to_entities(found_tags)
    ]


def test_words_that_share_a_sub_token_share_its_entity() -> None:
    first = first_tokens([(0, 1), (1, 2), (2, 3), (3, 4)], [(0, 2), (2, 4)])  # a word a letter, two letters a token
    assert first.tolist() == [0, 0, 1, 1]
    assert token_labels(first, np.array([1, 2, 0, 1]), 2).tolist() == [1, 0]
    assert word_tags(first, ["B-a", "B-a"]) == ("B-a", "I-a", "B-a", "I-a")
    assert word_tags(first, ["B-a", "I-a"]) == ("B-a", "I-a", "I-a", "I-a")


def test_a_word_without_a_token_does_not_cut_an_entity() -> None:
    first = np.array([0, -1, 1, -1])
    assert word_tags(first, ["B-a", "I-a"]) == ("B-a", "I-a", "I-a", "O")
    assert word_tags(first, ["B-a", "B-a"]) == ("B-a", "O", "B-a", "O")


def test_a_tag_that_training_does_not_have_is_not_learned() -> None:
    assert token_labels(np.array([0, 1, -1]), np.array([-1, 2, 1]), 3).tolist() == [IGNORE, 2, IGNORE]


def test_mentions_are_slices_of_the_text() -> None:
    text = "Kim lives in New York."
    words = split_words(text)
    assert [text[start:end] for start, end in words] == ["Kim", "lives", "in", "New", "York", "."]
    tags = ["B-person", "O", "O", "B-location", "I-location", "O"]
    assert mentions(text, words, tags) == [Mention("person", 0, 3, "Kim"), Mention("location", 13, 21, "New York")]
    json.dumps(mentions(text, words, tags))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा", "।"]),
        ("ภาษาไทยก็ดี", ["ภาษาไทยก็ดี"]),
        ("عَرَبِيّ، نعم", ["عَرَبِيّ", "،", "نعم"]),
        ("a👨\u200d👩\u200d👧👍🏽b", ["a", "👨\u200d👩\u200d👧", "👍🏽", "b"]),
        ("🇰🇷🇺🇸 ❤\ufe0f!", ["🇰🇷", "🇺🇸", "❤\ufe0f", "!"]),
        ("\u1100\u1161\u11a8.", ["\u1100\u1161\u11a8", "."]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
    ],
)
def test_no_word_ends_within_a_character(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in split_words(text)] == words


def test_a_mention_cuts_no_character() -> None:
    text = "a 👨\u200d👩\u200d👧 b"
    words = split_words(text)
    tags = ["O", "B-x", *["O"] * (len(words) - 2)]
    assert [mention.text for mention in mentions(text, words, tags)] == ["👨\u200d👩\u200d👧"]


@FIXED
@given(text=st.text(max_size=30))
def test_splitting_into_words_loses_nothing_but_white_space(text: str) -> None:
    words = split_words(text)
    assert "".join(text[start:end] for start, end in words) == "".join(text.split())
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(words))
