"""Runs that are out of memory where a test has them be."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from training.step.module import ExactModule

# By CUDA, by the CPU's allocator, and by Python.
LACKS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore of it."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    MemoryError(),
)


def _raise(error: Exception, gradient: Tensor) -> None:
    raise error


def lacking(module: ExactModule, fails: Iterable[tuple[int, int, int]], *, backward: bool, rank: int = 0) -> None:
    """Has a module run out of memory: in micro-batch `micro` of a step where it is of so many rows, once each.

    In the backward pass that is when some gradients are added already.
    """
    compute, left = module.loss_of, list(fails)

    def loss_of(batch: Any) -> Tensor:
        loss = compute(batch)
        place = (module.global_step, len(batch.indices), len(module._step_losses) - 1)
        if place in left and module.trainer.global_rank == rank:
            left.remove(place)
            error = LACKS[len(left) % len(LACKS)]
            if not backward:
                raise error
            first = next(parameter for parameter in module.parameters() if parameter.requires_grad)
            handle = first.register_hook(partial(_raise, error))
            module._forget = handle.remove  # type: ignore[assignment]
        return loss

    repeat = module._repeat

    def repeated(*arguments: Any) -> None:
        getattr(module, "_forget", lambda: None)()
        repeat(*arguments)

    module.loss_of, module._repeat = loss_of, repeated  # type: ignore[method-assign]


class Lacking(Callback):
    """The same, for a run in a process of its own."""

    def __init__(self, fails: list[list[int]], rank: int = 0) -> None:
        self.fails, self.rank = fails, rank

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, ExactModule)
        fails = [(step, rows, micro) for step, rows, micro in self.fails]
        lacking(pl_module, fails, backward=True, rank=self.rank)
