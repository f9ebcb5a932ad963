"""Where a study departs from the protocol, and in what its arms differ beside their objectives; a sentence each."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from evaluation.execution.runner import Jobs
from evaluation.execution.sweep import at_edge
from evaluation.study.plan import Plan
from evaluation.study.study import Study

SEEDS = 8  # the fewest of the protocol: an exact test of a dozen declared hypotheses can then reach 0.05


def _differing(plan: Plan) -> Iterator[str]:
    """Settings beside the objective that are not the same in every arm."""
    settings = [arm.settings for arm in plan.arms.values()]
    for key in dict.fromkeys(key for arm in settings for key in arm):
        values = [arm.get(key) for arm in settings]
        if any(value != values[0] for value in values):
            values_by_arm = ", ".join(f"{label} {value}" for label, value in zip(plan.arms, values, strict=True))
            yield f"The arms differ in {key}: {values_by_arm}."


def _sizes(plan: Plan) -> Iterator[str]:
    """Encoder-decoders come in two sizes, as many blocks as the other arms ("P") and twice as many ("2P")."""
    single = {sum(arm.layers) for arm in plan.arms.values() if not all(arm.layers)}
    by_objective: dict[str, set[int]] = {}
    for arm in plan.arms.values():
        if all(arm.layers):
            by_objective.setdefault(arm.objective, set()).add(sum(arm.layers))
    for objective, sizes in by_objective.items():
        wanted = {factor * blocks for blocks in single for factor in (1, 2)}
        if missing := sorted(wanted - sizes):
            name = objective.rpartition(".")[2]
            blocks = " and ".join(map(str, missing))
            yield f"{name} has no arm of {blocks} blocks: an encoder-decoder is compared in one of its two sizes only."


def deviations(study: Study, plan: Plan, jobs: Jobs, declarations: list[dict[str, Any]]) -> tuple[str, ...]:
    """Every one of them."""
    found = []
    if len(study.seeds) < SEEDS:
        found.append(f"{len(study.seeds)} seed{'s' * (len(study.seeds) > 1)}, where the protocol has at least {SEEDS}.")
    if not study.learning_rates:
        found.append("No sweep over learning rates: every arm has the learning rate that its configs name.")
    found += [
        f"The best learning rate of {label}, {jobs.rates[label]:g}, lies at the edge of those tried."
        for label in at_edge(study, jobs.rates)
    ]
    if any(arm.settings["optimizer.schedule"] != "wsd" for arm in plan.arms.values()):
        found.append("Learning rates do not follow WSD in every arm, so that a curve is of runs at one budget alone.")
    elif not study.branches:
        found.append("One budget: no run branches off to smaller ones.")
    found += [*_differing(plan), *_sizes(plan)]
    for before, now in pairwise(declarations):
        if now["finished_runs"]:
            changed = sorted(
                key for key, value in now["declaration"].items() if before["declaration"].get(key) != value
            )
            what = ", ".join(changed) or "a config that it names"
            when = f"at {now['time']}, after {now['finished_runs']} runs had finished"
            found.append(f"The declaration was changed ({what}) {when}.")
    return tuple(found)
