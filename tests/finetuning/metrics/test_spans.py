"""Tags and entities: one is the other, sub-tokens keep both, and decoding is exact."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import seqeval.metrics.sequence_labeling
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import BILOU, IOB1, IOBES, Entities

from finetuning.metrics.spans import (
    Entity,
    best_tags,
    is_iob1,
    tag_names,
    to_bio,
    to_entities,
    transitions,
)
from tests.finetuning.metrics.tagged import FIXED, sentences, to_tags

NAMES = ("O", "B-a", "I-a", "B-b", "I-b")


# --- schemes ---


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


def test_one_entity_opened_by_b_after_o_makes_i_after_o_an_error() -> None:
    assert is_iob1([["I-a", "I-a", "B-a", "O"], ["O", "I-b"]])
    assert not is_iob1([["I-a", "B-b"], ["O"]])
    assert to_bio(["O", "I-a"]) == (("O", "B-a"), 1)


def test_an_odd_tag_is_named_with_what_a_tag_may_be() -> None:
    for tag in ("B", "person", "b-person", "O-person", "B-", ""):
        with pytest.raises(ValueError, match=f"tag '{tag}' encodes no entity"):
            to_bio(["O", tag])


def test_the_tags_of_a_task_are_both_of_every_kind() -> None:
    assert tag_names([["O", "I-b"], ["B-a-c"]]) == ("O", "B-a-c", "I-a-c", "B-b", "I-b")
    assert tag_names([["O"]]) == ("O",)


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
