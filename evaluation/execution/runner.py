"""A study from its declaration to its last run: what is over is not repeated, what was interrupted goes on."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from rich.console import Console

from common.errors import UserError
from common.files import write_whole
from evaluation.execution.jobs import Job, StudyDir
from evaluation.execution.planned import branch_jobs, run_jobs, tuning_jobs
from evaluation.execution.progress import ProgressTable, plan_table
from evaluation.execution.scheduler import train_all, worker_environments
from evaluation.execution.sweep import best_rates
from evaluation.study.checks import earlier_precisions
from evaluation.study.plan import ADAPTER, Plan, make_plan
from evaluation.study.study import Study
from training.machine.hardware import listed_flops, peak_flops
from training.machine.lock import lock_folder
from training.monitoring.display import duration, short
from training.setup.settings import TrainerSettings
from training.setup.trainer import resolved
from training.storage.old_names import is_old_declaration, renamed_study

UTILISATION = 0.3  # of the peak, by which the first estimate goes: nano and mini shapes reach 0.2 to 0.4 of a CPU's


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """All runs of a study, as far as they are known: branches follow from runs, and runs from the sweep."""

    tuning: list[Job]
    runs: list[Job]
    branches: list[Job]
    rates: dict[str, float | None]

    @property
    def all(self) -> list[Job]:
        return [*self.tuning, *self.runs, *self.branches]

    def are_over(self) -> bool:
        """Whether another call would train nothing."""
        return all(job.is_over() for job in self.all)

    def are_complete(self) -> bool:
        """Whether no run is missing from what came out; that a learning rate of the sweep diverged is a result."""
        return self.are_over() and all(job.outcome()[0] == "finished" for job in (*self.runs, *self.branches))


def jobs_of(study: Study, plan: Plan, study_dir: StudyDir) -> Jobs:
    """The runs that the study has, going by what has come to its end.

    Raises:
        UserError: where a folder holds a run of other settings.
    """
    tuning = tuning_jobs(study, plan, study_dir)
    rates = best_rates(study, tuning)
    runs = run_jobs(study, plan, study_dir, rates)
    branches = branch_jobs(study, plan, [job for job in runs if job.outcome()[0] == "finished"])
    jobs = Jobs(tuning=tuning, runs=runs, branches=branches, rates=rates)
    for job in jobs.all:
        arm = plan.arms[job.arm]
        job.check_same(arm.config, plan.data, arm.defaults)
    return jobs


def remove_if_empty(folder: Path) -> None:
    """Removes a folder in which nothing but its lock lies: that of a command which was refused."""
    if {path.name for path in folder.glob("*")} | {path.name for path in folder.glob(".*")} <= {".lock"}:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(study_dir: StudyDir) -> Iterator[None]:
    """Holds the study for this process.

    Raises:
        UserError: where another process has it.
    """
    lock = lock_folder(study_dir.folder, "study")
    try:
        yield
    finally:
        lock.release()
        remove_if_empty(study_dir.folder)


def _declares(entry: dict[str, Any], study: Study, fingerprint: str) -> bool:
    """Whether an entry of study.json declares this study.

    A fingerprint of the first edition is over configs with other names in them, so that the declaration itself is
    compared: that its runs have the settings of the configs is checked where the jobs are listed.
    """
    if is_old_declaration(entry["declaration"]):
        return {**study.describe(), **renamed_study(entry["declaration"])} == study.describe()
    return entry["fingerprint"] == fingerprint


def _declared(path: Path) -> list[dict[str, Any]]:
    """The declarations that study.json keeps.

    Raises:
        UserError: where it is torn, or holds something else.
    """
    kept: Any = None
    try:
        kept = json.loads(path.read_bytes())
        is_whole = all({"time", "fingerprint", "declaration"} <= entry.keys() for entry in kept)
    except (ValueError, RecursionError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        raise UserError(
            f"{path} is damaged; restore it from a copy, or remove it: the study is then declared anew, and its report "
            f"no longer states that it was declared otherwise before"
        )
    return kept


def declare(study: Study, fingerprint: str, study_dir: StudyDir) -> list[dict[str, Any]]:
    """Keeps the declaration with the time; one that was changed stands behind those that it replaced."""
    path = study_dir.declaration
    kept = _declared(path) if path.is_file() else []
    before = [{**entry, "declaration": renamed_study(entry["declaration"])} for entry in kept]
    if kept and _declares(kept[-1], study, fingerprint):
        return before
    finished = len(list(study_dir.folder.glob("runs/*/summary.json")))
    now = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "finished_runs": finished,
        "declaration": study.describe(),
    }
    write_whole(path, json.dumps([*before, now], indent=2, ensure_ascii=False))
    return [*before, now]


def plan_of(study: Study, fingerprint: str, defaults: Path, study_dir: StudyDir) -> Plan:
    """The plan, made once for each declaration.

    Raises:
        UserError: where the arms may not be compared, or one of them cannot be trained.
    """
    try:
        plan = ADAPTER.validate_json(study_dir.plan.read_bytes())
        if plan.fingerprint == fingerprint:
            return plan
    except (OSError, ValidationError):
        pass
    plan = make_plan(study, defaults, earlier_precisions(study, study_dir.folder))
    write_whole(study_dir.plan, ADAPTER.dump_json(plan, indent=1))
    return plan


def estimate(study: Study, plan: Plan, jobs: Jobs) -> tuple[dict[str, float], str]:
    """Seconds of a whole run of each arm, and what they follow from."""
    if study.measure == "minutes":
        return dict.fromkeys(plan.arms, 60 * study.amount), "the budget is a time"
    seconds_per_flop: dict[str, list[float]] = {}
    for job in jobs.all:
        summary = job.summary()
        if summary is not None and not job.branch and summary["flops"]:
            seconds_per_flop.setdefault(job.arm, []).append(summary["seconds"] / summary["flops"])
    if seconds_per_flop:
        of_all = [value for values in seconds_per_flop.values() for value in values]
        rate = {label: seconds_per_flop.get(label, of_all) for label in plan.arms}
        flops = {label: arm.flops or 0.0 for label, arm in plan.arms.items()}
        times = {label: flops[label] * sum(rate[label]) / len(rate[label]) for label in plan.arms}
        return times, "times are estimated from this study's finished runs"
    measured = {label: arm.seconds for label, arm in plan.arms.items()}
    if all(seconds is not None for seconds in measured.values()):
        times = {label: seconds or 0.0 for label, seconds in measured.items()}
        return times, "times are estimated from a few real steps of each arm, without validation and evaluations"
    device = torch.device(resolved(TrainerSettings()).accelerator)
    peak = peak_flops(device, torch.bfloat16)
    if peak is None:
        return dict.fromkeys(plan.arms, float("nan")), "the peak of this device is not known, so times are not"
    times = {label: (arm.flops or 0.0) / (UTILISATION * peak) for label, arm in plan.arms.items()}
    is_listed = device.type == "cuda" and listed_flops(torch.cuda.get_device_name(device)) is not None
    how = "as its vendor states it" if is_listed else "measured now"
    return times, (
        f"times are a first guess, from {UTILISATION:.0%} of this device's peak of {short(peak)} FLOPs a second ({how})"
    )


def print_plan(console: Console, study: Study, plan: Plan, jobs: Jobs, *, at_once: int) -> None:
    """What is about to be trained, and how long that may take."""
    seconds, source = estimate(study, plan, jobs)
    sweep = len(study.tuning_seeds) * len(study.learning_rates)
    ahead = [job for job in (*jobs.tuning, *jobs.runs) if not job.is_over()]
    extra = len(study.seeds) if study.learning_rates and not jobs.runs else 0  # known once the sweep is over
    numbers = {label: extra + sum(job.arm == label for job in ahead) for label in plan.arms}
    text = plan.text
    console.print(
        f"{len(plan.arms)} arms x {len(study.seeds)} seeds, {short(study.amount)} {study.measure} each, on "
        f"{text.corpus}: {short(text.train_tokens)} tokens of {text.vocab_size:,} ids, windows of {text.window}",
        soft_wrap=True,
    )
    console.print(plan_table(study, plan, seconds, numbers))
    total = sum(seconds[job.arm] * job.amount / study.amount for job in ahead) + extra * sum(seconds.values())
    parts = [f"{duration(total / at_once)} in all, {at_once} at once" if at_once > 1 else f"{duration(total)} in all"]
    if sweep:
        parts.append(f"{sweep} runs an arm are of the sweep over {len(study.learning_rates)} learning rates, "
                     f"each of {study.tuning_share:.0%} of the budget")  # fmt: skip
    if study.branches:
        parts.append(f"each run has branches to {', '.join(map(str, study.branches))} {study.measure}")
    console.print("; ".join([*parts, source]), style="dim", soft_wrap=True)


def train_study(
    study: Study, plan: Plan, study_dir: StudyDir, environments: Sequence[dict[str, str]], console: Console
) -> Jobs:
    """Trains the sweep, then the runs, then their branches; returns what there is then.

    Raises:
        Interrupted: by a signal.
    """
    for phase in ("tuning", "runs", "branches"):
        jobs: list[Job] = getattr(jobs_of(study, plan, study_dir), phase)
        if all(job.is_over() for job in jobs):
            continue
        began = time.monotonic()
        with ProgressTable(console, jobs) as progress:
            train_all(jobs, environments, show=progress.show, ended=progress.ended)
        console.print(f"{phase}: {duration(time.monotonic() - began)}", style="dim")
    return jobs_of(study, plan, study_dir)


def environments_of(plan: Plan, parallel: int | None) -> list[dict[str, str]]:
    """The environments of the runs that go on at once."""
    return worker_environments(parallel, devices=max(arm.devices for arm in plan.arms.values()))
