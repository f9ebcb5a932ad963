"""What a study comes to once its runs are over: they are measured, compared, and written down whole."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from rich.console import Console

from common.errors import UserError
from common.files import write_whole
from evaluation.execution.deviations import deviations
from evaluation.execution.jobs import Job, MeasuredRun, StudyDir, logged
from evaluation.execution.runner import Jobs
from evaluation.execution.sweep import last_loss
from evaluation.findings import Findings, Results, check_ranked, find, write_items
from evaluation.networks import look
from evaluation.plateau import is_on_plateau
from evaluation.record.files import read_record
from evaluation.record.record import (
    ArmRecord,
    CostRecord,
    MetricRecord,
    PointRecord,
    RunRecord,
    ScoreRecord,
    StudyRecord,
    TuningRecord,
)
from evaluation.report.publish import publish
from evaluation.report.report import write_report
from evaluation.report.text.verdicts import sentence
from evaluation.scoring.loaded import keeping_runs
from evaluation.scoring.results import Evaluation
from evaluation.statistics.aggregate import scores_of
from evaluation.statistics.hypotheses import judge
from evaluation.study.plan import ArmPlan, Plan
from evaluation.study.study import Study
from training.monitoring.tables import plain_table, print_whole


def is_finished(study_dir: StudyDir, jobs: Jobs) -> bool:
    """Whether results.json is newer than all that it follows from, its report is there, and nothing was unmeasured."""
    if study_dir.unmeasured.is_file() or not jobs.are_over():
        return False
    if not (study_dir.results.is_file() and study_dir.report.is_file()):
        return False
    sources = [study_dir.declaration, *(path for job in jobs.all for path in job.what_became_of_it())]
    try:
        read_record(study_dir.results)
    except UserError:  # a torn or foreign one, which is written anew
        return False
    return all(path.stat().st_mtime <= study_dir.results.stat().st_mtime for path in sources)


def finite(value: float) -> float | None:
    """A number as a record holds it."""
    return float(value) if np.isfinite(value) else None


def _curve(job: MeasuredRun) -> tuple[PointRecord, ...]:
    """Its validation losses."""
    return tuple(
        PointRecord(
            step=int(row["step"]),
            raw_tokens=row["raw_tokens"],
            flops=row["flops"],
            target_tokens=row["target_tokens"],
            loss=finite(row["validation/loss"]),
        )
        for row in logged(job.run)
        if "validation/loss" in row
    )


def run_record(job: MeasuredRun, results: Results) -> RunRecord:
    """What became of a run, what it cost and what it scored."""
    status, reason = job.outcome()
    summary, cost = job.run.read_summary() if status == "finished" else None, None
    if summary is not None:
        speed = summary["raw_tokens"] / summary["seconds"] if summary["seconds"] else None
        cost = CostRecord(
            seconds=summary["seconds"], tokens_per_second=speed, peak_memory=summary.get("peak_memory_bytes")
        )
    return RunRecord(
        arm=job.arm,
        seed=job.seed,
        status=status,
        budget=job.amount if job.branch else None,
        reason=reason,
        folder=str(job.run.path),
        windows_sha256=(summary or {}).get("windows_sha256"),
        curve=_curve(job),
        cost=cost,
        scores={
            metric: ScoreRecord(mean=finite(result.mean), strata=result.strata_means, beside=result.beside)
            for metric, result in results.items()
        },
    )


def _arm(study: Study, label: str, arm: ArmPlan, rates: Mapping[str, float | None]) -> ArmRecord:
    declared = study.arms[label]
    return ArmRecord(
        label=label,
        objective=arm.objective.rpartition(".")[2],
        config=declared.config,
        settings=declared.settings,
        parameters=arm.parameters,
        non_embedding=arm.non_embedding,
        active=arm.active,
        beside=arm.beside,
        layers=arm.layers,
        flops_per_window=arm.cost.flops / arm.batch_size,
        targets_per_raw_token=arm.cost.target_tokens / arm.cost.raw_tokens,
        learning_rate=rates.get(label) or arm.settings["optimizer.learning_rate"],
    )


def _tuning(job: Job) -> TuningRecord:
    assert job.learning_rate is not None
    return TuningRecord(arm=job.arm, learning_rate=job.learning_rate, seed=job.seed, loss=finite(last_loss(job)))


def metrics_of(found: Mapping[str, Results]) -> tuple[MetricRecord, ...]:
    """Every metric that was measured, once."""
    results = {metric: result for of_run in found.values() for metric, result in of_run.items()}
    return tuple(
        MetricRecord(
            name=metric,
            unit=result.unit,
            description=result.description,
            higher_is_better=result.higher_is_better,
            rankable=result.rankable,
            chance=result.chance,
            part_of=result.part_of,
        )
        for metric, result in results.items()
    )


def hardware() -> str:
    """The devices of this machine, in a few words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"


def versions(runs: Sequence[MeasuredRun]) -> dict[str, str]:
    """Of packages, Python and this project, as the first run had them."""
    info = next((info for run in runs if (info := run.run.read_info())), {})
    return {"python": info.get("python", ""), "commit": info.get("commit") or "", **info.get("versions", {})}


def record_of(
    study: Study,
    plan: Plan,
    jobs: Jobs,
    findings: Findings,
    *,
    name: str,
    command: str,
    declarations: list[dict[str, Any]],
) -> StudyRecord:
    """Everything that the report shows."""
    seen = look(findings.jobs, [*plan.arms])
    return StudyRecord(
        name=name,
        question=study.question,
        command=command,
        text=plan.text,
        measure=study.measure,
        budget=study.amount,
        seeds=study.seeds,
        deviations=(*deviations(study, plan, jobs, declarations), *findings.caveats(), *findings.unmeasured),
        arms=tuple(
            replace(_arm(study, label, arm, jobs.rates), ordinary_loss=seen.losses.get(label))
            for label, arm in plan.arms.items()
        ),
        runs=tuple(run_record(job, findings.of(job)) for job in (*jobs.runs, *jobs.branches)),
        metrics=metrics_of(findings.results),
        summaries=tuple(findings.summaries()),
        verdicts=judge(
            study.hypotheses,
            scores_of(findings.by_arm()),
            num_seeds=len(study.seeds),
            on_plateau=[arm for arm, loss in seen.losses.items() if is_on_plateau(loss, plan.text.unigram_entropy)],
            bounds=findings.bounds(),
        ),
        tuning=tuple(map(_tuning, jobs.tuning)),
        windows=seen.texts,
        samples=seen.samples,
        continuations=seen.continuations,
        hardware=hardware(),
        versions=versions(jobs.all),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def print_means(console: Console, record: StudyRecord) -> None:
    """Every metric's mean over the seeds of each arm, but those of parts, and what became of each hypothesis."""
    metrics = [metric for metric in record.metrics if not metric.part_of]
    bounds = {(found.arm, found.metric) for found in record.summaries if found.bound is not None}
    table = plain_table("arm", "runs", *(metric.name for metric in metrics))
    for arm in record.arms:
        runs = [run for run in record.runs_of(arm.label) if run.status == "finished"]
        cells = []
        for metric in metrics:
            means = [score.mean for run in runs if (score := run.scores.get(metric.name)) and score.mean is not None]
            factor, digits = (100, 1) if metric.unit == "%" else (1, 3)
            sign = "\u2264 " * ((arm.label, metric.name) in bounds)  # an upper bound
            cells.append(f"{sign}{factor * np.mean(means):.{digits}f}" if means else "-")
        table.add_row(arm.label, f"{len(runs)}/{len(record.seeds)}", *cells)
    print_whole(console, table)
    for verdict in record.verdicts:
        console.print(f"{verdict.outcome}: {sentence(record, verdict)}", soft_wrap=True, markup=False)
    unranked = [metric.name for metric in record.metrics if not metric.rankable]
    console.print(f"not to be ranked across objectives: {', '.join(unranked)}", style="dim", soft_wrap=True)


def finish_study(
    study: Study,
    plan: Plan,
    study_dir: StudyDir,
    jobs: Jobs,
    declarations: list[dict[str, Any]],
    evaluations: Mapping[str, Evaluation],
    *,
    command: str,
    console: Console,
) -> StudyRecord:
    """Measures, compares and writes the report; returns its record.

    Raises:
        UserError: where a hypothesis ranks different objectives by what does not rank them.
    """
    with keeping_runs():
        findings = find([*jobs.runs, *jobs.branches], evaluations, console)
        check_ranked(study.hypotheses, findings.results.values(), plan)
        record = record_of(
            study, plan, jobs, findings, name=study_dir.folder.name, command=f"python compare.py {command}",
            declarations=declarations,
        )  # fmt: skip
    if findings.unmeasured:
        write_whole(study_dir.unmeasured, "\n".join([*findings.unmeasured, ""]))
    else:
        study_dir.unmeasured.unlink(missing_ok=True)
    write_items(findings.results, study_dir.folder / "items.zip")
    write_report(record, study_dir.folder)
    publish(record, study_dir.folder, plan.logging, declared=declarations[0]["time"])
    print_means(console, record)
    console.print(f"the report: {study_dir.report}", soft_wrap=True)
    return record
