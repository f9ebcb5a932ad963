"""One session of a run: its folder, its loggers, its callbacks; from where it stopped to the end of its budget."""

import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from filelock import FileLock
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from common.errors import UserError, message_of
from common.files import write_whole
from training.machine.hardware import peak_memory
from training.monitoring.callbacks import Checkpoints, RunCallback, Signals, ValidationSchedule
from training.monitoring.display import CompilingLine, Display
from training.monitoring.logs import Logs, MetricsCsv, wandb_mode
from training.monitoring.telemetry import Telemetry
from training.monitoring.wandb_logger import make_wandb_logger
from training.monitoring.wandb_run import WandbRun, as_numbers, finish, log_weights
from training.script.endings import MACHINE, ending_of
from training.setup.cli import RunCLI
from training.setup.settings import LoggingSettings
from training.step.compilation import begin_compiling, compile_headers_ahead, without_torn_kernels
from training.step.module import ExactModule
from training.storage.branch import ParentRun
from training.storage.changes import changes_of_data
from training.storage.checkpoint import OTHER_CHECKPOINT, checkpoint_step, checkpoints_in
from training.storage.run_dir import RunFolder


class Data(Protocol):
    """What a session needs of the data."""

    folder: Path

    def micro_batches(self, world: int) -> int: ...
    def limit_micro_batches(self, at_most: int, world: int) -> int: ...
    def describe(self) -> dict[str, Any]: ...
    def windows_sha256(self, steps: int) -> str: ...


class RunMetadata(RunCallback):
    """Writes the run folder's metadata: data, tokenizer and sizes to run.json at the start, results to summary.json.

    Args:
        folder: of the run.
        telemetry: has what was consumed and the latest speed.
        parent: the run that this one branches from.
    """

    def __init__(self, folder: RunFolder, telemetry: Telemetry, parent: ParentRun | None = None) -> None:
        self.folder, self.telemetry, self.parent = folder, telemetry, parent
        self.sizes: dict[int, int] = {}  # of micro-batches, as run.json has them

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses other data before weights are loaded, which might not fit them.

        Raises:
            UserError: naming what has changed since the run began.
        """
        info = self.folder.read_info() if trainer.is_global_zero else {}
        before = info.get("data")
        if before and (changes := changes_of_data(before, cast(Data, cast(Any, trainer).datamodule).describe())):
            raise UserError(
                f"{self.folder.path} was begun on other data: {'; '.join(changes)}. Give this run another --name, or "
                f"start anew with --resume never"
            )
        for role, first in info.get("frozen", {}).items():
            now = cast(ExactModule, pl_module).frozen.get(role)
            if now is not None and now["sha256"] != first["sha256"]:
                raise UserError(
                    f"{self.folder.path} was begun beside another {role}: {first['origin']}, with weights of SHA-256 "
                    f"{first['sha256'][:8]}, and {now['origin']} has {now['sha256'][:8]}. Name that checkpoint, or "
                    f"start anew with --resume never"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes tokenizer.json and run.json.

        Raises:
            UserError: where its tokenizer.json was changed, or it could not have branched where it did.
        """
        if not trainer.is_global_zero:
            return
        module, data = cast(ExactModule, pl_module), cast(Data, cast(Any, trainer).datamodule)
        described = data.describe()
        assert module.progress is not None
        if self.parent:
            self.parent.check_run(module, total_steps=module.progress.total_steps, data=described["sha256"])
        write_whole(self.folder.tokenizer, (data.folder / "tokenizer.json").read_bytes())
        self.folder.write_info(
            data=described,
            sha256=self.folder.hashes(),
            parameters=module.num_parameters,
            flops_per_step=module.flops_per_step,
            total_steps=module.progress.total_steps,
            references=module.references(),
            complete=False,
            **({"initialized_from": module.initialized_from} if module.initialized_from else {}),
            **({"frozen": dict(module.frozen)} if module.frozen else {}),
            **self._new_sizes(module),
        )

    def _new_sizes(self, module: ExactModule) -> dict[str, Any]:
        """What run.json does not hold yet of the micro-batches that were found to fit."""
        if not module.sizes or module.sizes == self.sizes:
            return {}
        self.sizes = dict(module.sizes)
        return module.sizes.info()

    def step_ends(self, trainer: Trainer, module: ExactModule) -> None:
        """Records the micro-batches that were found to fit, before anything of the step is saved."""
        if trainer.is_global_zero and (found := self._new_sizes(module)):
            self.folder.write_info(**found)

    def validation_ends(self, trainer: Trainer, module: ExactModule) -> None:
        """Writes summary.json after the last validation."""
        assert module.progress is not None
        if trainer.is_global_zero and trainer.should_stop:
            data = cast(Data, cast(Any, trainer).datamodule)
            self.folder.write_summary(
                {
                    "steps": trainer.global_step,
                    **self.telemetry.consumed(trainer, module),
                    "seconds": round(module.progress.elapsed, 1),
                    **module.validation_numbers,
                    **module.references(),
                    "windows_sha256": data.windows_sha256(trainer.global_step),
                    "peak_memory_bytes": peak_memory(module.device),
                    **self.telemetry.speed(trainer, module),
                }
            )


def _loggers(cli: RunCLI, folder: RunFolder, config: dict[str, Any]) -> list[Logger]:
    settings: LoggingSettings = cli.config_init["logging"]
    loggers: list[Logger] = [MetricsCsv(folder)]
    mode = wandb_mode(settings.wandb)
    if mode != "off":
        wandb_id = folder.read_info().get("wandb_id", "")
        loggers.append(
            make_wandb_logger(
                folder.path,
                settings,
                mode=mode,
                run_id=wandb_id,
                job_type=cli.job_type,
                tags=cli.tags,
                config=as_numbers(config),
            )
        )
    return [*loggers, *(cli.trainer_settings.loggers or ())]


def _take_folder(cli: RunCLI, folder: RunFolder) -> FileLock:
    """Locks the folder, and sets aside the run in it where this one starts over.

    Raises:
        UserError: where another process has it.
    """
    lock = folder.lock()
    if cli.config.resume == "never":
        aside = folder.set_aside()
        if aside:
            rank_zero_info(f"set the run in {folder.path} aside, as {aside}")
            lock.release()
            lock = folder.lock()
    return lock


def _begin_session(cli: RunCLI, folder: RunFolder, config: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Records with which settings and by what this session is computed, and logs what changed since the last."""
    folder.write_config(config, defaults)
    if not folder.has_started:
        measured = {"flops_per_second": cli.measured} if cli.measured else {}
        folder.write_info(threads=cli.threads, **cli.kernels.info(), **measured)
    if changed := folder.begin_session():
        rank_zero_info(changed)


def _note_what_is_saved(error: Exception, folder: RunFolder) -> None:
    """Adds the newest checkpoint to a failure of the machine, for the line in which it ends."""
    ending = ending_of(error)
    if ending is not None and ending.status == MACHINE:
        newest = next(iter(checkpoints_in(folder.checkpoints)), None)
        saved = f"{newest} is whole, and the same command goes on from there"
        error.add_note(saved if newest else f"{folder.path} holds no checkpoint yet")


def train(cli: RunCLI, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Trains to the end of the budget, from where the run stopped if it did, and returns its summary.

    Raises:
        RunStopped: where it stopped before that.
        UserError: where the run cannot begin.
    """
    trainer, module, data = cli.trainer, cast(ExactModule, cli.model), cast(Data, cli.datamodule)
    trainer.accumulate_grad_batches = data.micro_batches(trainer.world_size)
    module.compiles, module.checkpoint_gradients = cli.compiles, cli.config.gradient_checkpointing
    if module.compiles:
        begin_compiling(cli.config.data.get("cache", Path("cache")))
    folder, config = RunFolder(cli.folder), cli.resolved_config()
    is_new = not folder.path.exists()
    lock = _take_folder(cli, folder) if trainer.is_global_zero else None
    try:
        goes_on = folder.is_run or cli.config.branch_from is not None
        defaults = cli.setting_defaults(config) if goes_on else {}  # of settings that the earlier run does not name
        if trainer.is_global_zero:
            folder.check_same(config, defaults)
        if cli.config.resume == "auto" and (summary := folder.read_summary()) is not None:
            rank_zero_info(f"{folder.path} has come to its end; --resume never sets it aside and starts over")
            return summary
        if trainer.is_global_zero:
            _begin_session(cli, folder, config, defaults)
        parent = ParentRun(cli.config.branch_from) if cli.config.branch_from is not None else None
        if parent and trainer.is_global_zero and not checkpoints_in(folder.checkpoints):
            parent.check_settings(config, defaults)
            parent.copy_to(folder)
        resumed = folder.checkpoint_to_resume(rank_zero_warn) if parent or cli.config.resume == "auto" else None
        if resumed:
            rank_zero_info(f"going on from {resumed}")
        first_step = (resumed and checkpoint_step(resumed)) or 0
        if module.sizes and (found := module.sizes.at(first_step)):
            data.limit_micro_batches(found, trainer.world_size)
            trainer.accumulate_grad_batches = data.micro_batches(trainer.world_size)
        logging, checkpoints = cli.config_init["logging"], cli.config_init["checkpoints"]
        telemetry = Telemetry(every_steps=logging.every_steps)
        trainer.loggers = _loggers(cli, folder, config)
        saving = Checkpoints(folder.checkpoints, checkpoints)
        schedule = ValidationSchedule(validate_every_steps=cli.config_init["validation"].every_steps)
        # A step is measured before it is saved, and saved before anything may stop the run; a callback of the user
        # that ends it does so before the summary is written.
        first = [Signals(folder.checkpoints), Logs(folder), schedule, telemetry, Display(telemetry), CompilingLine()]
        metadata = [RunMetadata(folder, telemetry, parent), WandbRun(folder, cli.begins_with)]
        own = [*first, *(cli.trainer_settings.callbacks or ()), *metadata]
        cast(Any, trainer).callbacks.extend([*own, *callbacks, saving])
        if module.compiles:
            compile_headers_ahead()
        with _closing(trainer, folder, saving), _restoring(resumed), without_torn_kernels():
            trainer.fit(module, datamodule=cli.datamodule, ckpt_path=resumed, weights_only=True)
        if trainer.is_global_zero:
            folder.write_info(complete=True)  # its checkpoints may be removed now
        return folder.read_summary() or {}
    except Exception as error:
        _note_what_is_saved(error, folder)
        raise
    finally:
        if lock is not None:
            lock.release()
            if is_new and not folder.has_started:  # refused before it read its data: nothing in it is worth keeping
                shutil.rmtree(folder.path, ignore_errors=True)


@contextmanager
def _restoring(checkpoint: Path | None) -> Iterator[None]:
    """Names the checkpoint where Lightning cannot take up what lies in it, though its hashes are right.

    Raises:
        UserError: in place of what Lightning, an optimizer or a callback raised.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        is_taking_up = any(
            frame.name.startswith("restore") and frame.filename.endswith("checkpoint_connector.py") for frame in frames
        )
        if ending_of(error) is not None or not is_taking_up:
            raise
        reason = f"{type(error).__name__}: {message_of(error)}"
        raise UserError(f"{checkpoint} holds no state of this run ({reason:.300}); {OTHER_CHECKPOINT}") from error


@contextmanager
def _closing(trainer: Trainer, folder: RunFolder, saving: Checkpoints) -> Iterator[None]:
    """Closes the W&B run however this session ends, and sends what came of it where it came to its end."""
    has_failed = True
    try:
        yield
        has_failed = False
    finally:
        for logger in trainer.loggers if trainer.is_global_zero else []:
            if isinstance(logger, WandbLogger) and logger._experiment is not None:
                newest = checkpoints_in(folder.checkpoints)
                if not has_failed and newest:
                    best = next((path for path in newest if path.name == saving.best["name"]), None)
                    scores_best = "scores" in (folder.read_summary() or {})
                    log_weights(logger, folder, newest=newest[0], best=best, scores_best=scores_best)
                finish(logger, failed=has_failed)
