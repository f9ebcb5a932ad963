"""Tests of a difference: against brute force and closed forms, how often they err, and what they can find."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from evaluation.statistics.intervals import Estimate, SeedScores, estimate
from evaluation.statistics.significance import (
    confirmable_margin,
    detectable_difference,
    difference_test,
    equivalence_test,
    holm,
    sign_flip,
)
from tests.evaluation.statistics.simulated import detectable_effect, numbers

FIXED = settings(deadline=None, derandomize=True, max_examples=60)
few = st.sampled_from([-2.0, -1.0, -0.3, 0.0, 0.1, 0.2, 0.3, 1.0, 3.0])  # few, so that there are ties
differences = st.lists(few, min_size=2, max_size=8).map(np.array)
p_values = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.01, 0.02, 0.05])), min_size=1, max_size=6)


def of_seeds(values: np.ndarray) -> Estimate:
    """Of one number a seed."""
    return estimate(numbers(*values.tolist()))


def t_test(values: np.ndarray, mean: float, alternative: str = "two-sided") -> float:
    """The p of scipy's."""
    return float(np.asarray(stats.ttest_1samp(values, mean, alternative=alternative))[1])


# --- the sign-flip test ---


def signed_sums(values: np.ndarray) -> np.ndarray:
    """float64[2^n] sums of the values with every choice of signs, in ascending order."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return np.sort(sums)


def flipped_by_hand(values: np.ndarray) -> float:
    """The share of the sums that are as far from 0 as the observed one; what differs by rounding is a tie."""
    sums, largest = signed_sums(values), float(np.abs(values).sum())
    return float(np.mean(np.abs(sums) >= abs(values.sum()) - 1e-9 * largest))


@given(values=differences)
@FIXED
def test_the_sign_flip_test_counts_every_flip_and_every_tie(values: np.ndarray) -> None:
    assert sign_flip(values) == flipped_by_hand(values)


@pytest.mark.parametrize("seed", range(100))
def test_the_sign_flip_test_has_the_p_of_counting_by_hand(seed: int) -> None:
    """On scores of any distribution, and on accuracies of few items, which tie."""
    rng = np.random.default_rng(seed)
    size = rng.integers(2, 11)
    scores = [rng.normal(rng.normal(), 1, size), (rng.integers(0, 30, size) - rng.integers(0, 30, size)) / 17]
    for values in scores:
        assert sign_flip(values) == flipped_by_hand(values)


@pytest.mark.parametrize(
    ("seeds", "two_sided"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125), (10, 0.001953125), (16, 2.0**-15)]
)
def test_few_seeds_have_a_least_p(seeds: int, two_sided: float) -> None:
    assert sign_flip(np.arange(1.0, seeds + 1)) == two_sided


def test_seeds_that_agree_on_nothing_have_no_evidence() -> None:
    assert sign_flip(np.zeros(4)) == 1.0


@given(values=differences, factor=st.floats(1e-6, 1e6))
@FIXED
def test_the_sign_flip_test_is_the_same_in_any_unit_and_whichever_arm_is_first(
    values: np.ndarray, factor: float
) -> None:
    assert sign_flip(values) == sign_flip(-factor * values)


def test_more_seeds_than_can_be_flipped_are_a_mistake_of_ours() -> None:  # hypotheses leave the test out
    with pytest.raises(AssertionError, match="double with each"):
        sign_flip(np.ones(17))


# --- Holm ---


def test_holm_is_as_by_hand() -> None:
    """Four p: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1 raised to the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(values=p_values)
@FIXED
def test_holm_is_the_closed_test_of_bonferroni(values: list[float]) -> None:
    """A hypothesis is rejected where Bonferroni rejects every set of hypotheses that it belongs to (Marcus 1976)."""
    everyone = range(len(values))
    sets = [group for size in range(1, len(values) + 1) for group in itertools.combinations(everyone, size)]
    for index, adjusted in enumerate(holm(values)):
        worst = max(min(1.0, len(group) * min(values[other] for other in group)) for group in sets if index in group)
        assert adjusted == pytest.approx(worst, rel=1e-12)


def test_holm_errs_once_in_twenty_studies_however_many_hypotheses_are_true() -> None:
    """12 hypotheses of which 7 are wrong; 10,000 studies have a standard error of 0.2 %."""
    rng, erred = np.random.default_rng(0), 0
    for _ in range(10_000):
        p = np.concatenate([rng.random(7), rng.random(5) * 1e-3])
        erred += min(holm(p.tolist())[:7]) <= 0.05
    assert 0.03 < erred / 10_000 < 0.055


# --- the test of a difference ---


@pytest.mark.parametrize("seeds", [2, 5, 8])
def test_the_difference_test_of_one_number_a_seed_is_the_paired_t_test(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(0.5, 1, seeds)
    assert difference_test(of_seeds(values)) == pytest.approx(t_test(values, 0), rel=1e-10)


def rejections(seeds: int, items: int, studies: int, *, mean: float, spreads: tuple[float, float, float]) -> float:
    """The share of studies with p at most 0.05, of differences with the standard deviations of seeds, items, both."""
    rng = np.random.default_rng(seeds)
    rejected = 0
    for _ in range(studies):
        values = (
            mean
            + spreads[0] * rng.standard_normal((seeds, 1))
            + spreads[1] * rng.standard_normal((1, items))
            + spreads[2] * rng.standard_normal((seeds, items))
        )
        scores = SeedScores(values=values, seeds=tuple(range(seeds)), strata=("",) * items)
        rejected += difference_test(estimate(scores)) <= 0.05
    return rejected / studies


@pytest.mark.parametrize("seeds", [3, pytest.param(5, marks=pytest.mark.slow), 8])
def test_the_difference_test_errs_at_most_once_in_twenty_studies(seeds: int) -> None:
    """With items that are alike for all seeds, which a t test over the seeds alone takes for an effect."""
    share = rejections(seeds, 40, 1_000, mean=0, spreads=(0.2, 0.8, 0.5))
    assert 0.02 < share < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1_000)


def test_a_t_test_over_seeds_alone_would_take_items_for_an_effect() -> None:
    rng = np.random.default_rng(0)
    by_seed = (0.2 * rng.standard_normal((500, 5, 1)) + 0.8 * rng.standard_normal((500, 1, 40))).mean(2)
    assert np.mean([t_test(values, 0) <= 0.05 for values in by_seed]) > 0.10


# --- equivalence ---


@pytest.mark.parametrize("margin", [0.2, 1.0, 3.0])
def test_equivalence_is_two_one_sided_t_tests(margin: float) -> None:
    values = np.random.default_rng(3).normal(0.1, 0.6, 6)
    above = t_test(values, -margin, "greater")
    below = t_test(values, margin, "less")
    assert equivalence_test(of_seeds(values), margin) == pytest.approx(max(above, below), rel=1e-10)


@given(values=st.lists(st.floats(-1, 1), min_size=3, max_size=8, unique=True), margin=st.floats(0.01, 2))
@FIXED
def test_equivalence_is_found_where_the_90_percent_interval_lies_within_the_margin(
    values: list[float], margin: float
) -> None:
    found = of_seeds(np.array(values))
    if found.seed_variance == 0:
        return
    low, high = found.interval(0.9) or (0, 0)
    p = equivalence_test(found, margin)
    assert abs(p - 0.05) < 1e-9 or (p < 0.05) == (-margin < low and high < margin)


def test_arms_that_differ_by_the_margin_are_called_equivalent_once_in_twenty_studies() -> None:
    rng = np.random.default_rng(0)
    found = [equivalence_test(of_seeds(values), 2.0) <= 0.05 for values in rng.normal(2.0, 0.7, (1_500, 6))]
    assert np.mean(found) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 1_500))


# --- what can be found ---


@pytest.mark.parametrize(
    ("seeds", "alone", "among_twelve"),
    [(3, 3.27, 11.3), (5, 1.68, 3.30), (6, 1.43, 2.55), (8, 1.15, 1.86), (10, 1.00, 1.52), (25, 0.58, 0.81)],
)
def test_minimum_detectable_effects_are_those_simulated_for_the_protocol(
    seeds: int, alone: float, among_twelve: float
) -> None:
    assert detectable_effect(seeds) == pytest.approx(alone, rel=0.01)
    assert detectable_effect(seeds, alpha=0.05 / 12) == pytest.approx(among_twelve, rel=0.01)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.05 / 12])
@pytest.mark.parametrize("seeds", [2, 3, 5, 8, 25])
def test_power_at_the_minimum_detectable_effect_is_80_percent(seeds: int, alpha: float) -> None:
    """By integration over the standard deviations that a study may see, significance on the wrong side with it."""
    bound = -special.stdtrit(seeds - 1, alpha / 2)
    center = detectable_effect(seeds, alpha=alpha) * math.sqrt(seeds)

    def significant(share: float) -> float:
        seen = bound * math.sqrt(special.chdtri(seeds - 1, 1 - share) / (seeds - 1))
        return float(special.ndtr(center - seen) + special.ndtr(-seen - center))

    assert integrate.quad(significant, 0, 1, limit=200)[0] == pytest.approx(0.8, abs=2e-5)


@pytest.mark.parametrize("seeds", [3, 8])
def test_power_at_the_minimum_detectable_effect_is_80_percent_in_simulated_studies(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(detectable_effect(seeds), 1, (2_000, seeds))
    found = [difference_test(of_seeds(row)) <= 0.05 for row in values]
    assert np.mean(found) == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 2_000))


@given(values=st.lists(st.integers(-50, 50), min_size=2, max_size=8, unique=True))
@FIXED
def test_a_detectable_difference_is_the_effect_times_the_standard_deviation(values: list[int]) -> None:
    expected = detectable_effect(len(values)) * np.std(values, ddof=1)
    assert detectable_difference(of_seeds(np.array(values, dtype=float))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("spreads", [(1.0, 1.0, 1.0), (0.15, 1.0, 1.0), (0.03, 1.0, 0.3)])
def test_a_detectable_difference_counts_the_items_as_well(spreads: tuple[float, float, float]) -> None:
    """At the variances of all studies, it is found in 80 of 100 of them, or in a few more."""
    seeds, items = 5, 60
    truth = Estimate(
        mean=0.0,
        num_seeds=seeds,
        seed_variance=(spreads[0] ** 2 + spreads[2] ** 2 / items) / seeds,
        item_variance=spreads[1] ** 2 / items,
        item_freedom=items - 1,
    )
    power = rejections(seeds, items, 1_000, mean=detectable_difference(truth), spreads=spreads)
    assert 0.8 - 3 * 0.013 < power < 0.92


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_arms_that_do_not_differ_are_confirmed_within_the_margin_in_80_percent_of_studies(seeds: int) -> None:
    truth = Estimate(mean=0.0, num_seeds=seeds, seed_variance=1 / seeds, item_variance=0.0, item_freedom=0)
    margin = confirmable_margin(truth)
    values = np.random.default_rng(seeds).normal(0, 1, (1_000, seeds))
    found = [equivalence_test(of_seeds(row), margin) <= 0.05 for row in values]
    assert np.mean(found) == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 1_000))
