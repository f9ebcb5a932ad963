"""What the yardsticks found of the runs of a study."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console

from evaluation.record.record import SummaryRecord
from evaluation.scoring.evaluate import Results, measure
from evaluation.scoring.results import Evaluation
from evaluation.statistics.aggregate import scores_of, summaries
from evaluation.study.jobs import Job
from evaluation.study.runner import Jobs


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the yardsticks found of every run that came to its end, by its name, and what they could not measure."""

    jobs: tuple[Job, ...]
    results: dict[str, Results]
    unmeasured: tuple[str, ...]

    def of(self, job: Job) -> Results:
        """Of one run; empty where it did not come to its end."""
        return self.results.get(job.name, {})

    def caveats(self) -> list[str]:
        """What to bear in mind of an arm's scores."""
        found = {
            (result.metric, job.arm): result.caveat
            for job in self.jobs
            for result in self.of(job).values()
            if result.caveat
        }
        return [f"{metric} of {arm}: {caveat}." for (metric, arm), caveat in found.items()]

    def by_arm(self, branch: float | None = None) -> dict[str, dict[int, Results]]:
        """Of the runs of the whole budget, or of the branches to a smaller one, by arm and seed."""
        gathered: dict[str, dict[int, Results]] = {}
        for job in self.jobs:
            if (job.amount if job.branch else None) == branch:
                gathered.setdefault(job.arm, {})[job.seed] = self.of(job)
        return gathered

    def summaries(self) -> list[SummaryRecord]:
        """Of every budget."""
        branches = sorted({job.amount for job in self.jobs if job.branch})
        return [
            record
            for branch in (None, *branches)
            for record in summaries(scores_of(self.by_arm(branch)), budget=branch)
        ]


def find(jobs: Jobs, evaluations: Mapping[str, Evaluation], console: Console) -> Findings:
    """Measures every run that has come to its end; a yardstick that cannot stops no other."""
    results, unmeasured = {}, []
    measured = [job for job in (*jobs.runs, *jobs.branches) if job.outcome()[0] == "finished"]
    for number, job in enumerate(measured, start=1):
        if len(evaluations) > 1:  # beside the validation loss, which is only read
            console.print(f"measuring {job.name} ({number} of {len(measured)})", soft_wrap=True, markup=False)
        results[job.name], of_run = measure(job, evaluations)
        for fault in of_run:
            console.print(fault, style="red", soft_wrap=True, markup=False)
        unmeasured += of_run
    return Findings(jobs=tuple(measured), results=results, unmeasured=tuple(unmeasured))
