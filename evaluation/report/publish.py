"""A study in Weights & Biases: its numbers as a run of the group that its runs are in, its report as an artifact."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from evaluation.record.record import StudyRecord
from evaluation.report.text.verdicts import sentence
from training.monitoring.logs import wandb_mode
from training.monitoring.wandb_logger import make_wandb_logger
from training.monitoring.wandb_run import artifact_name, finish
from training.setup.settings import LoggingSettings

FILES = ("report.html", "results.json")


def numbers(record: StudyRecord) -> dict[str, float]:
    """`ARM/METRIC`, means over seeds, with the ends of their intervals, and the budget of a branch before them."""
    found: dict[str, float] = {}
    for summary in record.summaries:
        name = f"{summary.arm}/{summary.metric}"
        name = name if summary.budget is None else f"{summary.budget:g}/{name}"
        values = {name: summary.mean, f"{name}/low": summary.low, f"{name}/high": summary.high}
        found |= {key: value for key, value in values.items() if value is not None}
    return found


def rows_of(rows: Sequence[dict[str, Any]], *, without: tuple[str, ...] = ()) -> tuple[list[Any], list[Any]]:
    """Records of one kind as the columns and rows of a table."""
    columns = [name for name in rows[0] if name not in without] if rows else []
    return columns, [[row[name] for name in columns] for row in rows]


def publish(record: StudyRecord, folder: Path, settings: LoggingSettings, *, declared: str) -> None:
    """Sends what came out, or keeps it in the folder to be sent, as `settings` have it; once more goes to the same run.

    Args:
        record: what came out.
        folder: of the study, with the report in it.
        settings: of the study's runs.
        declared: when the study was, first.
    """
    mode = wandb_mode(settings.wandb)
    if mode == "off":
        return
    import wandb

    logger = make_wandb_logger(
        folder,
        replace(settings, group=record.name),
        mode=mode,
        run_id=hashlib.sha256(f"{record.name} {declared}".encode()).hexdigest()[:8],
        job_type="study",
        tags=(),
        config={"command": record.command, "question": record.question, record.measure: record.budget},
    )
    run = logger.experiment
    run.summary.update(numbers(record))
    tables = {
        "runs": rows_of([asdict(run) for run in record.runs], without=("curve", "cost", "scores", "folder")),
        "means": rows_of([asdict(summary) for summary in record.summaries]),
        "verdicts": rows_of([{**asdict(one), "sentence": sentence(record, one)} for one in record.verdicts]),
    }
    filled = {name: wandb.Table(columns=columns, data=data) for name, (columns, data) in tables.items() if data}
    run.log({f"study/{name}": table for name, table in filled.items()})
    artifact = wandb.Artifact(artifact_name(record.name, "report"), type="report")
    for name in FILES:
        artifact.add_file(str(folder / name))
    artifact.add_dir(str(folder / "figures"), name="figures")
    run.log_artifact(artifact)
    finish(logger, failed=False)
