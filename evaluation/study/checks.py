"""Whether the arms of a study may be compared: they read one text, and no loss ranks two questions."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import MachineError, UserError
from data.datamodule import DataModule
from evaluation.study.study import VALIDATION_LOSS, Study, run_name, tuning_name
from models.bodies.make import BodyConfig
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.mixtures.teacher import settle
from training.setup.cli import RunCLI
from training.setup.settings import Precision
from training.storage.run_dir import RunFolder

# Settings of the text in which the arms of a study may differ: how it is dealt out, not what it is.
_OF_ONE_ARM = {"batch_size", "micro_batch_size", "validation_windows", "workers", "cache", "seed"}


def budget_arguments(measure: str, amount: float) -> list[str]:
    """Of train.py, for a budget."""
    return [f"--budget.{measure}={amount!r}"]


def _cli(study: Study, label: str, defaults: Path, precision: Precision | None) -> RunCLI:
    """An arm's run as train.py would make it; `precision` is what `auto` is, where that is decided.

    Raises:
        UserError, MachineError: naming the arm, where train.py would refuse it.
    """
    budget = budget_arguments(study.measure, study.amount)
    arguments = [*study.arguments(label), f"--seed={study.seeds[0]}", "--name=planned", "--resume=never", *budget]
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return RunCLI(
                *(Objective, DataModule, BodyConfig, Pretraining),
                defaults=defaults,
                arguments=arguments,
                precision=precision,
                settle=settle,
            )
    except UserError as error:
        raise UserError(f"arm '{label}': {error}") from None
    except MachineError as error:  # weights that no folder here holds, and no hub to be reached
        raise MachineError(f"arm '{label}': {error}") from None
    except SystemExit:
        raise UserError(f"arm '{label}': {errors.getvalue().strip().rpartition('error: ')[2]}") from None


def _check_one_text(configs: dict[str, dict[str, Any]]) -> None:
    """Raises UserError where arms would not read the same text, cut the same way."""
    (first, before), *others = ((label, config["data"]) for label, config in configs.items())
    for label, now in others:
        for key in sorted(set(before) - _OF_ONE_ARM):
            if before[key] != now[key]:
                raise UserError(
                    f"arms '{first}' and '{label}' differ in data.{key}: {before[key]} and {now[key]}. The arms of a "
                    f"study read one text, cut by one tokenizer into one kind of window: set it under shared"
                )


def question_of(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of an objective that decide what its loss is over."""
    settings = config["model"].get("init_args", {})
    linked = ("body", "optimizer", "budget", "seed", "init_from", "z_loss")
    return {name: value for name, value in settings.items() if name not in linked}


def _check_losses(study: Study, configs: dict[str, dict[str, Any]]) -> None:
    """Raises UserError where a hypothesis ranks losses of different questions (law 7)."""
    for hypothesis in study.hypotheses:
        if hypothesis.metric.split("/")[0] != VALIDATION_LOSS:
            continue
        one, other = configs[hypothesis.arm], configs[hypothesis.against]
        if (one["model"]["class_path"], question_of(one)) != (other["model"]["class_path"], question_of(other)):
            raise UserError(
                f"hypotheses: '{hypothesis}' ranks losses of two objectives, each of its own question: not even "
                f"perfect models would have equal ones. Choose a metric that puts one question to both, such as "
                f"continuation or minimal_pairs"
            )


def earlier_precisions(study: Study, folder: Path) -> dict[str, Precision]:
    """The precision of the runs in a study's folder, by the arms that have any."""
    found: dict[str, Precision] = {}
    for label in study.arms:
        rates = [(rate, seed) for seed in study.tuning_seeds for rate in study.learning_rates]
        tuning = [folder / "tuning" / tuning_name(label, rate, seed) for rate, seed in rates]
        for path in [*tuning, *(folder / "runs" / run_name(label, seed) for seed in study.seeds)]:
            if (run := RunFolder(path)).is_run and run.has_started:
                found[label] = run.read_config()["trainer"]["precision"]
                break
    return found


def _clis(study: Study, defaults: Path, earlier: Mapping[str, Precision]) -> dict[str, RunCLI]:
    """Every arm's run; `auto` precision is one for all, that of the runs that there are already."""
    clis: dict[str, RunCLI] = {}
    decided: Precision | None = None
    for label in sorted(study.arms, key=lambda label: label not in earlier):
        clis[label] = _cli(study, label, defaults, earlier.get(label) or decided)
        if clis[label].config.trainer.precision == "auto":
            decided = decided or clis[label].trainer_settings.precision
    return {label: clis[label] for label in study.arms}


def check_arms(study: Study, defaults: Path, earlier: Mapping[str, Precision] | None = None) -> dict[str, RunCLI]:
    """Every arm's run as train.py would make it; no text is read.

    Args:
        study: which arms.
        defaults: configuration that lies under every other.
        earlier: the precision of the runs that an arm has already.

    Raises:
        UserError: where the arms may not be compared, or train.py would refuse one.
    """
    clis = _clis(study, defaults, earlier or {})
    configs = {label: cli.resolved_config() for label, cli in clis.items()}
    _check_one_text(configs)
    _check_losses(study, configs)
    return clis
