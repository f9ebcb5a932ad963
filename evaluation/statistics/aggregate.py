"""From the scores of single runs to those of arms: means over seeds with their intervals."""

from collections.abc import Mapping

import numpy as np

from evaluation.record.record import SummaryRecord
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


def summaries(
    scores: Mapping[str, Mapping[str, SeedScores]], *, budget: float | None = None
) -> tuple[SummaryRecord, ...]:
    """The mean of every arm on every metric with its 95 % interval; `budget` is that of runs that branched off."""
    records = []
    for metric, arms in scores.items():
        for arm, of_arm in arms.items():
            found = estimate(of_arm)
            low, high = found.interval() or (None, None)
            records.append(
                SummaryRecord(
                    arm=arm, metric=metric, seeds=found.num_seeds, mean=found.mean, low=low, high=high, budget=budget
                )
            )
    return tuple(records)
