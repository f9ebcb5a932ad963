"""A fine-tuned run, loaded from its folder alone, and its predictions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser

from common.errors import UserError
from finetuning.body.body import Start
from finetuning.body.tuning import Tuning
from finetuning.core.base import ROWS_AT_ONCE, FineTuning
from finetuning.core.task import Task
from finetuning.data.rows import DataWarnings
from finetuning.metrics.metrics import Score
from training.optimizers.optim import OptimizerConfig
from training.setup.parsing import refusing
from training.step.budget import Budget
from training.storage.checkpoint import checkpoint_name, load_weights, read_state
from training.storage.run_dir import RunFolder

ROWS_OF_A_PART = 512  # read together, so that texts of similar length meet, and predicted before the next are read


def module_of(config: dict[str, Any], recorded: Mapping[str, Any], tokenizer_file: Path) -> FineTuning:
    """The module that a fine-tuned run's config.yaml describes, with random weights.

    Raises:
        UserError: where the settings are none of this version's.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Task, "task")
    groups = {"tuning": Tuning, "optimizer": OptimizerConfig, "budget": Budget}
    for name, settings in groups.items():
        parser.add_class_arguments(settings, name)
    with refusing(f"the settings of {config.get('name')} are not this version's: "):
        found = parser.instantiate(parser.parse_object({name: config[name] for name in ("task", *groups)}))
    try:
        start, max_length = Start.of_description(config["start"], tokenizer_file), config["data"]["max_length"]
    except (KeyError, TypeError) as error:
        raise UserError(f"the config.yaml of {config.get('name')} is not that of a fine-tuned run ({error})") from None
    module = found.task.module(
        task=found.task,
        tuning=found.tuning,
        start=start,
        max_length=max_length or start.max_positions,
        optimizer=found.optimizer,
        budget=found.budget,
        seed=config["seed"],
    )
    module.restore(recorded)
    return module


def best_checkpoint(folder: RunFolder) -> Path:
    """The checkpoint with the best weights of a run's development split.

    Raises:
        UserError: where the folder is no fine-tuned run, or has no sound checkpoint.
    """
    newest = folder.checkpoint()
    best = folder.checkpoints / checkpoint_name(max(tuning_state(folder)["best_step"], 0))
    return best if best.is_dir() else newest


def tuning_state(folder: RunFolder) -> dict[str, Any]:
    """What a run's newest checkpoint records of its best weights.

    Raises:
        UserError: where the run was not fine-tuned.
    """
    state = read_state(folder.checkpoint())
    if "tuning" not in state:
        raise UserError(f"'{folder.path}' was pretrained, not fine-tuned: finetune.py takes it to a task")
    return state["tuning"]


@dataclass(frozen=True, kw_only=True)
class FineTunedRun:
    """A fine-tuned run with its best weights.

    Attributes:
        folder, checkpoint: where it lies.
        module: with these weights, in evaluation mode, on the CPU.
    """

    folder: Path
    checkpoint: Path
    module: FineTuning

    def _row_of(self, given: Any, number: int, total: int) -> Any:
        name = f"input {number} of {total}"
        try:
            return replace(self.module.row_of(given), origin=name)
        except UserError as error:
            reason = str(error)
            raise UserError(reason if total == 1 else f"{name}: {reason.removeprefix('input: ')}") from None

    def predict(
        self, inputs: Sequence[Any], *, batch_size: int = ROWS_AT_ONCE, warnings: DataWarnings | None = None
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Each input as a row, and its prediction as an object of JSON; in order.

        Args:
            inputs: texts, or objects with the task's columns.
            batch_size: of them that are read at once.
            warnings: takes what of them is cut, or read otherwise than training's rows.

        Raises:
            UserError: where one of them is none that this task takes.
        """
        rows = [self._row_of(one, number, len(inputs)) for number, one in enumerate(inputs, 1)]
        for start in range(0, len(rows), ROWS_OF_A_PART):
            part = rows[start : start + ROWS_OF_A_PART]
            found = predictions_of(self.module, part, batch_size=batch_size, warnings=warnings)
            for row, prediction in zip(part, found, strict=True):
                yield row, self.module.to_json(row, prediction)


def predictions_of(
    module: FineTuning, rows: Sequence[Any], *, batch_size: int = ROWS_AT_ONCE, warnings: DataWarnings | None = None
) -> list[Any]:
    """The predictions of a module in evaluation mode; none depends on the other rows."""
    examples = module.examples(rows, DataWarnings() if warnings is None else warnings)
    outputs = dict(module.predict(examples, batch_size=batch_size))
    return module.decode_predictions(rows, examples, [outputs[number] for number in range(len(examples))])


def is_tuned(folder: Path) -> bool:
    """Whether a folder is that of a fine-tuned run, which has a task."""
    run = RunFolder(folder)
    return run.is_run and "task" in run.read_config()


def load_fine_tuned(folder: Path) -> FineTunedRun:
    """A fine-tuned run from its folder, with its best weights.

    Raises:
        UserError: where it is none, or has no checkpoint.
    """
    run = RunFolder(folder)
    checkpoint = best_checkpoint(run)
    config = run.read_config()
    module = module_of(config, run.read_info().get("data", {}), run.tokenizer)
    with torch.random.fork_rng(devices=[]):
        module.build()
    load_weights(module, checkpoint)
    module.best_cost = tuning_state(run)["best_cost"]
    module.eval().requires_grad_(False)
    return FineTunedRun(folder=folder, checkpoint=checkpoint, module=module)


def prediction_lines(
    module: FineTuning, rows: Sequence[Any], predictions: Sequence[Any], scores: Mapping[str, Score]
) -> Iterator[dict[str, Any]]:
    """For each row where it stood, its prediction, and its part in every score that is a mean of rows."""
    of_rows = {name: score.items for name, score in scores.items() if score.items is not None}
    for number, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
        parts = {name: float(items[number]) for name, items in of_rows.items()}
        yield {"origin": row.origin, **module.to_json(row, prediction), "scores": parts}
