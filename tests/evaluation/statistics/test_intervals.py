"""Means with intervals: the closed form against the procedure that it stands for, and against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.scoring.results import EvaluationResult
from evaluation.statistics.intervals import SeedScores, estimate
from tests.evaluation.statistics.simulated import made_up, multi_bootstrap, of_numbers, scores_of

FIXED = settings(deadline=None, derandomize=True, max_examples=60)
STRATA = ("a",) * 4 + ("b",) * 6 + ("c",)  # the last with an item alone


def result(values: list[float], strata: tuple[str, ...]) -> EvaluationResult:
    """Of one run."""
    return EvaluationResult(
        metric="pairs",
        scores=np.array(values),
        strata=strata,
        mean=0.0,
        higher_is_better=True,
        rankable=True,
    )


@st.composite
def some_scores(draw: st.DrawFn) -> SeedScores:
    """Of up to 7 seeds and 12 items in up to 4 strata."""
    items, seeds = draw(st.integers(1, 12)), draw(st.integers(2, 7))
    strata = tuple(draw(st.lists(st.sampled_from("abcd"), min_size=items, max_size=items)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spreads = {name: draw(st.sampled_from([0.1, 1.0])) for name in ("of_seeds", "of_items", "of_both")}
    return scores_of(made_up(rng, seeds, strata, **spreads), strata)


# --- what a mean is of ---


def test_every_stratum_counts_alike_whatever_its_number_of_items() -> None:
    scores = scores_of(np.array([[1.0, 1, 1, 0], [1, 0, 0, 0]]), ("many", "many", "many", "few"))
    assert scores.by_seed == pytest.approx([1 / 2, 1 / 6])
    assert estimate(scores).mean == pytest.approx(1 / 3)


def test_a_difference_is_of_the_seeds_that_both_arms_have() -> None:
    first = SeedScores.of({seed: result([seed, 2.0 * seed], ("a", "b")) for seed in (3, 0, 1)})
    second = SeedScores.of({seed: result([1.0, 1.0], ("a", "b")) for seed in (1, 2, 3)})
    difference = first.paired_with(second)
    assert difference is not None
    assert difference.seeds == (1, 3)
    assert (difference.values == [[0, 1], [2, 5]]).all()


def test_arms_without_a_seed_in_common_have_no_difference() -> None:
    assert of_numbers({0: 1.0}).paired_with(of_numbers({1: 1.0})) is None


def test_scores_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pairs: seeds 0 and 1 were scored on different items \(2 and 1 of them\)"):
        SeedScores.of({0: result([1.0, 0.0], ("a", "a")), 1: result([1.0], ("a",))})
    with pytest.raises(ValueError, match="scores of 1 and of 2 items"):
        SeedScores.of({0: result([1.0], ("a",))}).paired_with(SeedScores.of({0: result([1.0, 0.0], ("a", "a"))}))


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match=f"a score of seed 4 is {score}"):
        of_numbers({2: 0.5, 4: score})


# --- the closed form ---


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_with_one_number_a_seed_the_interval_is_students(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    first, second = rng.normal(0.3, 1, seeds), rng.normal(0, 1, seeds)
    arms = [of_numbers(dict(enumerate(values.tolist()))) for values in (first, second)]
    difference = arms[0].paired_with(arms[1])
    assert difference is not None
    found, reference = estimate(difference), stats.ttest_rel(first, second)
    assert found.interval() == pytest.approx(tuple(reference.confidence_interval()), rel=1e-10)
    assert 2 * found.tail(abs(found.mean)) == pytest.approx(reference.pvalue, rel=1e-10)


@given(scores=some_scores())
@FIXED
def test_the_variances_are_those_of_a_two_way_analysis_of_variance(scores: SeedScores) -> None:
    """Mean squares of seeds, items and the residual, stratum by stratum, in loops."""
    values, strata = scores.values, np.array(scores.strata)
    names = sorted(set(scores.strata))
    num_seeds = len(scores.seeds)
    of_items = of_residual = 0.0
    for name in names:
        block = values[:, strata == name]
        n = block.shape[1]
        if n == 1:
            continue
        grand = block.mean()
        items = num_seeds * sum((block[:, i].mean() - grand) ** 2 for i in range(n)) / (n - 1)
        residual = sum(
            (block[s, i] - block[s].mean() - block[:, i].mean() + grand) ** 2
            for s in range(num_seeds)
            for i in range(n)
        ) / ((num_seeds - 1) * (n - 1))
        of_items += items / (num_seeds * n * len(names) ** 2)
        of_residual += residual / (num_seeds * n * len(names) ** 2)
    macro = [np.mean([values[s, strata == name].mean() for name in names]) for s in range(num_seeds)]
    found = estimate(scores)
    assert found.mean == pytest.approx(np.mean(macro), abs=1e-12)
    assert found.seed_variance == pytest.approx(np.var(macro, ddof=1) / num_seeds, rel=1e-9)
    assert found.item_variance == pytest.approx(max(0.0, of_items - of_residual), rel=1e-9, abs=1e-12)
    assert found.item_freedom == len(strata) - len(names)


def test_resampling_seeds_and_items_comes_to_the_closed_form() -> None:
    """The Multi-Bootstrap drawn from one seed and one item fewer has the variance of the seeds, plus the items', plus
    twice the residual's: the items' variance here is that of their means less the residual.
    """
    strata = STRATA * 3
    values = made_up(np.random.default_rng(1), 5, strata, of_seeds=0.5, of_items=1, of_both=0.3)
    scores = scores_of(values, strata)
    found = estimate(scores)
    drawn = multi_bootstrap(scores, np.random.default_rng(2), resamples=6_000, fewer=1)
    names = sorted(set(strata))
    residual = 0.0
    for name in names:
        block = values[:, np.array(strata) == name]
        left = block - block.mean(1, keepdims=True) - block.mean(0) + block.mean()
        n = block.shape[1]
        residual += float((left**2).sum()) / (5 * 4 * n * (n - 1) * len(names) ** 2)
    expected = found.seed_variance + found.item_variance + 2 * residual
    assert drawn.mean() == pytest.approx(found.mean, abs=4 * math.sqrt(expected / len(drawn)))
    assert drawn.var() == pytest.approx(expected, rel=4 * math.sqrt(2 / len(drawn)))  # 4 standard errors


def test_with_many_seeds_the_interval_is_that_of_the_multi_bootstrap_as_published() -> None:
    """25 seeds, as of Sellam et al.: Student's quantile is 5 % above the normal one, n / (n - 1) adds 2 %."""
    strata = ("a", "b") * 100
    scores = scores_of(made_up(np.random.default_rng(5), 25, strata, of_seeds=0.2, of_items=1, of_both=0.3), strata)
    drawn = multi_bootstrap(scores, np.random.default_rng(6), resamples=6_000, fewer=0)
    low, high = estimate(scores).interval() or (0, 0)
    as_published = np.quantile(drawn, [0.025, 0.975])
    assert 1 <= (high - low) / np.diff(as_published)[0] < 1.1
    assert (low + high) / 2 == pytest.approx(as_published.mean(), abs=0.05 * (high - low))


@given(scores=some_scores(), data=st.data())
@FIXED
def test_the_order_of_items_and_seeds_means_nothing(scores: SeedScores, data: st.DataObject) -> None:
    items = data.draw(st.permutations(range(len(scores.strata))))
    seeds = data.draw(st.permutations(range(len(scores.seeds))))
    shuffled = scores_of(scores.values[np.ix_(seeds, items)], tuple(scores.strata[item] for item in items))
    found, other = estimate(scores), estimate(shuffled)
    assert other.mean == pytest.approx(found.mean, abs=1e-12)
    assert other.interval() == pytest.approx(found.interval(), rel=1e-9, abs=1e-12)


@given(scores=some_scores(), factor=st.floats(0.01, 100), shift=st.floats(-10, 10))
@FIXED
def test_an_interval_follows_its_scores_units(scores: SeedScores, factor: float, shift: float) -> None:
    low, high = estimate(scores).interval() or (0, 0)
    moved = scores_of(factor * scores.values + shift, scores.strata)
    expected = (factor * low + shift, factor * high + shift)
    assert estimate(moved).interval() == pytest.approx(expected, rel=1e-6, abs=1e-6 * factor)


@given(first=some_scores(), seed=st.integers(0, 100))
@FIXED
def test_the_difference_the_other_way_round_is_its_mirror_image(first: SeedScores, seed: int) -> None:
    second = scores_of(np.random.default_rng(seed).normal(size=first.values.shape), first.strata)
    one, other = first.paired_with(second), second.paired_with(first)
    assert one is not None
    assert other is not None
    low, high = estimate(one).interval() or (0, 0)
    assert estimate(other).interval() == pytest.approx((-high, -low), abs=1e-12)


@given(scores=some_scores(), level=st.floats(0.5, 0.9999))
@FIXED
def test_a_p_value_and_an_interval_agree(scores: SeedScores, level: float) -> None:
    found = estimate(scores)
    low, high = found.interval(level) or (0, 0)
    assert 2 * found.tail((high - low) / 2) == pytest.approx(1 - level, rel=1e-6)
    assert found.tail((low - high) / 2) == pytest.approx(1 - (1 - level) / 2, rel=1e-6)
    assert found.tail(0) == 0.5


def test_a_p_value_is_right_however_small() -> None:
    found = estimate(of_numbers({0: 1.0, 1: 1.0 + 1e-7, 2: 1.0 - 1e-7}))
    _, reference = np.asarray(stats.ttest_1samp([1, 1 + 1e-7, 1 - 1e-7], 0))
    assert 2 * found.tail(1) == pytest.approx(reference, rel=1e-5)
    many = estimate(scores_of(5 + 0.1 * np.random.default_rng(0).standard_normal((8, 4_000)) ** 2))
    assert 0 < many.tail(many.mean) < 1e-12


def test_one_seed_has_no_interval() -> None:
    found = estimate(scores_of(np.random.default_rng(0).normal(size=(1, 50))))
    assert found.interval() is None


def test_a_baseline_without_a_seed_has_the_interval_of_its_items() -> None:
    """As one that counts words has: all its runs say the same."""
    row = np.random.default_rng(0).normal(size=400)
    low, high = estimate(scores_of(np.stack([row] * 3))).interval() or (0, 0)
    assert (low, high) == pytest.approx(tuple(stats.ttest_1samp(row, 0).confidence_interval()), rel=1e-9)


def test_equal_seeds_do_not_differ_by_rounding() -> None:
    numbers = {seed: 0.1 * (seed + 3) - 0.1 * seed for seed in range(5)}
    assert len(set(numbers.values())) > 1
    assert estimate(of_numbers(numbers)).seed_variance == 0
