"""Micro-batches of an optimizer step: what they know of it, what they request, what their dropout is drawn from."""

from enum import IntEnum
from typing import Protocol


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


def dropout_seed(seed: int, *, step: int, micro: int, accumulated: int, rank: int, world: int) -> int:
    """What dropout is drawn from in a micro-batch: another seed for every step, micro-batch and device of a run.

    torch takes 64 bits: seeds from 2**24 on keep their lowest 24 here.
    """
    return ((seed << 40) + (step * accumulated + micro) * world + rank) % (1 << 64)
