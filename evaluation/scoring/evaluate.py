"""Puts every yardstick of a study to every run of it."""

import importlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentError, ArgumentParser

from evaluation.scoring.results import Evaluation, EvaluationResult
from evaluation.study.jobs import Job
from evaluation.study.plan import Plan
from evaluation.study.study import VALIDATION_LOSS, Hypothesis, Study
from training.setup.messages import nearest, one_line

TASKS = Path(__file__).parent / "tasks"
Results = dict[str, EvaluationResult]  # of one run, by metric


def make_evaluation(name: str, settings: Mapping[str, Any]) -> Evaluation:
    """The class of that name in the file of that name, with these settings.

    Raises:
        ValueError: where there is none, or it has no such settings.
    """
    names = [path.stem for path in TASKS.glob("[a-z]*.py")]
    if name not in names:
        near = nearest(name, names)
        meant = f"did you mean '{near}'?" if near else f"they are {', '.join(sorted(names))}"
        raise ValueError(f"evaluations: '{name}' is no yardstick; {meant}")
    made = getattr(importlib.import_module(f"evaluation.scoring.tasks.{name}"), name.title().replace("_", ""))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(made, name)
    try:
        return parser.instantiate(parser.parse_object({name: dict(settings)}))[name]
    except ArgumentError as error:
        keys = [action.dest for action in parser._actions]
        raise ValueError(f"evaluations: {one_line(str(error), keys)}") from None


def make_evaluations(study: Study) -> dict[str, Evaluation]:
    """The validation loss and all that the study names, made before anything is trained.

    Raises:
        ValueError: where one cannot be made as declared.
    """
    try:
        named = {VALIDATION_LOSS: {}, **study.evaluations}
        return {name: make_evaluation(name, settings) for name, settings in named.items()}
    except (ValueError, OSError) as error:
        said = str(error)
        raise ValueError(said if said.startswith("evaluations") else f"evaluations: {said}") from None


def measure(job: Job, evaluations: Mapping[str, Evaluation]) -> tuple[Results, list[str]]:
    """What every yardstick finds of a run, and why some find nothing."""
    found: Results = {}
    unmeasured: list[str] = []
    for name, evaluation in evaluations.items():
        try:
            found |= {result.metric: result for result in evaluation(job.run.path)}
        except (ValueError, OSError) as error:
            unmeasured.append(f"{name} of {job.name} was not measured: {error}")
    return found, unmeasured


def check_ranked(hypotheses: Iterable[Hypothesis], found: Iterable[Results], plan: Plan) -> None:
    """Raises ValueError where a hypothesis ranks different objectives by what does not rank them (law 7)."""
    rankable = {metric: result.rankable for results in found for metric, result in results.items()}
    for hypothesis in hypotheses:
        one, other = plan.arms[hypothesis.arm], plan.arms[hypothesis.against]
        ask_alike = (one.objective, one.question) == (other.objective, other.question)
        if not ask_alike and not rankable.get(hypothesis.metric, True):
            raise ValueError(
                f"hypotheses: '{hypothesis}' ranks two objectives by {hypothesis.metric}, which does not put one "
                f"question to both: choose another metric"
            )


def write_items(found: Mapping[str, Results], path: Path) -> None:
    """Keeps every item's score: for each metric an array [runs, items], and which runs and strata these are.

    A folder in the zip for each metric: `scores`, `runs`, `strata`, as numpy.load reads them.
    """
    metrics = dict.fromkeys(metric for results in found.values() for metric in results)
    writing = path.with_name(f".{path.name}.writing")
    with zipfile.ZipFile(writing, "w", zipfile.ZIP_DEFLATED) as archive:
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
    writing.replace(path)
