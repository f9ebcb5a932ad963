"""Lightning's Trainer, set up the one way that the exact step and the exact resume need."""

import logging
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.overrides.distributed import _sync_module_states
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.nn import Module
from torch.optim import Optimizer

from common.errors import UserError
from training.setup.settings import TrainerSettings
from training.storage.checkpoint import SafeCheckpointIO, read_checkpoint


def resolved(settings: TrainerSettings) -> TrainerSettings:
    """The settings with every `auto` decided by what this machine has; precision is decided by measurement.

    Raises:
        UserError: where this machine does not have what they name.
    """
    if settings.deterministic:  # cuBLAS reads it once, when it computes its first product
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    accelerator, devices, num_nodes = settings.accelerator, settings.devices, settings.num_nodes
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if devices == "auto" and "LOCAL_WORLD_SIZE" in os.environ:  # torchrun decides; Lightning would take one device
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
    elif devices == "auto":
        devices = max(torch.cuda.device_count(), 1) if accelerator == "cuda" else 1
    if accelerator == "cuda" and cast(int, devices) > torch.cuda.device_count():
        raise UserError(
            f"trainer.accelerator = cuda and trainer.devices = {devices}, but torch finds {torch.cuda.device_count()} "
            f"CUDA devices here"
        )
    if settings.attention == "flex" and (accelerator != "cuda" or settings.precision == "64-true"):
        here = f"on {accelerator}" if accelerator != "cuda" else "in 64-true"
        raise UserError(
            f"trainer.attention = flex: torch trains by FlexAttention on CUDA alone, in 32 or 16 bits, and this run is "
            f"{here}; choose auto, or dense"
        )
    return replace(settings, accelerator=accelerator, devices=devices, num_nodes=num_nodes)


def _renamed(state: dict[str, Any], names: dict[Any, Any]) -> dict[str, Any]:
    """An optimizer's state with its parameters called otherwise."""
    groups = [{**group, "params": [names[name] for name in group["params"]]} for group in state["param_groups"]]
    return {"state": {names[name]: value for name, value in state["state"].items()}, "param_groups": groups}


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2, with checkpoints in the one form that every run has, so that any other number of devices goes on."""

    def __init__(self, world: int) -> None:
        super().__init__(data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole optimizer's state as torch has it without shards: parameters numbered in its own order."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        bare = getattr(optimizer, "optimizer", optimizer)  # within Lightning's wrapper
        state = cast(dict[str, Any], get_optimizer_state_dict(cast(Module, self.model), bare, options=options))
        if not state:  # only the first process gets it
            return {}
        names = [name for group in state["param_groups"] for name in group["params"]]
        return _renamed(state, {name: number for number, name in enumerate(names)})

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """Has the first process write the whole checkpoint.

        Lightning's own refuses a folder of its name, which a slower process finds where the first has written it.
        """
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options=storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Shares a whole checkpoint out to the shards of model and optimizer."""
        checkpoint, model = read_checkpoint(Path(checkpoint_path)), cast(Module, self.model)
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(model, checkpoint["state_dict"], options=options)
        name_of = {id(parameter): name for name, parameter in model.named_parameters()}
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            ordered = [name_of[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
            set_optimizer_state_dict(model, optimizer, _renamed(state, dict(enumerate(ordered))), options=options)
        return checkpoint


class SeparateBackwards(DDPStrategy):
    """DDP whose processes compute their gradients each by itself, and average them when all have theirs.

    DDP's own way exchanges gradients within the backward pass: where one process is out of memory there, the others
    wait for it. The step has to average them (`RepeatedSteps`).
    """

    def configure_ddp(self) -> None:
        """Gives all processes the weights of the first, as DDP does, and leaves the module as it is."""
        _sync_module_states(cast(Module, self.model))


def check_strategy(
    settings: TrainerSettings, optimizer: str, ema_decay: float | None = None, micro_batch_size: object = None
) -> None:
    """Raises UserError where resolved settings, or an optimizer, do not go with the strategy."""
    if settings.strategy != "fsdp":
        return
    if micro_batch_size == "auto":
        raise UserError(
            "data.micro_batch_size = auto does not go with trainer.strategy = fsdp, whose devices wait for each other "
            "within a pass: name a number, or choose ddp"
        )
    if settings.precision == "64-true":
        raise UserError("trainer.precision = 64-true does not go with trainer.strategy = fsdp: choose 32-true, or ddp")
    if ema_decay is not None:
        raise UserError(
            f"optimizer.ema_decay = {ema_decay} does not go with trainer.strategy = fsdp, which averages no shards: "
            f"leave it out, or choose ddp"
        )
    if optimizer == "muon":
        raise UserError(
            "optimizer.name = muon does not go with trainer.strategy = fsdp, which shards the matrices that Muon "
            "orthogonalises whole: choose adamw, or ddp"
        )


def _strategy(settings: TrainerSettings, *, repeats_steps: bool) -> Strategy | str:
    """DDP adds gradients up once a step, in its buckets, while the last micro-batch's backward pass goes on.

    Without a static graph: DDP asserts in the first step of one whose micro-batches are not all reduced, and where
    there is one micro-batch it gains nothing (0.95 to 1.1 of the time).
    """
    world = cast(int, settings.devices) * settings.num_nodes
    if settings.strategy == "fsdp":
        return ShardedStrategy(world)
    if world == 1 and settings.strategy != "ddp":
        return "auto"
    return SeparateBackwards() if repeats_steps else DDPStrategy(gradient_as_bucket_view=True)


PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}
_NOISE = (
    "💡",
    "GPU available",
    "TPU available",
    "Using bfloat16",
    "`Trainer.fit` stopped",
    "`Trainer(val_check_interval",
    "You are using a CUDA device",  # and should set what is set here
    "LOCAL_RANK:",
)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_NOISE)


def _quieten() -> None:
    """Silences what Lightning prints on every run and no user can act upon."""
    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.rank_zero", "pytorch.accelerators.cuda"):
        logging.getLogger(f"lightning.{name}").addFilter(_is_news)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message="GPU available but not used.*")  # as trainer.accelerator = cpu demands


class Float16(MixedPrecision):
    """Autocast to float16 on any device. Lightning's scaler is left out: the exact step has its own (`LossScale`)."""

    def __init__(self, accelerator: str) -> None:
        super().__init__("16-mixed", accelerator, scaler=torch.amp.GradScaler(accelerator, enabled=False))
        self.scaler = None


def matmul_precision(settings: TrainerSettings) -> str:
    """How CUDA computes the products that are left in float32: in TF32 where the run's own are in 16 bits."""
    return "high" if "16" in settings.precision else "highest"


def _slurm() -> SLURMEnvironment:
    """The job of SLURM that this process belongs to.

    Raises:
        UserError: where it was submitted in a way that Lightning does not take, such as `--ntasks` alone.
    """
    try:
        return SLURMEnvironment(auto_requeue=False)  # it would save within the signal handler, mid-step
    except RuntimeError as error:
        raise UserError(f"this job of SLURM: {error}") from None


def make_trainer(settings: TrainerSettings, folder: Path, *, repeats_steps: bool = False) -> Trainer:
    """A Trainer of resolved settings. Loggers, callbacks and how batches are cut are given to it afterwards.

    Args:
        settings: with every `auto` decided.
        folder: of the run.
        repeats_steps: whether a step that is out of memory is repeated in smaller micro-batches.

    Raises:
        UserError: where the environment holds settings for Lightning, which no run folder would hold.
    """
    if foreign := sorted(name for name in os.environ if name.startswith("PL_TRAINER_")):
        raise UserError(f"{', '.join(foreign)} in the environment would change the run behind its settings: unset it")
    _quieten()
    plugins: list[Any] = [SafeCheckpointIO()]
    if SLURMEnvironment.detect():
        plugins.append(_slurm())
    if settings.precision == "16-mixed":
        plugins.append(Float16(settings.accelerator))
    if settings.accelerator == "cuda":
        torch.set_float32_matmul_precision(matmul_precision(settings))
    return Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=_strategy(settings, repeats_steps=repeats_steps),
        precision=None if settings.precision == "16-mixed" else cast(Any, settings.precision),
        deterministic=settings.deterministic,
        plugins=plugins,
        default_root_dir=folder,
        max_epochs=1,  # the whole run is one: the loader shuffles anew where an epoch of the corpus begins
        val_check_interval=1,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        inference_mode=settings.strategy != "fsdp",
        profiler=settings.profiler and PROFILERS[settings.profiler](dirpath=folder, filename=settings.profiler),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
