"""A module with its data, as a command line makes them, without a Trainer."""

from collections.abc import Sequence
from typing import cast

import torch

from finetuning.cli import FineTuningCLI
from finetuning.core.base import FineTuning
from finetuning.data.batch import collate
from finetuning.datamodule import TaskData
from tests.objectives.texts import mean_loss
from training.step.terms import Term


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


def learn_by_heart(module: FineTuning, data: TaskData, number: int, steps: int, rate: float = 5e-3) -> float:
    """Trains on the first rows alone, all at once; returns the last loss."""
    examples = [example for example in data.examples["train"] if example.row < number]
    batch = collate(examples, pad=module.start.vocabulary.pad)
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.0)
    loss = torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = mean_loss(module.terms(batch, count_correct=False))
        loss.backward()
        optimizer.step()
    return float(loss.detach())
