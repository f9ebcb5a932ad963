"""Scores of answers: the official scripts' definitions, in their own steps."""

import re
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuning.metrics.metrics import Score, answer_f1, exact_match, korquad_exact_match, korquad_f1

FIXED = settings(deadline=None, derandomize=True, max_examples=100)


def close(ours: Score, theirs: float) -> None:
    assert ours.value == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    assert ours.items is not None
    assert ours.items.mean() == ours.value


def official_squad_words(text: str) -> list[str]:
    text = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def official_squad(predicted: str, gold: list[str]) -> tuple[float, float]:
    """Exact match and F1 of one question as evaluate-v2.0.py computes them."""
    golds = [answer for answer in gold if " ".join(official_squad_words(answer))] or [""]
    exact, best = 0.0, 0.0
    for answer in golds:
        words, there = official_squad_words(predicted), official_squad_words(answer)
        exact = max(exact, float(" ".join(words) == " ".join(there)))
        same = sum((Counter(words) & Counter(there)).values())
        if len(words) == 0 or len(there) == 0:
            best = max(best, float(words == there))
        elif same:
            precision, recall = same / len(words), same / len(there)
            best = max(best, 2 * precision * recall / (precision + recall))
    return exact, best


def official_korquad_words(text: str) -> list[str]:
    for sign in ("'", '"', "《", "》", "<", ">", "〈", "〉", "(", ")", "‘", "’"):
        text = text.replace(sign, " ")
    return "".join(sign for sign in text.lower() if sign not in set(string.punctuation)).split()


def official_korquad(predicted: str, gold: list[str]) -> tuple[float, float]:
    """Exact match and F1 over characters as KorQuAD 1.0's script computes them, answers being there."""
    exact, best = 0.0, 0.0
    for answer in gold:
        words, there = official_korquad_words(predicted), official_korquad_words(answer)
        exact = max(exact, float(" ".join(words) == " ".join(there)))
        letters, wanted = [*"".join(words)], [*"".join(there)]
        same = sum((Counter(letters) & Counter(wanted)).values())
        if same:
            precision, recall = same / len(letters), same / len(wanted)
            best = max(best, 2 * precision * recall / (precision + recall))
    return exact, best


WORDS = [
    "The",
    "a",
    "an",
    "cat",
    "Cat's",
    "cats",
    "12.5",
    "U.S.",
    "theatre",
    "-",
    "!",
    "...",
    "서울에서",
    "서울",
    "1973년",
    " ",
]
answers = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)


@FIXED
@given(predicted=answers, gold=st.lists(answers, max_size=3))
def test_exact_match_and_f1_are_squads(predicted: str, gold: list[str]) -> None:
    exact, overlap = official_squad(predicted, gold)
    close(exact_match([predicted], [gold]), exact)
    close(answer_f1([predicted], [gold]), overlap)


@FIXED
@given(predicted=answers, gold=st.lists(answers.filter(official_korquad_words), min_size=1, max_size=3))
def test_exact_match_and_f1_of_korean_are_korquads(predicted: str, gold: list[str]) -> None:
    exact, overlap = official_korquad(predicted, gold)
    close(korquad_exact_match([predicted], [gold]), exact)
    close(korquad_f1([predicted], [gold]), overlap)


def test_a_question_without_an_answer_is_answered_by_nothing() -> None:
    for metric in (exact_match, answer_f1, korquad_exact_match, korquad_f1):
        assert metric(["", "Seoul"], [[], []]).value == 0.5
        assert metric([""], [["Seoul"]]).value == 0


def test_a_korean_particle_costs_a_word_its_f1_but_not_its_characters() -> None:
    assert answer_f1(["서울에서"], [["서울"]]).value == 0
    assert korquad_f1(["서울에서"], [["서울"]]).value == pytest.approx(2 / 3)
    assert korquad_exact_match(["《토지》"], [["토지"]]).value == 1


def test_items_are_in_the_order_of_the_questions() -> None:
    score = exact_match(["one", "two", "three"], [["one"], ["2"], ["three", "3"]])
    assert score.items is not None
    assert score.items.tolist() == [1, 0, 1]
