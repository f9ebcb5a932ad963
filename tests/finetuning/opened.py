"""A module with its data, as a command line makes them, without a Trainer."""

from collections.abc import Sequence
from typing import cast

import torch

from finetuning.base import FineTuning
from finetuning.batch import collate
from finetuning.cli import FineTuningCLI
from finetuning.datamodule import TaskData
from training.module import Term


def opened(arguments: Sequence[str]) -> tuple[FineTuning, TaskData]:
    """The module with its first weights in evaluation mode, and the data that are read."""
    cli = FineTuningCLI(arguments)
    module, data = cast(FineTuning, cli.model), cast(TaskData, cli.datamodule)
    data.open(module)
    module.build()
    return module.eval(), data


def terms_of(module: FineTuning, data: TaskData, numbers: Sequence[int]) -> dict[str, Term]:
    """The loss terms of some training examples side by side."""
    batch = collate([data.examples["train"][number] for number in numbers], pad=module.start.vocabulary.pad)
    with torch.no_grad():
        return module.terms(batch, count_correct=True)
