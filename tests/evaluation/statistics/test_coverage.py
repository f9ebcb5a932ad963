"""How often 95 % intervals hold the truth, in made-up studies of few seeds."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from scipy import stats

from evaluation.statistics.intervals import estimate
from tests.evaluation.statistics.simulated import made_up, multi_bootstrap, scores_of


def coverage(seeds: int, strata: tuple[str, ...], studies: int, **spreads: Any) -> float:
    """The share of made-up studies whose 95 % interval holds the truth, which is 0."""
    rng = np.random.default_rng(seeds)
    covered = 0
    for _ in range(studies):
        low, high = estimate(scores_of(made_up(rng, seeds, strata, **spreads), strata)).interval() or (1, 1)
        covered += low <= 0 <= high
    return covered / studies


@pytest.mark.parametrize("seeds", [3, pytest.param(5, marks=pytest.mark.slow), 8])
def test_95_percent_intervals_cover_93_to_97_percent(seeds: int) -> None:
    """2,000 studies have a standard error of 0.5 %."""
    share = coverage(seeds, ("a", "b") * 15, 2_000, of_seeds=0.4, of_items=0.5, of_both=0.5)
    assert 0.93 < share < 0.97


def test_pairing_makes_up_for_seeds_that_are_skewed() -> None:
    """Exponential seeds, 5 of them: 2,000 studies have a standard error of 0.5 % to 0.7 %."""
    rng, alone, paired = np.random.default_rng(0), 0, 0
    for first, second in rng.exponential(size=(2_000, 2, 5, 1)):
        one, other = scores_of(first), scores_of(second)
        difference = one.paired_with(other)
        assert difference is not None
        low, high = estimate(one).interval() or (2, 2)
        alone += low <= 1 <= high
        low, high = estimate(difference).interval() or (1, 1)
        paired += low <= 0 <= high
    assert alone / 2_000 == pytest.approx(0.88, abs=0.03)
    assert 0.94 < paired / 2_000 < 0.98


REGIMES = {
    "seeds vary": {"of_seeds": 1.0, "of_items": 1.0, "of_both": 1.0},
    "seeds and items vary alike": {"of_seeds": 0.1, "of_items": 1.0, "of_both": 1.0},
    "items vary": {"of_seeds": 0.03, "of_items": 1.0, "of_both": 0.3},
    "nothing but the residual varies": {"of_seeds": 0.0, "of_items": 0.0, "of_both": 1.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(
    ("seeds", "least", "most"), [(2, 0.94, 0.99), (3, 0.94, 0.98), (5, 0.94, 0.97), (8, 0.94, 0.97)]
)
def test_intervals_cover_whatever_varies(seeds: int, least: float, most: float, regime: str) -> None:
    share = coverage(seeds, ("a", "b", "b", "c") * 25, 10_000, **REGIMES[regime])
    assert least < share < most


def accuracies(rng: Generator, *, seeds: int, strata: int, items: int, mean: float) -> np.ndarray:
    """float64[seeds, strata * items] of 0 and 1: seeds, their gifts for strata, and items by a probit of each."""
    of_seeds = 0.06 * rng.standard_normal((seeds, 1, 1)) + 0.1 * rng.standard_normal((seeds, strata, 1))
    difficulty = 0.7 * rng.standard_normal((1, strata, items))
    return (mean + of_seeds + difficulty + rng.standard_normal((seeds, strata, items)) > 0).reshape(seeds, -1) * 1.0


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_intervals_cover_the_accuracy_of_minimal_pairs(seeds: int) -> None:
    """Right or wrong, in 12 strata of 60 pairs; the truth is the probability of the model's probit."""
    rng, covered, studies = np.random.default_rng(seeds), 0, 3_000
    truth = stats.norm.cdf(0.5 / math.sqrt(1 + 0.06**2 + 0.1**2 + 0.7**2))
    strata = tuple(f"{index // 60:02d}" for index in range(720))
    for _ in range(studies):
        values = accuracies(rng, seeds=seeds, strata=12, items=60, mean=0.5)
        low, high = estimate(scores_of(values, strata)).interval() or (1, 1)
        covered += low <= truth <= high
    assert 0.935 < covered / studies < 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "expected"), [(3, 0.75), (5, 0.85), (8, 0.90)])
def test_percentiles_of_the_multi_bootstrap_as_published_cover_too_little(seeds: int, expected: float) -> None:
    """The reason for Student's quantile: over seeds that vary, in 700 studies with a standard error of 1.6 %."""
    rng = np.random.default_rng(seeds)
    covered = 0
    for _ in range(700):
        scores = scores_of(made_up(rng, seeds, ("",), of_seeds=1, of_items=0, of_both=0))
        low, high = np.quantile(multi_bootstrap(scores, rng, resamples=400, fewer=0), [0.025, 0.975])
        covered += low <= 0 <= high
    assert covered / 700 == pytest.approx(expected, abs=0.05)
