"""What is measured while a run goes on: losses, speed, utilisation, waiting, against everything consumed so far."""

import time
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Trainer

from training.machine.hardware import peak_flops
from training.monitoring.callbacks import RunCallback
from training.step.module import ExactModule
from training.step.terms import named_results

# Of the matrix products; of every other precision it is bfloat16.
DTYPES = {"32-true": torch.float32, "64-true": torch.float32, "16-mixed": torch.float16}


class TimedLoader(Protocol):
    """What is needed of the loader: the seconds spent waiting for it so far."""

    seconds_waited: float


class Telemetry(RunCallback):
    """Logs to every logger, every few steps and at every validation.

    Speed is measured from one log to the next, without the time that validations take.

    Args:
        every_steps: steps between two logs.
    """

    def __init__(self, *, every_steps: int) -> None:
        self.every_steps = every_steps
        self.latest: dict[str, float] = {}  # for whoever displays it
        self.training_terms: dict[str, float] = {}  # the loss terms of the last logged interval
        self.peak: float | None = None

    def _mark(self, trainer: Trainer, module: ExactModule) -> None:
        """Begins a new interval."""
        self.started, self.paused = time.perf_counter(), 0.0
        self.first_step, self.first_raw, self.first_target = (
            trainer.global_step,
            module.raw_tokens,
            module.target_tokens,
        )
        self.first_wait = self._seconds_waited(trainer)

    @staticmethod
    def _seconds_waited(trainer: Trainer) -> float:
        loader = cast(TimedLoader | None, getattr(cast(Any, trainer).datamodule, "loader", None))
        return loader.seconds_waited if loader else 0.0

    def consumed(self, trainer: Trainer, module: ExactModule) -> dict[str, float]:
        """The axes: everything consumed so far."""
        return {
            "raw_tokens": module.raw_tokens,
            "target_tokens": module.target_tokens,
            "flops": trainer.global_step * module.flops_per_step,
        }

    def speed(self, trainer: Trainer, module: ExactModule) -> dict[str, float]:
        """The speed of the last logged interval; of this session, where it was too short to log one."""
        logged = {name: value for name, value in self.latest.items() if name.startswith("speed/")}
        return logged or (self._speed(trainer, module) if trainer.global_step > self.first_step else {})

    def _speed(self, trainer: Trainer, module: ExactModule) -> dict[str, float]:
        seconds = max(time.perf_counter() - self.started - self.paused, 1e-9)
        steps = trainer.global_step - self.first_step
        speed = {
            "speed/raw_tokens_per_second": (module.raw_tokens - self.first_raw) / seconds,
            "speed/target_tokens_per_second": (module.target_tokens - self.first_target) / seconds,
            "speed/waiting_for_data": (self._seconds_waited(trainer) - self.first_wait) / seconds,
        }
        if self.peak:
            flops = steps * module.flops_per_step
            speed["speed/mfu"] = flops / seconds / (self.peak * trainer.world_size)
        return speed

    def _log(self, trainer: Trainer, module: ExactModule, metrics: dict[str, float]) -> None:
        self.latest.update(metrics)
        for logger in trainer.loggers:
            logger.log_metrics({**self.consumed(trainer, module), **metrics}, step=trainer.global_step)

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        self.peak = peak_flops(module.device, DTYPES.get(str(trainer.precision), torch.bfloat16))
        self._mark(trainer, module)

    def step_ends(self, trainer: Trainer, module: ExactModule) -> None:
        if trainer.global_step % self.every_steps:
            return
        results = module.training_sums.read()
        self.training_terms = {name: result.loss for name, result in results.items() if result.num}
        metrics = named_results("train", results, accuracy=False)
        metrics |= {f"train/{name}": result.loss for name, result in module.training_measures.read().items()}
        metrics["train/gradient_norm"] = module.gradient_norm
        metrics["train/learning_rate"] = module.learning_rate
        # For callbacks that monitor a number; `log_dict` would take a tenth of a millisecond of every step.
        trainer.callback_metrics.update({name: torch.tensor(value, device="cpu") for name, value in metrics.items()})
        self._log(trainer, module, {**metrics, **self._speed(trainer, module)})
        self._mark(trainer, module)

    def validation_starts(self, trainer: Trainer, module: ExactModule) -> None:
        self.validation_started = time.perf_counter()

    def validation_ends(self, trainer: Trainer, module: ExactModule) -> None:
        metrics = module.validation_numbers
        references = {f"reference/{name}": value for name, value in module.references().items()}
        self._log(trainer, module, {**metrics, **references})
        self.paused += time.perf_counter() - self.validation_started
