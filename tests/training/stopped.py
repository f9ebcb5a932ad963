"""Runs that are stopped at a step, and two runs that must be one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tests.helpers import metrics_of
from training.storage.checkpoint import checkpoints_in, read_checkpoint


class At(Callback):
    """Does something before a step, once."""

    def __init__(self, step: int, act: Callable[[], Any]) -> None:
        self.step, self.act, self.is_done = step, act, False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step and not self.is_done:
            self.is_done = True
            self.act()


class Killed(BaseException):
    """Stands for a process that is no more."""


def killed() -> None:
    raise Killed


def assert_same_state(left: Any, right: Any) -> None:
    """Weights, optimizer and counters, bit by bit; not what the clock decides, nor Lightning's own counters."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left.keys() - {"seconds", "loops", "logged_sha256"}:
            assert_same_state(left[key], right[key])
    elif isinstance(left, list | tuple):
        for mine, other in zip(left, right, strict=True):
            assert_same_state(mine, other)
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    else:
        assert left == right


def assert_same_run(run: Path, reference: Path) -> None:
    """The same last checkpoint and the same logged numbers, bit by bit."""
    newest, expected = (checkpoints_in(folder / "checkpoints")[0] for folder in (run, reference))
    assert newest.name == expected.name
    assert_same_state(read_checkpoint(newest), read_checkpoint(expected))
    assert metrics_of(run) == metrics_of(reference)
