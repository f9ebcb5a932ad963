"""How long a run lasts: one of six measures, turned into optimizer steps."""

import math
import re
import time
from dataclasses import dataclass, fields
from typing import NamedTuple

from common.errors import UserError
from common.ranges import positive

_SUFFIXES = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18}
_AMOUNT = positive(1e30)
_QUANTITY = re.compile(r"\s*([\d_.]+(?:e[+-]?\d+)?)\s*([kmbgtpe]?)\s*", re.IGNORECASE)


def quantity(value: str | float, name: str) -> float:
    """The number that `10M`, `2.5e15` or `300_000` stands for; suffixes k, M, B or G, T, P, E count in thousands.

    Raises:
        UserError: where it is no number, or none above 0.
    """
    match = _QUANTITY.fullmatch(str(value))
    number = float(match[1].replace("_", "")) * _SUFFIXES[match[2].lower()] if match else math.nan
    if number not in _AMOUNT:
        raise UserError(f"{name} = {value!r} must be a number above 0 and at most 1e30, such as 10M, 2.5e15 or 300000")
    return number


class StepCost(NamedTuple):
    """What an optimizer step takes of each measure; target tokens and FLOPs as the first windows have them."""

    raw_tokens: float
    target_tokens: float
    flops: float
    epochs: float


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a run lasts; exactly one is set.

    Args:
        raw_tokens: tokens of the corpus that are read, such as 10M.
        steps: optimizer steps.
        flops: floating-point operations of the training steps (three times the forward pass), such as 2.5e15.
        target_tokens: labels that the loss is over, such as 1M.
        epochs: times that the training data are read.
        minutes: minutes of training.

    Raises:
        UserError: where none or several are set, or one is not above 0.
    """

    raw_tokens: str | float | None = None
    steps: str | float | None = None
    flops: str | float | None = None
    target_tokens: str | float | None = None
    epochs: str | float | None = None
    minutes: str | float | None = None

    def __post_init__(self) -> None:
        chosen = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if len(chosen) > 1:
            raise UserError(f"budget: {' and '.join(chosen)} are set; choose one and set the others to null")
        for name in chosen:
            quantity(getattr(self, name), f"budget.{name}")

    def total_steps(self, cost: StepCost) -> int | None:
        """Optimizer steps that use the budget up, the last one perhaps going beyond; None where a clock decides.

        Raises:
            UserError: where nothing is set.
        """
        if self.minutes is not None:
            return None
        if self.steps is not None:
            return math.ceil(quantity(self.steps, "budget.steps"))
        for name, per_step in cost._asdict().items():
            if getattr(self, name) is not None:
                # Rounded first: an epoch of 49 steps is 49.00000000000001 times its 49th part.
                return math.ceil(round(quantity(getattr(self, name), f"budget.{name}") / per_step, 6))
        names = ", ".join(field.name for field in fields(self))
        raise UserError(f"budget: set one of {names}, such as --budget.raw_tokens 10M")

    @property
    def seconds(self) -> float | None:
        """Seconds of training, where a clock decides."""
        return None if self.minutes is None else 60 * quantity(self.minutes, "budget.minutes")


class Progress:
    """How far a run has come: in steps, or, where a clock decides, in seconds of training, without interruptions.

    Attributes:
        agreed_seconds: the first process's seconds at the beginning of the step; all processes use them.
    """

    def __init__(self, *, total_steps: int | None, seconds: float | None) -> None:
        assert (total_steps is None) != (seconds is None)
        self.total_steps, self.seconds = total_steps, seconds
        self.agreed_seconds = 0.0
        self._seconds_before, self._started = 0.0, math.nan

    def start(self, seconds_before: float) -> None:
        """Starts the clock, after that many seconds of training before an interruption."""
        self.agreed_seconds = self._seconds_before = seconds_before
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, by this process's clock."""
        return self._seconds_before + time.monotonic() - self._started

    def fraction(self, step: int) -> float:
        """The share of the budget that is used after `step` steps, at most 1."""
        if self.total_steps is not None:
            return min(step / self.total_steps, 1.0)
        assert self.seconds is not None
        return min(self.agreed_seconds / self.seconds, 1.0)

    def total(self, step: int) -> float:
        """Steps of the whole run; where a clock decides, as the time used so far lets expect."""
        if self.total_steps is not None:
            return self.total_steps
        return max(step, 1) / max(self.fraction(step), 1e-9)
