"""A task's settings and rows without training: what a study checks of its fine-tuned tasks before its first run."""

from collections.abc import Sequence
from typing import Any, cast

from finetuning.cli import FineTuningCLI
from finetuning.core.base import FineTuning
from finetuning.core.task import Task
from finetuning.data.rows import DataWarnings
from finetuning.datamodule import TaskData, rows_line
from finetuning.export import export_readiness
from finetuning.grid import grid_of

NO_CHECKPOINT = "--checkpoint=none"


class TaskCLI(FineTuningCLI):
    """The settings of a fine-tuning run, whose checkpoint is not there yet."""

    def instantiate_classes(self) -> None:
        self.config_init = self.parser.instantiate(self.config)


def _with_checkpoint(arguments: Sequence[str]) -> list[str]:
    """What the rows come to for a model that is there."""
    cli = FineTuningCLI(arguments)
    module, data = cast(FineTuning, cli.model), cast(TaskData, cli.datamodule)
    data.open(module)
    return [f"{cli.folder} {export_readiness(module)}"]


def _without_checkpoint(arguments: Sequence[str]) -> list[str]:
    """What the rows are."""
    task: Task = cast(Any, TaskCLI([*arguments, NO_CHECKPOINT])).config_init["task"]
    warnings = DataWarnings()
    rows = task.splits(warnings)
    return [rows_line(rows), *(f"warning: {line}" for line in warnings.lines())]


def names_checkpoint(arguments: Sequence[str]) -> bool:
    """Whether a command line names what is to be fine-tuned."""
    return any(argument.split("=")[0] == "--checkpoint" for argument in arguments)


def dry_run(arguments: Sequence[str]) -> list[str]:
    """Reads a task's rows and checks its settings; of a model too, where `--checkpoint` names one. Lines for the user.

    Raises:
        UserError: as a run would be refused.
    """
    grid = grid_of(arguments)
    settings = list(arguments) if grid is None else list(grid.arguments)
    return (_with_checkpoint if names_checkpoint(settings) else _without_checkpoint)(settings)
