"""From the scores of single runs to those of arms: means over seeds with their intervals."""

import math
from collections.abc import Mapping

import numpy as np

from evaluation.record.record import BoundRecord, SummaryRecord
from evaluation.scoring.results import EvaluationResult
from evaluation.statistics.intervals import SeedScores, estimate

OfRuns = Mapping[str, Mapping[int, Mapping[str, EvaluationResult]]]  # by arm, seed and metric


def scores_of(results: OfRuns) -> dict[str, dict[str, SeedScores]]:
    """The scores of all runs, by metric and then by arm.

    A run that has no finite score on a metric, as one that diverged, has none: the seed is missing from that arm.

    Raises:
        UserError: where the runs of an arm were scored on different items.
    """
    by_metric: dict[str, dict[str, SeedScores]] = {}
    metrics = dict.fromkeys(metric for seeds in results.values() for found in seeds.values() for metric in found)
    for metric in metrics:
        for arm, seeds in results.items():
            has = {seed: found[metric] for seed, found in seeds.items() if metric in found}
            finite = {seed: result for seed, result in has.items() if np.isfinite(result.scores).all()}
            if finite:
                by_metric.setdefault(metric, {})[arm] = SeedScores.of(finite)
    return by_metric


def bounds_of(results: OfRuns) -> dict[tuple[str, str], BoundRecord]:
    """For each metric and arm whose scores are upper bounds, the fewest draws, and the error of the mean over seeds."""
    found: dict[tuple[str, str], list[BoundRecord]] = {}
    for arm, seeds in results.items():
        for of_run in seeds.values():
            for metric, result in of_run.items():
                if result.bound is not None:
                    found.setdefault((metric, arm), []).append(result.bound)
    return {
        key: BoundRecord(
            draws=min(bound.draws for bound in bounds),
            error=math.sqrt(sum(bound.error**2 for bound in bounds)) / len(bounds),
        )
        for key, bounds in found.items()
    }


def summaries(
    scores: Mapping[str, Mapping[str, SeedScores]],
    *,
    bounds: Mapping[tuple[str, str], BoundRecord] | None = None,
    budget: float | None = None,
) -> tuple[SummaryRecord, ...]:
    """The mean of every arm on every metric with its 95 % interval.

    Args:
        scores: by metric and arm.
        bounds: those that are upper bounds, as `bounds_of` finds them.
        budget: of runs that branched off.
    """
    records = []
    for metric, arms in scores.items():
        for arm, of_arm in arms.items():
            found = estimate(of_arm)
            low, high = found.interval() or (None, None)
            records.append(
                SummaryRecord(
                    arm=arm,
                    metric=metric,
                    seeds=found.num_seeds,
                    mean=found.mean,
                    low=low,
                    high=high,
                    budget=budget,
                    bound=(bounds or {}).get((metric, arm)),
                )
            )
    return tuple(records)
