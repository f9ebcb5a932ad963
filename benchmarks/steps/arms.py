"""One training step of each arm of this project, with the batches it takes: forward, backward, clip, update."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.steps.shapes import BenchmarkShape
from common.repository import REPOSITORY
from data.datamodule import DataModule
from data.stream.batch import Batch
from data.stream.loader import CorruptedWindows, StepCollator, StepLoader
from data.stream.sharding import BatchSharding
from models.attention.choice import preferring
from models.bodies.make import BodyConfig
from objectives.core.base import FLOPS_OF_A_STEP, Objective
from objectives.core.pretraining import Pretraining
from training.optimizers.optim import make_optimizer
from training.setup.cli import RunCLI
from training.step.compilation import begin_compiling, compile_headers_ahead

PRESET_OF = {"masked_lm": "bert", "causal_lm": "gpt2", "denoising": "bart", "span_corruption": "t5"}
BATCHES = 8  # different ones, made ahead, on the device, and used in turn


@dataclass(frozen=True)
class TimedStep:
    """A step to be timed.

    Attributes:
        step: makes one training step.
        raw_tokens: of a step, on average.
        flops: of a step; None where nobody counts them.
        parameters: of the model.
    """

    step: Callable[[], None]
    raw_tokens: float
    flops: float | None
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a comparison holds fixed: `precision` is fp32 or bf16."""

    objective: str
    shape: BenchmarkShape
    device: torch.device
    precision: str

    def autocast(self) -> Any:
        """bf16 as Lightning and transformers' Trainer have it, or nothing."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def make_cli(objective: str, preset: str, *more: str) -> RunCLI:
    """An arm's run as train.py makes it."""
    arguments = ["--config", str(REPOSITORY / f"configs/{objective}.yaml"), f"--body.preset={preset}", *more]
    defaults = REPOSITORY / "configs/base.yaml"
    return RunCLI(Objective, DataModule, BodyConfig, Pretraining, defaults=defaults, arguments=arguments)


def faster_precision(device: torch.device) -> str:
    """What `auto` is on this machine for a masked LM: fp32 or bf16; on a CPU it is measured."""
    if device.type == "cuda":
        return "bf16"
    chosen = make_cli("masked_lm", "lab", "--resume=never").trainer_settings.precision
    return "bf16" if chosen == "bf16-mixed" else "fp32"


def prepared(setting: Setting, preset: str, *, documents: bool = False) -> tuple[Pretraining, DataModule]:
    """The module without its network, and its data, opened; the ids of the text are no more than 8,192."""
    shape, blocks = setting.shape, setting.shape.blocks(setting.objective)
    settings = {
        "body.width": shape.width,
        "body.layers": list(blocks) if len(blocks) > 1 else shape.layers,
        "body.num_heads": shape.num_heads,
        "body.document_masking": str(documents).lower(),
        "data.window": shape.window,
        "data.batch_size": shape.batch_size,
        "data.vocab_size": min(shape.vocab_size, 8192),
        "trainer.precision": "bf16-mixed" if setting.precision == "bf16" else "32-true",  # of which kernels are chosen
        "trainer.accelerator": "gpu" if setting.device.type == "cuda" else "cpu",
        **({} if preset == "lab" else {"body.feed_forward_width": shape.inner}),
        # A random segment would be kept from the one that it is compared with.
        **({"model.init_args.second_segment": "none"} if documents and setting.objective == "masked_lm" else {}),
        **({"data.corpus": REPOSITORY / "README.md", "data.documents": "paragraph"} if shape.width < 64 else {}),
    }  # fmt: skip
    cli = make_cli(setting.objective, preset, *(f"--{name}={value}" for name, value in settings.items()))
    module, data = cast(Pretraining, cli.model), cast(DataModule, cli.datamodule)
    data.cache = REPOSITORY / "cache"
    data.prepare_data()
    data.open()
    return module, data


def loader_of(module: Pretraining, data: DataModule, *, workers: int = 0) -> StepLoader:
    """The training batches, as a run on one device reads them."""
    sharding = BatchSharding(batch_size=data.batch_size, micro_batch_size=data.batch_size)
    collator = StepCollator(
        micro_batch_size=data.batch_size,
        pad=data.vocabulary.pad,
        max_lengths=module.objective.max_lengths(data.window),
        keep_documents_apart=module.objective.keep_documents_apart,
    )
    examples = CorruptedWindows(data.training_windows, module.objective.corruption(data.vocabulary), seed=data.seed)
    return StepLoader(examples, sharding.steps(0), collator, length=1 << 40, num_workers=workers)


def batches_of(setting: Setting, module: Pretraining, data: DataModule) -> list[Batch]:
    """Some batches, on the device."""
    return [batch.to(setting.device) for batch in itertools.islice(loader_of(module, data), BATCHES)]


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Clips, updates, and forgets the gradient."""
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def our_step(module: Pretraining, optimizer: torch.optim.Optimizer, batch: Batch, autocast: Any) -> None:
    """A step as training/step/module.py makes it, without Lightning."""
    with autocast, preferring(module.kernels.plain):
        terms = module.terms(batch, count_correct=False)
        loss = torch.stack([term.minimised_sum / (term.divisor or 1.0) for term in terms.values()]).sum()
    loss.backward()
    update(module, optimizer)


def ours(setting: Setting, preset: str, *, compiles: bool, documents: bool = False) -> TimedStep:
    """The step of this project."""
    module, data = prepared(setting, preset, documents=documents)
    module.build(vocab_size=setting.shape.vocab_size, window=data.window)
    if compiles:
        begin_compiling(data.cache)
        compile_headers_ahead()
        module.compile_steps(data.training_windows, data.vocabulary)
    module.to(setting.device)
    module.train()
    optimizer = make_optimizer(module, module.optimizer_config)
    batches = batches_of(setting, module, data)
    turn = itertools.cycle(batches)
    encoder, decoder, targets = _mean_lengths(batches)
    flops = module.built.flops(encoder=encoder, decoder=decoder, targets=targets)
    return TimedStep(
        step=lambda: our_step(module, optimizer, next(turn), setting.autocast()),
        raw_tokens=sum(batch.raw_tokens for batch in batches) / BATCHES,
        flops=FLOPS_OF_A_STEP * data.batch_size * flops,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    )


def _mean_lengths(batches: list[Batch]) -> tuple[float, float, float]:
    """Mean positions of encoder and decoder, padding included, and targets, of a window."""

    def width(ids: Tensor | None) -> int:
        return 0 if ids is None else ids.shape[1]

    windows = sum(len(batch.indices) for batch in batches)
    encoder = sum(width(batch.encoder_ids_BS) for batch in batches) / len(batches)
    decoder = sum(width(batch.decoder_ids_BT) for batch in batches) / len(batches)
    return encoder, decoder, sum(batch.target_tokens for batch in batches) / windows
