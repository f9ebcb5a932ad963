"""Micro-batches of an optimizer step: what they know of it, what dropout is drawn from, how many rows they have."""

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Protocol

import torch


class StepBatch(Protocol):
    """What the exact step needs to know of a batch; its step is this process's part of the optimizer step."""

    indices: list[int]
    step_divisors: dict[str, float]
    step_target_tokens: int
    step_raw_tokens: int


class Request(IntEnum):
    """What one process requests of all of them; acted upon together, at the end of a step."""

    TERMINATE = 0  # SIGTERM was received
    INTERRUPT = 1  # SIGINT was received
    SAVE = 2
    HANG_UP = 3  # SIGHUP was received


def dropout_seed(seed: int, *, step: int, micro: int, accumulated: int, rank: int, world: int) -> int:
    """What dropout is drawn from in a micro-batch: another seed for every step, micro-batch and device of a run.

    torch takes 64 bits: seeds from 2**24 on keep their lowest 24 here.
    """
    return ((seed << 40) + (step * accumulated + micro) * world + rank) % (1 << 64)


def seed_dropout(seed: int, device: torch.device) -> None:
    """Seeds what dropout on a device is drawn from, as `torch.manual_seed` does, in a microsecond.

    That one formats the stack for each kind of device that was not used yet: a millisecond in a run.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


def at_once(micro_batch_size: int | str | None, batch_size: int) -> int:
    """Rows that one device computes at once by these settings; `auto` begins with all, as no setting has it."""
    return micro_batch_size if isinstance(micro_batch_size, int) else batch_size


class FoundSizes(dict[int, int]):
    """Rows of a micro-batch by the first step (from 0) that they hold for; before the first, those of the settings.

    A run that goes on takes up what it found at the steps at which it found it, so that its numbers are the same.
    """

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "FoundSizes":
        """Those that run.json records."""
        return cls({int(step): size for step, size in info.get("micro_batch_sizes", {}).items()})

    def info(self) -> dict[str, Any]:
        """What `of` reads."""
        return {"micro_batch_sizes": {str(step): size for step, size in self.items()}} if self else {}

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.info())

    def at(self, step: int) -> int | None:
        """The size that holds for a step; None where that is what the settings have."""
        return next((self[first] for first in sorted(self, reverse=True) if first <= step), None)

    def find(self, step: int, size: int) -> None:
        """Records a size from a step on, in place of whatever was found for later ones."""
        for later in [first for first in self if first >= step]:
            del self[later]
        self[step] = size
