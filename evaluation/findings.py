"""The scores of the runs of a study, by every evaluation that it declares."""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from common.errors import UserError
from common.files import written_whole
from evaluation.execution.jobs import MeasuredRun
from evaluation.record.record import SummaryRecord
from evaluation.scoring.evaluate import make_evaluation
from evaluation.scoring.results import CheckedEvaluation, Evaluation, EvaluationResult
from evaluation.statistics.aggregate import bounds_of, scores_of, summaries
from evaluation.study.plan import Plan
from evaluation.study.study import VALIDATION_LOSS, Hypothesis

Results = dict[str, EvaluationResult]  # of one run, by metric


def evaluations_of(settings: Mapping[str, dict[str, Any]]) -> dict[str, Evaluation]:
    """The validation loss and all that are named, made before anything is trained.

    Raises:
        UserError: where one cannot be made as declared.
    """
    named = {VALIDATION_LOSS: {}, **settings}
    return {name: make_evaluation(name, given) for name, given in named.items()}


def check_evaluations(evaluations: Mapping[str, Evaluation], hypotheses: Iterable[Hypothesis]) -> None:
    """Has every evaluation check what it can before anything is trained.

    Raises:
        UserError, MachineError: where one would be refused for every run.
    """
    metrics = [hypothesis.metric for hypothesis in hypotheses]
    for name, evaluation in evaluations.items():
        if isinstance(evaluation, CheckedEvaluation):
            evaluation.check([metric for metric in metrics if metric.split("/")[0] == name])


def measure(job: MeasuredRun, evaluations: Mapping[str, Evaluation]) -> tuple[Results, list[str]]:
    """A run's scores by every evaluation, and why some have none."""
    found: Results = {}
    unmeasured: list[str] = []
    for name, evaluation in evaluations.items():
        try:
            found |= {result.metric: result for result in evaluation(job.run.path)}
        except (UserError, OSError) as error:
            unmeasured.append(f"{name} of {job.name} was not measured: {error}")
    return found, unmeasured


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The scores of every run that came to its end, by its name, and what could not be measured."""

    jobs: tuple[MeasuredRun, ...]
    results: dict[str, Results]
    unmeasured: tuple[str, ...]

    def of(self, job: MeasuredRun) -> Results:
        """Of one run; empty where it did not come to its end."""
        return self.results.get(job.name, {})

    def bounds(self) -> set[tuple[str, str]]:
        """Metrics, each with an arm whose scores are upper bounds."""
        return set(bounds_of(self.by_arm()))

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
        by_branch = {branch: self.by_arm(branch) for branch in (None, *branches)}
        return [
            record
            for branch, results in by_branch.items()
            for record in summaries(scores_of(results), bounds=bounds_of(results), budget=branch)
        ]


def find(runs: Sequence[MeasuredRun], evaluations: Mapping[str, Evaluation], console: Console) -> Findings:
    """Scores every run that has come to its end; an evaluation that fails stops no other."""
    results, unmeasured = {}, []
    measured = [run for run in runs if run.outcome()[0] == "finished"]
    for number, job in enumerate(measured, start=1):
        if len(evaluations) > 1:  # beside the validation loss, which is only read
            console.print(f"measuring {job.name} ({number} of {len(measured)})", soft_wrap=True, markup=False)
        results[job.name], problems = measure(job, evaluations)
        for problem in problems:
            console.print(problem, style="red", soft_wrap=True, markup=False)
        unmeasured += problems
    return Findings(jobs=tuple(measured), results=results, unmeasured=tuple(unmeasured))


def check_ranked(hypotheses: Iterable[Hypothesis], found: Iterable[Results], plan: Plan) -> None:
    """Raises UserError where a hypothesis ranks different objectives by what does not rank them (law 7)."""
    rankable = {metric: result.rankable for results in found for metric, result in results.items()}
    for hypothesis in hypotheses:
        one, other = plan.arms[hypothesis.arm], plan.arms[hypothesis.against]
        are_alike = (one.objective, one.question) == (other.objective, other.question)
        if not are_alike and not rankable.get(hypothesis.metric, True):
            raise UserError(
                f"hypotheses: '{hypothesis}' ranks two objectives by {hypothesis.metric}, which does not put one "
                f"question to both: choose another metric"
            )


def write_items(found: Mapping[str, Results], path: Path) -> None:
    """Keeps every item's score: for each metric an array [runs, items], and which runs and strata these are.

    A folder in the zip for each metric: `scores`, `runs`, `strata`, as numpy.load reads them.
    """
    metrics = dict.fromkeys(metric for results in found.values() for metric in results)
    with written_whole(path) as writing, zipfile.ZipFile(writing, "w", zipfile.ZIP_DEFLATED) as archive:
        for metric in metrics:
            runs = [run for run, results in found.items() if metric in results]
            arrays = {
                "scores": np.stack([found[run][metric].scores for run in runs]),
                "runs": np.array(runs),
                "strata": np.array(found[runs[0]][metric].strata),
            }
            for name, array in arrays.items():
                with archive.open(f"{metric}/{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
