"""Means with intervals: what would come out with other seeds and other items (Multi-Bootstrap, Sellam et al. 2022).

A claim about an objective is one about all the runs it could have had, so the pretraining seed is the unit. The
Multi-Bootstrap resamples seeds, and items within each stratum, both for all runs alike. Of a mean it need not be drawn:
what it converges to is a sum of variances, computed here. It has no noise of its own then, and does not depend on the
order of seeds and items. Three things are set right, so that few seeds are covered too:

1. Its variance between n seeds is (n - 1) / n of the unbiased one. That of n - 1 seeds drawn out of n is right (Rao and
   Wu 1988), and so is that of n - 1 items drawn out of n.
2. It has the residual of seed and item three times: among the seeds, among the items and by itself (Owen 2007). Among
   the seeds is where it belongs; it is taken from the items' variance.
3. Its quantiles take the variances for known. Here the seeds' half-width has Student's quantile with n - 1 degrees of
   freedom, the items' has theirs, and the two are added in quadrature (Howe 1974).

With one item a seed this is the t interval. In simulations 95 % intervals cover 94 to 97 % with 5 to 8 seeds, 95 to
98 % with 3, 95 to 99 % with 2, whichever of seeds and items varies more; percentiles of the Multi-Bootstrap as
published cover 75 % with 3 seeds and 85 % with 5. Seeds must not be too skewed: exponential ones are covered 88 %, the
difference of two arms of them 96 %. `tests/evaluation/statistics/test_coverage.py` holds all this.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy import optimize, special

from common.errors import UserError
from evaluation.scoring.results import EvaluationResult

ROUNDING = 1e-9  # of the largest score: seeds that differ by less do not differ


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedScores:
    """What the runs of one arm scored on one metric, or by how much those of two arms differ.

    Args:
        values: float64[seeds, items], an item being the same in every row.
        seeds: of the rows, in ascending order.
        strata: a name for each item; each counts alike in the mean, whatever the number of its items.

    Raises:
        UserError: for a score that is not finite.
    """

    values: np.ndarray
    seeds: tuple[int, ...]
    strata: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.values.shape == (len(self.seeds), len(self.strata))
        assert self.values.size
        assert list(self.seeds) == sorted(set(self.seeds))
        for seed, row in zip(self.seeds, self.values, strict=True):
            if (odd := row[~np.isfinite(row)]).size:
                raise UserError(
                    f"a score of seed {seed} is {odd[0]}, and scores must be finite: leave the run out, and report it "
                    f"as failed"
                )

    @classmethod
    def of(cls, results: Mapping[int, EvaluationResult]) -> Self:
        """The scores of an arm's runs by seed, at least one.

        Raises:
            UserError: where they are not scores of the same items.
        """
        seeds = sorted(results)
        strata = results[seeds[0]].strata
        for seed in seeds:
            if results[seed].strata != strata:
                raise UserError(
                    f"{results[seed].metric}: seeds {seeds[0]} and {seed} were scored on different items "
                    f"({len(strata)} and {len(results[seed].strata)} of them): score both on the same files"
                )
        rows = [np.asarray(results[seed].scores, dtype=np.float64) for seed in seeds]
        return cls(values=np.stack(rows), seeds=tuple(seeds), strata=strata)

    def paired_with(self, other: Self) -> Self | None:
        """Its difference from the other, item by item, for the seeds that both have; None where there is none.

        Raises:
            UserError: where the items are not the same.
        """
        if self.strata != other.strata:
            raise UserError(
                f"scores of {len(self.strata)} and of {len(other.strata)} items, or of other strata, have no "
                f"difference: score both arms on the same files"
            )
        common = tuple(sorted(set(self.seeds) & set(other.seeds)))
        if not common:
            return None
        rows = [self.values[self.seeds.index(seed)] - other.values[other.seeds.index(seed)] for seed in common]
        return type(self)(values=np.stack(rows), seeds=common, strata=self.strata)

    @cached_property
    def by_stratum(self) -> dict[str, np.ndarray]:
        """float64[seeds], the mean over each stratum's items."""
        names, members = np.unique(self.strata, return_inverse=True)
        return {str(name): self.values[:, members == index].mean(axis=1) for index, name in enumerate(names)}

    @property
    def by_seed(self) -> np.ndarray:
        """float64[seeds], the macro mean of each run: of its strata's means."""
        return np.mean(list(self.by_stratum.values()), axis=0)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean, and how far it may lie from that over all seeds and items.

    Attributes:
        mean: over seeds and strata.
        num_seeds: that it is the mean of.
        seed_variance: of the mean, from the seeds; 0 of one seed, where it is unknown.
        item_variance: of the mean, from the items beyond what the seeds' has of them; strata of one item have none.
        item_freedom: degrees of freedom of the latter.
    """

    mean: float
    num_seeds: int
    seed_variance: float
    item_variance: float
    item_freedom: int

    def spread(self, factor: Callable[[int], float]) -> float:
        """The standard errors of seeds and items, each times the factor of its degrees of freedom, in quadrature."""
        assert self.num_seeds > 1
        variance = factor(self.num_seeds - 1) ** 2 * self.seed_variance
        if self.item_variance:
            variance += factor(self.item_freedom) ** 2 * self.item_variance
        return math.sqrt(variance)

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Low and high end; None for one seed, which does not show how far seeds lie apart."""
        if self.num_seeds < 2:
            return None
        half_width = self.spread(lambda freedom: -special.stdtrit(freedom, (1 - level) / 2))
        return self.mean - half_width, self.mean + half_width

    def tail(self, distance: float) -> float:
        """One-sided p: how often a mean lies above the truth by `distance` or more.

        It agrees with the intervals: one of level 1 - 2p is `distance` to either side. Seeds must differ.
        """
        assert self.num_seeds > 1
        assert self.seed_variance > 0
        if distance <= 0:
            return 0.5 if distance == 0 else 1 - self.tail(-distance)
        if not self.item_variance:
            return float(special.stdtr(self.num_seeds - 1, -distance / math.sqrt(self.seed_variance)))

        def excess(log_p: float) -> float:
            return self.spread(lambda freedom: -special.stdtrit(freedom, math.exp(log_p))) - distance

        error = math.sqrt(self.seed_variance + self.item_variance)
        lowest = max(float(special.log_ndtr(-distance / error)), -690.0)  # Student's tails are above the normal one
        if excess(lowest) <= 0:
            return math.exp(lowest)
        found = optimize.root_scalar(excess, bracket=(lowest, math.log(0.5)), method="brentq", xtol=1e-12)
        return math.exp(found.root)


def estimate(scores: SeedScores) -> Estimate:
    """The mean over seeds, and over items by stratum, with its variances.

    Of seeds s and items i in K strata of n items, with m_s a run's macro mean, c_i an item's mean less its stratum's,
    and e_si the residual: the seeds' variance is var(m_s) / S, the items' is the sum over strata of sum c_i^2 /
    (K^2 n (n - 1)), less that of sum e_si^2 / (K^2 n (n - 1) S (S - 1)), and not below 0.
    """
    by_seed, num_seeds = scores.by_seed, len(scores.seeds)
    names, members, sizes = np.unique(scores.strata, return_inverse=True, return_counts=True)
    seed_variance = item_variance = 0.0
    if num_seeds > 1:
        if np.ptp(by_seed) > ROUNDING * np.abs(scores.values).max():
            seed_variance = float(by_seed.var(ddof=1) / num_seeds)
        means = np.stack(list(scores.by_stratum.values()), axis=1)
        deviations = scores.values - means[:, members]
        of_items = deviations.mean(axis=0)
        residual = ((deviations - of_items) ** 2).sum(axis=0) / (num_seeds * (num_seeds - 1))
        weights = 1 / (len(names) ** 2 * sizes * np.maximum(sizes - 1, 1))  # an item alone deviates from nothing
        item_variance = max(0.0, float((weights[members] * (of_items**2 - residual)).sum()))
    return Estimate(
        mean=float(by_seed.mean()),
        num_seeds=num_seeds,
        seed_variance=seed_variance,
        item_variance=item_variance,
        item_freedom=len(scores.strata) - len(names),
    )
