"""Made-up scores of seeds and items, and the Multi-Bootstrap as its paper has it, to hold ours against."""

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from evaluation.statistics.intervals import Estimate, SeedScores
from evaluation.statistics.significance import ALPHA, detectable_difference


def made_up(
    rng: Generator, seeds: int, strata: tuple[str, ...], *, of_seeds: float, of_items: float, of_both: float
) -> np.ndarray:
    """float64[seeds, items] around 0, with the standard deviations of seeds, items and the residual."""
    items = len(strata)
    return (
        of_seeds * rng.standard_normal((seeds, 1))
        + of_items * rng.standard_normal((1, items))
        + of_both * rng.standard_normal((seeds, items))
    )


def scores_of(values: np.ndarray, strata: tuple[str, ...] | None = None) -> SeedScores:
    return SeedScores(values=values, seeds=tuple(range(len(values))), strata=strata or ("",) * values.shape[1])


def multi_bootstrap(scores: SeedScores, rng: Generator, *, resamples: int, fewer: int) -> np.ndarray:
    """float64[resamples] means over seeds, and items by stratum, drawn with replacement (Sellam et al. 2022, 3).

    `fewer` than there are: 0 as published, 1 for an unbiased variance.
    """
    strata = np.array(scores.strata)
    groups = [np.flatnonzero(strata == name) for name in dict.fromkeys(scores.strata)]
    means = []
    for _ in range(resamples):
        seeds = rng.choice(len(scores.seeds), size=len(scores.seeds) - fewer)
        drawn = [rng.choice(group, size=max(len(group) - fewer, 1)) for group in groups]
        means.append(np.mean([scores.values[np.ix_(seeds, items)].mean() for items in drawn]))
    return np.array(means)


def of_numbers(by_seed: Mapping[int, float]) -> SeedScores:
    """One number a run, by seed: a single item."""
    seeds = tuple(sorted(by_seed))
    return SeedScores(values=np.array([[by_seed[seed]] for seed in seeds], dtype=float), seeds=seeds, strata=("",))


def numbers(*values: float) -> SeedScores:
    """One number a seed."""
    return of_numbers(dict(enumerate(values)))


def detectable_effect(num_seeds: int, *, alpha: float = ALPHA) -> float:
    """The minimum detectable effect of a two-sided paired t test, in standard deviations of the paired difference."""
    unit = Estimate(mean=0.0, num_seeds=num_seeds, seed_variance=1 / num_seeds, item_variance=0.0, item_freedom=0)
    return detectable_difference(unit, alpha=alpha)
