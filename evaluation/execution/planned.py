"""The runs that a plan comes to: the sweep over learning rates, a run a seed and arm, branches to smaller budgets."""

from collections.abc import Iterable
from typing import Any

from evaluation.execution.jobs import Job, StudyDir
from evaluation.study.checks import budget_arguments
from evaluation.study.plan import Plan
from evaluation.study.study import Study, run_name, tuning_name
from training.storage.checkpoint import checkpoint_name


def _job(
    study: Study,
    plan: Plan,
    study_dir: StudyDir,
    label: str,
    seed: int,
    *,
    name: str,
    amount: float,
    more: Iterable[str] = (),
    **attributes: Any,
) -> Job:
    under = attributes.setdefault("under", "runs")
    attention = plan.arms[label].config["trainer"].get("attention", "auto")  # decided where there was a choice
    arguments = (
        *study.arguments(label),
        *budget_arguments(study.measure, amount),
        f"--trainer.precision={plan.arms[label].config['trainer']['precision']}",
        *([f"--trainer.attention={attention}"] if attention != "auto" else []),
        f"--seed={seed}",
        f"--name={name}",
        f"--runs={study_dir.folder / under}",
        f"--logging.group={study_dir.folder.name}",
        *more,
    )
    return Job(
        study_dir=study_dir,
        name=name,
        arm=label,
        seed=seed,
        measure=study.measure,
        amount=amount,
        arguments=arguments,
        **attributes,
    )


def _with_rate(rate: float | None) -> list[str]:
    return [] if rate is None else [f"--optimizer.learning_rate={rate!r}"]


def tuning_jobs(study: Study, plan: Plan, study_dir: StudyDir) -> list[Job]:
    """The sweep: every arm at every learning rate, on seeds that are not used again."""
    return [
        _job(
            *(study, plan, study_dir, label, seed),
            name=tuning_name(label, rate, seed),
            under="tuning",
            learning_rate=rate,
            amount=study.amount * study.tuning_share,
            total_steps=plan.arms[label].tuning_steps,
            more=_with_rate(rate),
        )
        for seed in study.tuning_seeds
        for label in study.arms
        for rate in study.learning_rates
    ]


def run_jobs(study: Study, plan: Plan, study_dir: StudyDir, rates: dict[str, float | None]) -> list[Job]:
    """A run of the whole budget for every seed and arm that has a rate; the arms of one seed follow each other."""
    jobs = []
    for seed in study.seeds:
        for label in rates:
            arm = plan.arms[label]
            kept = [f"--checkpoints.at_steps={[branch.step for branch in arm.branches]}"] if arm.branches else []
            jobs.append(
                _job(study, plan, study_dir, label, seed, name=run_name(label, seed), amount=study.amount,
                     total_steps=arm.total_steps, learning_rate=rates[label], more=[*_with_rate(rates[label]), *kept])
            )  # fmt: skip
    return jobs


def branch_jobs(study: Study, plan: Plan, parents: Iterable[Job]) -> list[Job]:
    """The branches of runs that have come to their end, to every smaller budget."""
    jobs = []
    for parent in parents:
        for branch in plan.arms[parent.arm].branches:
            checkpoint = parent.run.checkpoints / checkpoint_name(branch.step)
            jobs.append(
                _job(
                    *(study, plan, parent.study_dir, parent.arm, parent.seed),
                    name=f"{parent.name}-to-{branch.amount:.15g}",
                    amount=branch.amount,
                    total_steps=branch.total_steps,
                    learning_rate=parent.learning_rate,
                    branch=True,
                    more=[*_with_rate(parent.learning_rate), f"--branch_from={checkpoint}"],
                )
            )
    return jobs
