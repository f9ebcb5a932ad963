"""The settings that every run has, beside its objective, its Transformer, its data and its optimizer."""

from dataclasses import dataclass
from typing import Literal

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger

from common.ranges import STEPS, check_ranges, count, positive
from training.optimizers.optim import OptimizerConfig
from training.step.budget import Budget

WandbMode = Literal["auto", "online", "offline", "off"]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "64-true", "bf16-mixed", "bf16-true", "16-mixed"]
AttentionKernelSetting = Literal["auto", "dense", "flex"]
StrategyName = Literal["auto", "ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """Where and how a run is computed.

    Args:
        accelerator: kind of device; `auto` is the best there is.
        devices: devices of each machine; `auto` is all GPUs, or one CPU process, or what torchrun started.
        num_nodes: machines.
        strategy: `ddp` copies the model to every device, and is `auto` for several; `fsdp` shards it (FSDP2).
        precision: `auto` is the faster of 32-true and bf16-mixed (16-mixed on GPUs without bf16), measured at the start
            over matrix products of the run's sizes; a run that goes on keeps what it began with. `16-mixed` is for GPUs
            without bf16 (before Ampere): the loss is scaled, and the scale stands in the checkpoint.
        attention: what computes attention under masks that are more than the causal one (documents kept apart, padding,
            prefixes, T5's bias): `dense` takes them as tensors, `flex` compiles them and skips what they hide (CUDA
            alone, without dropout); `auto` is the faster of both, measured at the start, and `dense` on other devices.
            A run that goes on keeps what it began with.
        deterministic: uses deterministic kernels on a GPU, some of them slower.
        callbacks: further callbacks of Lightning, each by its class path and init_args; numbers that they may monitor
            are those of metrics.csv, such as validation/loss.
        loggers: further loggers of Lightning, likewise; they log what W&B logs.
        profiler: `simple` or `advanced` (Lightning's profilers), which write to the run's folder.
    """

    accelerator: Accelerator = "auto"
    devices: int | Literal["auto"] = "auto"
    num_nodes: int = 1
    strategy: StrategyName = "auto"
    precision: Precision = "auto"
    attention: AttentionKernelSetting = "auto"
    deterministic: bool = False
    callbacks: list[Callback] | None = None
    loggers: list[Logger] | None = None
    profiler: Literal["simple", "advanced"] | None = None

    def __post_init__(self) -> None:
        check_ranges("trainer.", {"devices": count(4096), "num_nodes": count(65536)}, vars(self))


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    """What is logged and where to; `metrics.csv` lies in the run folder whatever is chosen here.

    Args:
        every_steps: optimizer steps between two logs.
        wandb: Weights & Biases: `online`, `offline` or `off`; `auto` is online where a key is set, else offline.
        project: W&B project; by default WANDB_PROJECT, or objective-lab.
        entity: W&B user or team; by default WANDB_ENTITY, or the key's.
        group: W&B group, such as the name of a comparison.
        tags: W&B tags, beside the objective and the preset.
        private: sends no command line, git remote, machine or package list to W&B.
        examples: held-out windows that are shown, noised and filled in, at the start and at every validation.
        attention: draws the attention of every layer and head over a held-out window, at the start and at every
            validation, as attention.png in the run folder and as a picture in W&B.
    """

    every_steps: int = 10
    wandb: WandbMode = "auto"
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    private: bool = False
    examples: int = 4
    attention: bool = False

    def __post_init__(self) -> None:
        check_ranges("logging.", {"every_steps": STEPS, "examples": count(1000, low=0)}, vars(self))


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """When the held-out text is scored.

    Args:
        every_steps: optimizer steps between two; by default a tenth of the run, 10 at least, or 250 where a clock
            ends it.
    """

    every_steps: int | None = None

    def __post_init__(self) -> None:
        check_ranges("validation.", {"every_steps": STEPS}, vars(self))


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """When checkpoints are written; one follows every validation, and one the end.

    Args:
        every_minutes: minutes between two, at most.
        every_steps: optimizer steps between two, where that is wanted besides.
        at_steps: optimizer steps after which one is written and kept for good.
        keep: how many of the newest are kept, beside the best.
    """

    every_minutes: float = 10.0
    every_steps: int | None = None
    at_steps: tuple[int, ...] = ()
    keep: int = 2

    def __post_init__(self) -> None:
        ranges = {"every_minutes": positive(1e7), "every_steps": STEPS, "at_steps": STEPS, "keep": count(10**6)}
        check_ranges("checkpoints.", ranges, vars(self))


GROUPS = {
    "optimizer": OptimizerConfig,
    "budget": Budget,
    "trainer": TrainerSettings,
    "logging": LoggingSettings,
    "validation": ValidationSettings,
    "checkpoints": CheckpointSettings,
}
