"""ROUGE, BLEU and chrF: equal to rouge-score and sacreBLEU, and of use in Korean."""

import string
import unicodedata
from collections.abc import Callable

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from finetuning.metrics.metrics import Score
from finetuning.metrics.overlap import (
    bleu,
    chrf,
    common_subsequence,
    exact,
    rouge1,
    rouge1_characters,
    rouge2,
    rouge2_characters,
    rouge_tokens,
    rougeL,
    rougeL_characters,
)

FIXED = settings(deadline=None, derandomize=True, max_examples=80)

OURS = {"rouge1": rouge1, "rouge2": rouge2, "rougeL": rougeL}
WORDS = ["the", "The", "cat", "cats", "sat", "on", "a", "mat", "snake_case", "it's", "3.5", "--", "", "\n"]
english = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.text(alphabet=string.printable, max_size=40)
)
mixed = st.lists(st.sampled_from([*WORDS, "나는", "학교에", "간다", "서울", "café"]), max_size=12).map(" ".join)


@FIXED
@given(predicted=english, gold=st.lists(english, min_size=1, max_size=3))
def test_rouge_of_ascii_is_that_of_rouge_score(predicted: str, gold: list[str]) -> None:
    theirs = RougeScorer(list(OURS), use_stemmer=False).score_multi(gold, predicted)
    for name, ours in OURS.items():
        assert ours([predicted], [gold]).value == pytest.approx(theirs[name].fmeasure, rel=1e-12, abs=1e-12)


def test_rouge_of_a_corpus_is_the_mean_of_its_texts() -> None:
    score = rougeL(["the cat", "a dog"], [["the cat"], ["a cat", "the dog"]])
    assert score.items is not None
    assert score.items.tolist() == [1, 0.5]
    assert score.value == 0.75


def by_table(one: str, other: str) -> int:
    """Length of the longest common subsequence, cell by cell."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for row, left in enumerate(one, start=1):
        for column, right in enumerate(other, start=1):
            same = table[row - 1][column - 1] + 1
            table[row][column] = same if left == right else max(table[row - 1][column], table[row][column - 1])
    return table[-1][-1]


@FIXED
@given(one=st.text(alphabet="abc", max_size=80), other=st.text(alphabet="abcd", max_size=80))
def test_the_longest_common_subsequence_in_bits_is_that_of_the_table(one: str, other: str) -> None:
    assert common_subsequence(one, other) == by_table(one, other)


def test_korean_words_are_words_and_not_nothing() -> None:
    assert rouge_tokens("나는 학교에, 갔다!") == ["나는", "학교에", "갔다"]
    assert rouge_tokens("나는 학교에", "character") == [*"나는학교에"]
    assert rouge1(["나는 학교에 간다"], [["나는 학교에 갔다"]]).value == pytest.approx(2 / 3)
    theirs = RougeScorer(["rouge1"]).score("나는 학교에 갔다", "나는 학교에 갔다")["rouge1"].fmeasure
    assert theirs == 0  # what this is for
    assert rouge1(["나는 학교에 갔다"], [["나는 학교에 갔다"]]).value == 1


def test_characters_forgive_a_korean_particle() -> None:
    predicted, gold = ["서울을 떠났다"], [["서울에서 떠났다"]]
    assert rouge1(predicted, gold).value == 0.5
    # 서울을떠났다 and 서울에서떠났다: 5 of 6 and of 7 in common; 3 pairs of 5 and of 6.
    assert (
        rouge1_characters(predicted, gold).value == rougeL_characters(predicted, gold).value == pytest.approx(10 / 13)
    )
    assert rouge2_characters(predicted, gold).value == pytest.approx(6 / 11)


def test_letters_written_in_parts_are_the_same_letters() -> None:
    text = "한국어 café"
    assert rouge_tokens(unicodedata.normalize("NFD", text)) == rouge_tokens(text) == ["한국어", "café"]


texts = st.lists(st.tuples(mixed, st.lists(mixed, min_size=1, max_size=3)), min_size=1, max_size=6)


@FIXED
@given(items=texts)
def test_bleu_and_chrf_are_sacrebleus_however_many_references(items: list[tuple[str, list[str]]]) -> None:
    predicted, gold = [text for text, _ in items], [references for _, references in items]
    most = max(map(len, gold))
    padded = [[*references, *[None] * (most - len(references))] for references in gold]
    columns = [list(column) for column in zip(*padded, strict=True)]
    theirs = sacrebleu.corpus_bleu(predicted, columns, force=True)  # pyright: ignore[reportArgumentType]
    assert bleu(predicted, gold).value == pytest.approx(theirs.score / 100, rel=1e-12, abs=1e-12)
    theirs = sacrebleu.corpus_chrf(predicted, columns)  # pyright: ignore[reportArgumentType]
    assert chrf(predicted, gold).value == pytest.approx(theirs.score / 100, rel=1e-12, abs=1e-12)


def test_the_number_says_what_it_depends_on() -> None:
    assert "tok:13a" in bleu(["a b c d e"], [["a b c d e"]]).settings
    assert "nc:6" in chrf(["a"], [["a"]]).settings
    assert bleu(["a b c d e"], [["a b c d e"]]).value == pytest.approx(1)


@pytest.mark.parametrize("metric", [rouge1, rouge2, rougeL, bleu, chrf])
def test_nothing_to_score_is_a_mistake_of_ours(metric: Callable[..., Score]) -> None:  # no split is read as empty
    with pytest.raises(AssertionError, match="no split is without a row"):
        metric([], [])


def test_exact_is_equality_with_any_reference_but_for_white_space_at_the_ends() -> None:
    found = exact(["a b", " 가 ", "A b", ""], [["a b"], ["나", "가"], ["a b"], ["x"]])
    assert found.items is not None
    assert found.items.tolist() == [1, 1, 0, 0]
    assert found.value == 0.5
