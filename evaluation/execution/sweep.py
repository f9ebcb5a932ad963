"""What the sweep over learning rates came to."""

import math

from evaluation.execution.jobs import Job
from evaluation.study.study import Study


def last_loss(job: Job) -> float:
    """The validation loss that a run of the sweep came to, infinite where it came to none."""
    summary = job.summary()
    return math.inf if summary is None else summary["validation/loss"]


def best_rates(study: Study, tuned: list[Job]) -> dict[str, float | None]:
    """Of each arm, the learning rate with the lowest mean validation loss, of its own question, over the tuning seeds.

    None where nothing was tuned. An arm has no entry while its sweep goes on, or where no rate of it came to an end
    with every seed.
    """
    if not study.learning_rates:
        return dict.fromkeys(study.arms)
    best: dict[str, float | None] = {}
    for label in study.arms:
        sweep = [job for job in tuned if job.arm == label]
        sums = {
            rate: sum(last_loss(job) for job in sweep if job.learning_rate == rate) for rate in study.learning_rates
        }
        rate = min(sums, key=lambda rate: sums[rate])
        if math.isfinite(sums[rate]) and all(job.is_over() for job in sweep):
            best[label] = rate
    return best


def at_edge(study: Study, rates: dict[str, float | None]) -> list[str]:
    """The arms whose best learning rate is the smallest or the greatest that was tried."""
    edges = (min(study.learning_rates), max(study.learning_rates)) if study.learning_rates else ()
    return [label for label, rate in rates.items() if rate in edges]
