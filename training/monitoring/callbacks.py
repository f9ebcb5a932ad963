"""What happens around the steps of every run: signals, the end of the budget, checkpoints."""

from common.startup import do_without_terminal

import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from training.monitoring.signal_watch import SignalWatch
from training.setup.settings import CheckpointSettings
from training.step.micro import Request
from training.step.module import ExactModule
from training.step.stops import Interrupted
from training.storage.checkpoint import checkpoint_name, checkpoint_step, checkpoints_in

REQUEST_OF_SIGNAL = {
    signal.SIGTERM: Request.TERMINATE,
    signal.SIGINT: Request.INTERRUPT,
    signal.SIGHUP: Request.HANG_UP,
}

DEFAULT_INTERVAL = 250  # steps between validations of a run whose steps are not known beforehand
LEAST_INTERVAL = 10  # of a run whose steps are known: a short one would validate longer than it trains


class RunCallback(Callback):
    """Lightning's hooks as a run has them: its start, the ends of its optimizer steps, its validations, its end."""

    # Lightning passes over what cannot be called; a hook that does nothing costs some microseconds in every step.
    on_train_batch_start = on_before_zero_grad = on_before_backward = on_after_backward = cast(Any, None)
    on_before_optimizer_step = cast(Any, None)

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        """Called once, before the first step of this session."""

    def step_ends(self, trainer: Trainer, module: ExactModule) -> None:
        """Called after every optimizer step; `trainer.global_step` counts it."""

    def validation_starts(self, trainer: Trainer, module: ExactModule) -> None:
        """Called before a validation."""

    def validation_ends(self, trainer: Trainer, module: ExactModule) -> None:
        """Called after a validation; `module.validation_results` holds what it found."""

    def run_ends(self, trainer: Trainer, module: ExactModule) -> None:
        """Called after the last step of this session, whatever ended it."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run_starts(trainer, cast(ExactModule, pl_module))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.fit_loop._should_accumulate():
            self.step_ends(trainer, cast(ExactModule, pl_module))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_starts(trainer, cast(ExactModule, pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_ends(trainer, cast(ExactModule, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run_ends(trainer, cast(ExactModule, pl_module))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.run_ends(trainer, cast(ExactModule, pl_module))


def validation_follows(trainer: Trainer) -> bool:
    """Whether a validation follows the optimizer step that has just ended."""
    every = cast(int, trainer.val_check_interval) // trainer.accumulate_grad_batches
    return trainer.should_stop or trainer.global_step % every == 0


class Signals(RunCallback):
    """SIGTERM, Ctrl-C and SIGHUP request a stop at the end of the step, and are answered at once; a second one stops.

    SIGHUP is a terminal that was closed.

    Lightning 2.6 would leave SIGTERM with status 0, as if the run had finished (pytorch-lightning #21623).

    Args:
        folder: where checkpoints lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._watch: SignalWatch | None = None

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        """Takes the signals."""
        received: list[int] = []

        def answer(number: int) -> None:
            name = signal.Signals(number).name
            if number in received:
                newest = next(iter(checkpoints_in(self.folder)), None)
                where = f"at {newest}; the same command goes on from there" if newest else "before the first checkpoint"
                self._print(trainer, f"{name}: stopped {where}")
                os._exit(128 + number)
            received.append(number)
            if number == signal.SIGHUP:
                do_without_terminal()
            step = trainer.global_step + 1
            self._print(trainer, f"{name}: step {step:,} is finished and saved first; a second one stops now")

        def request_stop(number: int) -> None:
            module.requests.add(REQUEST_OF_SIGNAL[signal.Signals(number)])

        self._watch = SignalWatch(REQUEST_OF_SIGNAL, received=answer, handled=request_stop)
        self._watch.start()

    @staticmethod
    def _print(trainer: Trainer, line: str) -> None:
        if trainer.is_global_zero:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def run_ends(self, trainer: Trainer, module: ExactModule) -> None:
        if self._watch is not None:
            self._watch.stop()


class ValidationSchedule(RunCallback):
    """When a run validates, and when it ends: after the step that uses up the budget, with a last validation.

    Args:
        validate_every_steps: steps between two validations; by default a tenth of the run, but LEAST_INTERVAL at
            least, or DEFAULT_INTERVAL where a clock ends it.
    """

    def __init__(self, *, validate_every_steps: int | None) -> None:
        self.validate_every_steps = validate_every_steps

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        progress = cast(ExactModule, pl_module).progress
        assert progress is not None
        total = progress.total_steps
        steps = self.validate_every_steps or (max(total // 10, LEAST_INTERVAL) if total else DEFAULT_INTERVAL)
        trainer.val_check_interval = steps * trainer.accumulate_grad_batches  # Lightning counts micro-batches

    def step_ends(self, trainer: Trainer, module: ExactModule) -> None:
        assert module.progress is not None
        if module.progress.fraction(trainer.global_step) >= 1:
            trainer.should_stop = True


class Checkpoints(RunCallback):
    """Saves at the end of steps: every so often, after every validation, on request, at the end.

    Where a validation follows a step, the step is saved, and the run left, behind it: a run that goes on from there
    would not make up for it.

    Args:
        folder: where checkpoints lie.
        settings: when, and how many are kept.
    """

    def __init__(self, folder: Path, settings: CheckpointSettings) -> None:
        self.folder, self.settings = folder, settings
        self.best: dict[str, Any] = {"loss": math.inf, "name": ""}
        self.saved_step, self.saved_at = -1, 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = dict(state_dict["best"])

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        self.saved_step, self.saved_at = trainer.global_step, time.monotonic()

    def _save(self, trainer: Trainer) -> Path:
        """Saves the step that has just ended, if that was not done, and drops what need not be kept."""
        path = self.folder / checkpoint_name(trainer.global_step)
        if self.saved_step != trainer.global_step:
            trainer.save_checkpoint(path, weights_only=False)
            self.saved_step, self.saved_at = trainer.global_step, time.monotonic()
            if trainer.is_global_zero:
                found = checkpoints_in(self.folder)
                for old in found[self.settings.keep :]:
                    if old.name != self.best["name"] and checkpoint_step(old) not in self.settings.at_steps:
                        trainer.strategy.remove_checkpoint(old)
        return path

    def _stop_if_requested(self, trainer: Trainer, module: ExactModule) -> None:
        for number, request in REQUEST_OF_SIGNAL.items():
            if request in module.agreed:
                raise Interrupted(number, str(self._save(trainer)))

    def step_ends(self, trainer: Trainer, module: ExactModule) -> None:
        if validation_follows(trainer):
            return
        self._stop_if_requested(trainer, module)
        if trainer.is_global_zero and time.monotonic() - self.saved_at > 60 * self.settings.every_minutes:
            module.requests.add(Request.SAVE)
        every, step = self.settings.every_steps, trainer.global_step
        is_due = step in self.settings.at_steps or (every is not None and step % every == 0)
        if is_due or Request.SAVE in module.agreed:
            module.requests.discard(Request.SAVE)
            self._save(trainer)

    def validation_ends(self, trainer: Trainer, module: ExactModule) -> None:
        cost = module.validation_cost()
        if cost < self.best["loss"]:
            self.best = {"loss": cost, "name": checkpoint_name(trainer.global_step)}
        self._save(trainer)
        self._stop_if_requested(trainer, module)
