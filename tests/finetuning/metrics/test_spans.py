"""Tags and entities: one is the other, sub-tokens keep both, and decoding is exact."""

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest
import seqeval.metrics.sequence_labeling
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.scheme import BILOU, IOB1, IOBES, Entities
from tokenizers import Tokenizer

from data.store.tokenizer import KINDS, train_tokenizer
from data.stream.batch import IGNORE
from finetuning.metrics.spans import (
    Entity,
    Mention,
    best_tags,
    first_tokens,
    is_iob1,
    join_words,
    labelled_tokens,
    mentions,
    split_words,
    tag_names,
    to_bio,
    to_entities,
    token_labels,
    transitions,
    word_tags,
)
from tests.helpers import made_up_documents

FIXED = settings(deadline=None, derandomize=True, max_examples=100)

NAMES = ("O", "B-a", "I-a", "B-b", "I-b")
KIND = st.sampled_from(["a", "b", "creative-work"])


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Entity], int]:
    """Entities of a sentence, of which some touch, and its length."""
    entities, place = [], 0
    for kind, gap, length in draw(st.lists(st.tuples(KIND, st.integers(0, 2), st.integers(1, 3)), max_size=5)):
        entities.append(Entity(kind, place + gap, place + gap + length))
        place += gap + length
    return entities, place + draw(st.integers(0, 2))


# --- schemes ---


def to_tags(entities: Sequence[Entity], length: int) -> tuple[str, ...]:
    """The BIO tags of a sentence of `length` words with these entities, of which no two overlap."""
    tags = ["O"] * length
    for kind, start, end in entities:
        assert tags[start:end] == ["O"] * (end - start) != []
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return tuple(tags)


@FIXED
@given(sentence=sentences())
def test_entities_and_tags_are_each_others_inverse(sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    tags = to_tags(entities, length)
    assert to_entities(tags) == entities
    assert to_bio(tags) == (tags, 0)


def in_scheme(entities: Sequence[Entity], length: int, letters: dict[str, str]) -> list[str]:
    """Tags with letters for a single word, and the first, inner and last word of several."""
    tags = ["O"] * length
    for kind, start, end in entities:
        inner = [letters["first"], *[letters["inner"]] * (end - start - 2), letters["last"]]
        tags[start:end] = [f"{letter}-{kind}" for letter in ([letters["single"]] if end - start == 1 else inner)]
    return tags


@pytest.mark.parametrize(
    ("scheme", "letters"),
    [
        (IOBES, {"single": "S", "first": "B", "inner": "I", "last": "E"}),
        (BILOU, {"single": "U", "first": "B", "inner": "I", "last": "L"}),
    ],
)
@FIXED
@given(sentence=sentences())
def test_schemes_that_tell_the_end_come_out_as_bio(
    scheme: type, letters: dict[str, str], sentence: tuple[list[Entity], int]
) -> None:
    entities, length = sentence
    tags = in_scheme(entities, length, letters)
    assert to_bio(tags) == (to_tags(entities, length), 0)
    if tags:
        theirs = Entities([tags], scheme).entities[0]
        assert [Entity(*entity.to_tuple()[1:]) for entity in theirs] == entities


@FIXED
@given(sentence=sentences())
def test_iob1_comes_out_as_bio(sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    tags = list(to_tags(entities, length))
    for place, (before, tag) in enumerate(itertools.pairwise(["O", *tags])):
        if tag.startswith("B-") and before[2:] != tag[2:]:
            tags[place] = "I-" + tag[2:]
    assert is_iob1([tags])
    assert to_bio(tags, iob1=True) == (to_tags(entities, length), 0)
    if tags:
        theirs = Entities([tags], IOB1).entities[0]
        assert [Entity(*entity.to_tuple()[1:]) for entity in theirs] == entities


@FIXED
@given(tags=st.lists(st.sampled_from(NAMES), max_size=10))
def test_tags_that_do_not_follow_are_read_as_seqeval_reads_them(tags: list[str]) -> None:
    theirs = seqeval.metrics.sequence_labeling.get_entities(tags)
    assert to_entities(tags) == [Entity(kind, start, last + 1) for kind, start, last in theirs]


@FIXED
@given(tags=st.lists(st.sampled_from(NAMES), max_size=10))
def test_repaired_tags_follow_from_one_another_and_repairs_are_counted(tags: list[str]) -> None:
    repaired, breaks = to_bio(tags)
    assert to_bio(repaired) == (repaired, 0)
    assert breaks == sum(before != after for before, after in zip(tags, repaired, strict=True))


def test_one_entity_opened_by_b_after_o_makes_i_after_o_a_fault() -> None:
    assert is_iob1([["I-a", "I-a", "B-a", "O"], ["O", "I-b"]])
    assert not is_iob1([["I-a", "B-b"], ["O"]])
    assert to_bio(["O", "I-a"]) == (("O", "B-a"), 1)


def test_an_odd_tag_is_told_with_what_a_tag_may_be() -> None:
    for tag in ("B", "person", "b-person", "O-person", "B-", ""):
        with pytest.raises(ValueError, match=f"tag '{tag}' encodes no entity"):
            to_bio(["O", tag])


def test_the_tags_of_a_task_are_both_of_every_kind() -> None:
    assert tag_names([["O", "I-b"], ["B-a-c"]]) == ("O", "B-a-c", "I-a-c", "B-b", "I-b")
    assert tag_names([["O"]]) == ("O",)


# --- sub-tokens ---

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
    told = word_tags(first, decoded)
    assert to_bio(told)[1] <= to_bio(decoded)[1]
    if joiner == " ":  # of words that share a token the first is told
        assert told == tags
    assert [(mention.kind, mention.text) for mention in mentions(text, places, told)] == [
        (kind, joiner.join(words[start:end])) for kind, start, end in to_entities(told)
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


# --- decoding ---


def test_inside_follows_only_its_own_kind() -> None:
    first, follows = transitions(NAMES)
    assert [name for name, may in zip(NAMES, first, strict=True) if may] == ["O", "B-a", "B-b"]
    allowed = {(NAMES[row], NAMES[column]) for row, column in np.argwhere(follows)}
    assert {pair for pair in allowed if pair[1].startswith("I-")} == {
        *(("B-a", "I-a"), ("I-a", "I-a"), ("B-b", "I-b"), ("I-b", "I-b"))
    }
    assert sum(not after.startswith("I-") for _, after in allowed) == 5 * 3


@FIXED
@given(length=st.integers(0, 5), seed=st.integers(0, 10_000), ties=st.booleans())
def test_decoding_finds_the_best_of_all_sequences(length: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    log_probs = np.round(rng.normal(size=(length, 5))) if ties else rng.normal(size=(length, 5))
    first, follows = transitions(NAMES)

    def score(path: tuple[int, ...]) -> float:
        is_allowed = all(first[tag] for tag in path[:1]) and all(follows[pair] for pair in itertools.pairwise(path))
        return float(sum(log_probs[place, tag] for place, tag in enumerate(path))) if is_allowed else -np.inf

    found = tuple(best_tags(log_probs, first, follows).tolist())
    best = max(score(path) for path in itertools.product(range(5), repeat=length))
    assert score(found) == pytest.approx(best, rel=1e-12)
    tags = tuple(NAMES[tag] for tag in found)
    assert to_bio(tags) == (tags, 0)


def test_decoding_any_schema_at_random_obeys_its_own_constraints() -> None:
    rng = np.random.default_rng(0)
    follows = rng.random((7, 7)) < 0.5
    np.fill_diagonal(follows, True)  # so that there is always a way on
    first = np.array([True, True, *[False] * 5])
    for _ in range(20):
        path = best_tags(rng.normal(size=(40, 7)).astype(np.float32), first, follows).tolist()
        assert first[path[0]]
        assert all(follows[pair] for pair in itertools.pairwise(path))
