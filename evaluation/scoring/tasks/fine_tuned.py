"""Fine-tuned tasks: how good each run becomes at a task that it is taken through, on rows that it never saw.

    fine_tuned:
      seeds: [0, 1]
      learning_rates: [1e-3, 3e-3]
      tasks:
        sst2: configs/tasks/sst2.yaml
        sst2 from random weights: {config: configs/tasks/sst2.yaml, settings: {tuning.from_scratch: true}}

Every run is taken through it by the same settings, with several fine-tuning seeds of its own: they are nested in the
pretraining seed, which stays the unit of every interval (Sellam et al. 2022, MultiBERTs, 2106.16163, 4). Runs of one
pretraining seed share them, so that arms stay paired.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import MachineError, UserError
from common.ranges import LEARNING_RATE, SEED, check_ranges
from common.repository import REPOSITORY
from evaluation.execution.scheduler import last_line, passing_signals_on, printed_in
from evaluation.scoring.results import EvaluationResult, macro_mean
from evaluation.study.parse import arm_of
from evaluation.study.study import Arm
from training.script.endings import MACHINE, USER
from training.step.stops import Interrupted
from training.storage.run_dir import RunFolder
from training.storage.scores import FineTuningResult, read_scores

FINETUNE, DEFAULTS = REPOSITORY / "finetune.py", REPOSITORY / "configs/tasks/base.yaml"
# All other metrics are fractions of one.
UNITS = {"loss": "nats a label", "bits_per_byte": "bits a byte", "bits_from_source": "bits a text"}
REFUSALS = {USER: UserError, MACHINE: MachineError}  # by the exit status of a script
OF_THE_EVALUATION = ("seed", "name", "runs", "checkpoint", "optimizer.learning_rate")


def tuned_in(folder: Path) -> list[FineTuningResult]:
    """Every fine-tuning run in a folder that came to its end, by its seed."""
    found = (read_scores(RunFolder(path.parent)) for path in folder.glob("*/summary.json"))
    return sorted((result for result in found if result is not None), key=lambda result: result.seed)


def nested(seeds: Sequence[int], pretraining_seed: int) -> list[int]:
    """As many seeds for every pretraining seed, none of them another's; of seed 0 the seeds themselves."""
    return [pretraining_seed * (max(seeds) + 1) + seed for seed in seeds]


def best_of(runs: Sequence[FineTuningResult]) -> list[FineTuningResult]:
    """The runs of the learning rate with the best mean on the development split, which is not reported."""
    by_rate: dict[float, list[FineTuningResult]] = {}
    for run in runs:
        by_rate.setdefault(run.learning_rate, []).append(run)
    return max(by_rate.values(), key=lambda of_rate: np.mean([run.chosen for run in of_rate]))


def _result(name: str, runs: Sequence[FineTuningResult], metric: str, *, part: str = "") -> EvaluationResult:
    """The score of a pretraining run on a task, or on a part of its rows.

    Items are rows, each its mean over the fine-tuning seeds, or, of a metric that is no mean of rows, such as an F1,
    the fine-tuning seeds.
    """
    split, whole, inner = runs[0].reported[0], f"fine_tuned/{name}", f"/{part}" if part else ""
    values = np.array([run.scores[f"{split}/{metric}{inner}"] for run in runs])
    of_rows = [] if part else [run.rows(metric) for run in runs]
    scores = np.mean(of_rows, axis=0) if of_rows and all(map(len, of_rows)) else values
    strata = ("all",) * len(scores)
    spread = {"deviation over fine-tuning seeds": float(values.std(ddof=1))} if len(values) > 1 else {}
    of_what = f", {part}," if part else ""
    how_often = "once" if len(runs) == 1 else f"{len(runs)} times"
    return EvaluationResult(
        metric=f"{whole}{inner}",
        scores=scores,
        strata=strata,
        mean=macro_mean(scores, strata),
        higher_is_better=runs[0].sign(metric) > 0,
        rankable=True,
        beside=spread,
        unit=UNITS.get(metric, "%"),
        description=f"{metric} on the {split} split{of_what} after fine-tuning {how_often} from each run.",
        part_of=whole if part else "",
    )


def results_of(name: str, runs: Sequence[FineTuningResult]) -> list[EvaluationResult]:
    """The score of a pretraining run on a task by its reported metric, and on each part of the rows that has one."""
    metric = runs[0].reported[1]
    return [_result(name, runs, metric), *(_result(name, runs, metric, part=part) for part in runs[0].parts(metric))]


def _logged_as(logging: Mapping[str, Any]) -> dict[str, Any]:
    """Where the pretraining run was logged, which the fine-tuning runs are as well."""
    named = {key: logging[key] for key in ("wandb", "project", "group") if logging[key] is not None}
    return {**named, "private": json.dumps(logging["private"])}


def _precision(folder: Path) -> str | None:
    """What the fine-tuning runs in a folder began with, where there are any."""
    runs = (RunFolder(path.parent) for path in sorted(folder.glob("*/config.yaml")))
    return next((run.read_config()["trainer"]["precision"] for run in runs if run.has_started), None)


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """Scores on tasks, each run taken through them by finetune.py.

    What has come to its end is remembered in the run's folder, by the task's settings and the run's weights.

    Args:
        tasks: by name, each a config of finetune.py, several, or configs and settings.
        seeds: of the head, of dropout and of the order of the rows; those of a pretraining seed follow from them, so
            that none has another's.
        learning_rates: the best one of each run, on the development split, is reported; by default the task's own.

    Raises:
        UserError: where a task cannot be read as one, or a setting is not a task's to choose.
    """

    tasks: dict[str, Any]
    seeds: tuple[int, ...] = (0,)
    learning_rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UserError("fine_tuned.tasks: name at least one, such as {sst2: configs/tasks/sst2.yaml}")
        check_ranges("fine_tuned.", {"seeds": SEED, "learning_rates": LEARNING_RATE}, vars(self))
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"fine_tuned.seeds = {list(self.seeds)} must be different numbers, at least one")
        if len(set(self.learning_rates)) < len(self.learning_rates):
            raise UserError(f"fine_tuned.learning_rates = {list(self.learning_rates)} must be different numbers")
        for name, task in self._tasks().items():
            for key in task.settings:
                if key in OF_THE_EVALUATION or key.startswith("grid."):
                    raise UserError(
                        f"fine_tuned.tasks.{name} sets {key}, which is the evaluation's: declare seeds and "
                        f"learning_rates for all tasks alike"
                    )

    def _tasks(self) -> dict[str, Arm]:
        return {name: arm_of(f"fine_tuned.tasks.{name}", task) for name, task in self.tasks.items()}

    def check(self, metrics: Sequence[str]) -> None:
        """Has finetune.py read every task's rows by its settings, as it will for each run.

        Raises:
            UserError: where it would refuse a task, or a metric is that of none.
            MachineError: where it has no network, or is not let read.
        """
        whole = [f"fine_tuned/{name}" for name in self.tasks]
        for metric in metrics:
            if metric not in whole and not metric.startswith(tuple(f"{name}/" for name in whole)):
                raise UserError(f"hypotheses: '{metric}' is of no task of fine_tuned; they are {', '.join(whole)}")
        with ExitStack() as stack:
            processes = {name: stack.enter_context(self._dry_run(task)) for name, task in self._tasks().items()}
            for process in processes.values():
                stack.callback(process.kill)
            for name, process in processes.items():
                printed, _ = process.communicate()
                if process.returncode not in (0, *REFUSALS):
                    raise RuntimeError(f"finetune.py --dry-run of the task '{name}':\n{printed}")
                if process.returncode:
                    raise REFUSALS[process.returncode](f"fine_tuned.tasks.{name}: {last_line(printed)}")

    def _dry_run(self, task: Arm) -> "subprocess.Popen[str]":
        configs = [argument for path in task.config for argument in ("--config", path)]
        settings = [f"--{key}={value}" for key, value in task.settings.items()]
        return subprocess.Popen(
            [sys.executable, str(FINETUNE), "--dry-run", *configs, *settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )

    def __call__(self, run_folder: Path) -> list[EvaluationResult]:
        """The score on each task's reported split, over the fine-tuning seeds.

        Raises:
            Interrupted: by a signal.
            UserError: where a task cannot be learned from this run, with the reason.
        """
        return [
            result
            for name, task in self._tasks().items()
            for result in results_of(name, best_of(self._over_seeds(name, task, run_folder)))
        ]

    def _over_seeds(self, name: str, task: Arm, run_folder: Path) -> list[FineTuningResult]:
        """Every run of the grid, trained where it is not there."""
        config = RunFolder(run_folder).read_config()
        seeds = nested(self.seeds, config["seed"])
        home = run_folder / "fine_tuned" / self._digest(task, seeds, run_folder)
        wanted = len(seeds) * max(len(self.learning_rates), 1)
        if len(tuned_in(home)) < wanted:
            self._train(task, seeds, config, run_folder, home)
        found = tuned_in(home)
        if len(found) < wanted:
            raise UserError(f"{name}: {last_line(printed_in(home / 'log.txt'))}")
        return found

    def _train(self, task: Arm, seeds: Sequence[int], config: Mapping[str, Any], run_folder: Path, home: Path) -> None:
        """Raises Interrupted by a signal, which is passed on to finetune.py; `config` is the pretraining run's."""
        home.mkdir(parents=True, exist_ok=True)
        configs = [argument for path in task.config for argument in ("--config", path)]
        precision = _precision(home) or config["trainer"]["precision"]
        rates = [f"--grid.learning_rates={list(self.learning_rates)}"] if self.learning_rates else []
        arguments = [
            f"--trainer.precision={precision}",  # a task's own stands behind it, and wins
            *configs,
            *(f"--{key}={value}" for key, value in task.settings.items()),
            *(f"--logging.{key}={value}" for key, value in _logged_as(config["logging"]).items()),
            f"--checkpoint={run_folder}",
            f"--runs={home}",
            f"--grid.seeds={list(seeds)}",
            *rates,
        ]
        with (home / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(FINETUNE), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C on the terminal is for the study, which passes it on once
            )
            with passing_signals_on(process.send_signal) as received:
                process.wait()
        if received:
            raise Interrupted(received[0], "the last step of the fine-tuning run")

    def _digest(self, task: Arm, seeds: Sequence[int], run_folder: Path) -> str:
        digest = hashlib.sha256((RunFolder(run_folder).checkpoint() / "sha256.json").read_bytes())
        for path in (DEFAULTS, *map(Path, task.config)):
            digest.update(path.read_bytes())
        digest.update(json.dumps([task.settings, seeds, self.learning_rates]).encode())
        return digest.hexdigest()[:16]
