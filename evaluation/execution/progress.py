"""What a person sees of a study: its plan, how far every run has come, and what came out."""

import math
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from evaluation.execution.jobs import Job, logged
from evaluation.execution.scheduler import Scheduler
from evaluation.study.plan import Plan
from evaluation.study.study import Study
from training.monitoring.display import duration, short
from training.monitoring.tables import plain_table

SECONDS_BETWEEN_READINGS = 2.0


def plan_table(study: Study, plan: Plan, seconds: dict[str, float], numbers: dict[str, int]) -> Table:
    """Sizes and costs of a run of every arm; `seconds` are estimated, `numbers` of runs are still to be trained.

    `size` counts all parameters, `no tables` those beside the embeddings, `active` those that a position goes through,
    `targets` are a raw token's.
    """
    table = plain_table(
        *("arm", "blocks", "size", "no tables", "active", "steps", "FLOPs", "targets", "time", "to do"),
    )
    for label, arm in plan.arms.items():
        table.add_row(
            label,
            "+".join(str(blocks) for blocks in arm.layers if blocks),
            short(arm.parameters),
            short(arm.non_embedding),
            short(arm.active),
            f"{arm.total_steps:,}" if arm.total_steps else "-",
            short(arm.flops) if arm.flops else "-",
            f"{arm.cost.target_tokens / arm.cost.raw_tokens:.3f}",
            duration(seconds[label]),
            f"{numbers[label]}",
        )
    return table


def newest_numbers(job: Job) -> dict[str, float]:
    """The newest of every number that a run has logged."""
    latest: dict[str, float] = {}
    for row in logged(job.run):
        latest |= row
    return latest


class ProgressTable:
    """The live table of a study; where there is no terminal, a line whenever a run begins or ends.

    Args:
        console: where it is shown.
        jobs: all runs.
    """

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self.console, self.jobs = console, jobs
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.began: dict[str, float] = {}
        self.first: dict[str, float] = {}  # the share of each run that was done when it began here
        self.read_at = -math.inf

    def __enter__(self) -> "ProgressTable":
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live is not None:
            self.live.stop()

    def _share(self, job: Job, latest: dict[str, float]) -> float:
        """Of a run's budget, how much is used."""
        if job.total_steps is not None:
            return latest.get("step", 0.0) / job.total_steps
        return min((time.monotonic() - self.began.get(job.name, time.monotonic())) / (60 * job.amount), 1.0)

    def _row(self, table: Table, job: Job, *, is_training: bool) -> None:
        status, _ = job.outcome()
        latest = newest_numbers(job)
        share = 1.0 if status == "finished" else self._share(job, latest)
        left = math.nan
        if is_training:
            began, first = self.began.setdefault(job.name, time.monotonic()), self.first.setdefault(job.name, share)
            if share > first:
                left = (time.monotonic() - began) * (1 - share) / (share - first)
        state = "training" if is_training else "waits" if status == "unfinished" else status
        loss, speed = latest.get("validation/loss"), latest.get("speed/raw_tokens_per_second")
        table.add_row(
            job.name,
            state,
            ProgressBar(total=1.0, completed=share, width=16),
            short(latest.get("raw_tokens", 0)),
            f"{short(speed)}/s" if is_training and speed is not None else "",
            f"{loss:.3f}" if loss is not None else "",
            duration(left) if is_training else "",
        )

    def show(self, scheduler: Scheduler) -> None:
        """Draws the table anew, now and then."""
        if time.monotonic() - self.read_at < SECONDS_BETWEEN_READINGS:
            return
        self.read_at = time.monotonic()
        training = {job.name for job in scheduler.training}
        if self.live is None:
            for job in scheduler.training:
                if job.name not in self.began:
                    self.began[job.name] = time.monotonic()
                    self.console.print(f"{job.name} begins; {len(scheduler.waiting)} more wait", soft_wrap=True)
            return
        table = plain_table("run", "state", "", "raw tokens", "speed", "own loss", "left")
        for job in self._in_sight(training):
            self._row(table, job, is_training=job.name in training)
        over = sum(job.is_over() for job in self.jobs)
        table.caption = f"{over} of {len(self.jobs)} runs are over. Losses of different objectives are not comparable."
        table.caption_justify = "left"
        self.live.update(table, refresh=True)

    def _in_sight(self, training: set[str]) -> Sequence[Job]:
        """As many rows as the terminal has lines for, those in training among them."""
        room = max(self.console.height - 6, 4)
        if len(self.jobs) <= room:
            return self.jobs
        places = [place for place, job in enumerate(self.jobs) if job.name in training]
        first = min(max((places or [0])[0] - room // 2, 0), len(self.jobs) - room)
        return self.jobs[first : first + room]

    def ended(self, job: Job) -> None:
        """Prints what became of a run."""
        status, reason = job.outcome()
        if status == "finished":
            summary = job.summary() or {}
            outcome = f"finished: {short(summary['raw_tokens'])} raw tokens in {duration(summary['seconds'])}"
        else:
            outcome = f"{status}: {reason} (see {job.log})"
        self.console.print(f"{job.name} {outcome}", soft_wrap=True, markup=False)
