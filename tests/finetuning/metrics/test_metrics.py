"""Metrics: equal to the implementations that papers report with, on predictions at random and at their worst."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import seqeval.metrics
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.scheme import IOB2

from common.errors import UserError
from finetuning.metrics.metrics import (
    Score,
    accuracy,
    answer_f1,
    bits_per_byte,
    exact_match,
    f1,
    korquad_exact_match,
    korquad_f1,
    macro_f1,
    mcc,
    micro_f1,
    pearson,
    span_f1,
    spearman,
)
from finetuning.metrics.spans import to_bio

FIXED = settings(deadline=None, derandomize=True, max_examples=30)

# Their annotations know neither numbers for zero_division nor which type comes out.
learn: Any = sklearn.metrics
sequences: Any = seqeval.metrics
statistics: Any = scipy.stats
Oracle = Callable[[np.ndarray, np.ndarray], float]
ids = st.integers(0, 3)
pairs = st.lists(st.tuples(ids, st.integers(-1, 3)), min_size=1, max_size=30)
sets = st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=20)


def close(ours: Score, theirs: float) -> None:
    assert ours.value == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    if ours.items is not None:
        assert ours.items.mean() == ours.value


# --- labels: scikit-learn ---

OF_LABELS: dict[str, tuple[Callable[..., Score], Oracle]] = {
    "accuracy": (accuracy, lambda predicted, gold: learn.accuracy_score(gold, predicted)),
    "macro_f1": (macro_f1, lambda predicted, gold: learn.f1_score(gold, predicted, average="macro", zero_division=0)),
    "micro_f1": (micro_f1, lambda predicted, gold: learn.f1_score(gold, predicted, average="micro", zero_division=0)),
    "mcc": (mcc, lambda predicted, gold: learn.matthews_corrcoef(gold, predicted)),
}


@pytest.mark.parametrize("name", OF_LABELS)
@FIXED
@given(items=pairs)
def test_metrics_of_one_label_a_text_are_those_of_scikit_learn(name: str, items: list[tuple[int, int]]) -> None:
    predicted, gold = np.array(items).T
    ours, theirs = OF_LABELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn remarks on labels that occur once only
        close(ours(predicted, gold), theirs(predicted, gold))


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "micro_f1"])
@FIXED
@given(items=sets)
def test_metrics_of_several_labels_a_text_are_those_of_scikit_learn(name: str, items: list[tuple[bool, ...]]) -> None:
    both = np.array(items)
    predicted, gold = both[:, :3], both[:, 3:]
    ours, theirs = OF_LABELS[name]
    close(ours(predicted, gold), theirs(predicted, gold))


@FIXED
@given(items=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=20))
def test_f1_of_two_labels_is_that_of_the_second(items: list[tuple[int, int]]) -> None:
    predicted, gold = np.array(items).T
    score = f1(predicted, gold)
    close(score, learn.f1_score(gold, predicted, zero_division=0))
    assert score.parts["precision"] == pytest.approx(learn.precision_score(gold, predicted, zero_division=0))
    assert score.parts["recall"] == pytest.approx(learn.recall_score(gold, predicted, zero_division=0))


def test_f1_of_more_labels_than_two_is_a_mistake_of_ours() -> None:  # the task refuses such a metric
    with pytest.raises(AssertionError, match="two labels"):
        f1([0, 2], [0, 1])
    with pytest.raises(AssertionError, match="one label an item"):
        f1([[True, False]], [[True, True]])


def test_a_label_never_seen_in_training_is_never_right() -> None:
    assert accuracy([0, 1], [0, -1]).value == 0.5
    assert macro_f1([0, 1], [0, -1]).value == pytest.approx(1 / 3)  # of 0, 1 and the unseen one
    assert f1([0, 1], [0, -1]).value == 0


def test_matthews_correlation_of_a_hundred_thousand_texts_does_not_overflow() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 100_000).astype(np.int32)
    predicted = np.where(rng.random(len(gold)) < 0.5, gold, rng.integers(0, 3, len(gold))).astype(np.int32)
    close(mcc(predicted, gold), learn.matthews_corrcoef(gold, predicted))


# --- numbers: scipy ---


@FIXED
@given(
    items=st.lists(
        st.tuples(st.integers(-50, 50).map(lambda n: n / 10), st.integers(0, 5).map(float)), min_size=2, max_size=30
    )
)
def test_correlations_are_those_of_scipy(items: list[tuple[float, float]]) -> None:
    predicted, gold = np.array(items).T
    if np.ptp(predicted) == 0 or np.ptp(gold) == 0:
        assert pearson(predicted, gold).value == spearman(predicted, gold).value == 0
    else:
        close(pearson(predicted, gold), statistics.pearsonr(predicted, gold)[0])
        close(spearman(predicted, gold), statistics.spearmanr(predicted, gold)[0])


def test_a_constant_prediction_correlates_with_nothing() -> None:
    assert pearson([1.0, 1.0], [0.0, 1.0]).value == 0
    assert spearman([1.0], [1.0]).value == 0


# --- entities: seqeval ---

TAGS = ["O", "B-a", "I-a", "B-b", "I-b"]
sentences = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8), min_size=1, max_size=6
)


def both_sides(items: list[list[tuple[str, str]]]) -> tuple[list[list[str]], list[list[str]]]:
    return [[tag for tag, _ in row] for row in items], [[tag for _, tag in row] for row in items]


@FIXED
@given(items=sentences)
def test_span_f1_is_that_of_seqeval_whatever_the_tags(items: list[list[tuple[str, str]]]) -> None:
    predicted, gold = both_sides(items)
    score = span_f1(predicted, gold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval remarks on kinds that are never predicted
        close(score, float(sequences.f1_score(gold, predicted, zero_division=0)))
        assert score.parts["precision"] == pytest.approx(
            sequences.precision_score(gold, predicted, zero_division=0), abs=1e-12
        )
        assert score.parts["recall"] == pytest.approx(
            sequences.recall_score(gold, predicted, zero_division=0), abs=1e-12
        )
        report = sequences.classification_report(gold, predicted, output_dict=True, zero_division=0)
    kinds = {name.removeprefix("f1/"): value for name, value in score.parts.items() if name.startswith("f1/")}
    assert set(kinds) == set(report) - {"micro avg", "macro avg", "weighted avg"}
    for kind, value in kinds.items():
        assert value == pytest.approx(report[kind]["f1-score"], abs=1e-12)


@FIXED
@given(items=sentences)
def test_span_f1_of_tags_that_follow_is_that_of_seqevals_strict_mode(items: list[list[tuple[str, str]]]) -> None:
    predicted, gold = ([list(to_bio(row)[0]) for row in side] for side in both_sides(items))
    if any(tag != "O" for row in gold for tag in row) and any(tag != "O" for row in predicted for tag in row):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            strict = sequences.f1_score(gold, predicted, mode="strict", scheme=IOB2, zero_division=0)
        close(span_f1(predicted, gold), float(strict))


def test_an_entity_is_right_only_where_kind_beginning_and_end_are() -> None:
    gold = ["B-a", "I-a", "O", "B-b"]
    for predicted, wanted in [(gold, 1.0), (["B-a", "O", "O", "B-b"], 0.5), (["B-b", "I-b", "O", "B-b"], 0.5)]:
        assert span_f1([predicted], [gold]).value == wanted
    assert span_f1([["O"] * 4], [gold]).value == 0


# --- text ---


def test_bits_per_byte_of_a_uniform_guess_over_bytes_are_eight() -> None:
    lengths = [5, 12, 1]
    assert bits_per_byte([length * math.log(256) for length in lengths], lengths).value == pytest.approx(8, rel=1e-14)


OF_ITEMS = [accuracy, macro_f1, micro_f1, f1, mcc, pearson, spearman, span_f1]
OF_ANSWERS = [exact_match, answer_f1, korquad_exact_match, korquad_f1]


@pytest.mark.parametrize("metric", [*OF_ITEMS, *OF_ANSWERS])
def test_nothing_to_score_is_a_mistake_of_ours(metric: Callable[..., Score]) -> None:  # no split is read as empty
    with pytest.raises(AssertionError, match="no split is without a row"):
        metric([], [])


def test_texts_without_a_byte_are_refused() -> None:
    with pytest.raises(UserError, match="nothing to score: no text has a byte"):
        bits_per_byte([0.0], [0])
