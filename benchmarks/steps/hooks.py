"""What a step costs beside its model: the processor's microseconds of a bare loop, of plain Lightning, and of a run.

All three train the model of the shape tiny, whose own part is small, over the same windows. What is compared is the
least tenth of the steps, by the processor's clock, so that other processes count little.
"""

import tempfile
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from benchmarks.steps.arms import Setting, loader_of, make_cli, our_step, prepared
from common.repository import REPOSITORY
from data.stream.batch import Batch
from objectives.core.pretraining import Pretraining
from training.optimizers.optim import make_optimizer
from training.session import train

WARM_UP = 5  # steps


class ProcessorClock(Callback):
    """Notes what the processor has spent by the end of each step."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def note(self) -> None:
        """At the end of a step."""
        self.moments.append(time.process_time())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.note()

    @property
    def microseconds(self) -> float:
        """Of a step, the least tenth of them."""
        pairs = zip(self.moments[WARM_UP:], self.moments[WARM_UP + 1 :], strict=False)
        taken = sorted(end - begin for begin, end in pairs)
        return 1e6 * taken[len(taken) // 10]


class Plain(LightningModule):
    """The same loss and optimizer by automatic optimisation, with nothing of ours around them."""

    def __init__(self, module: Pretraining) -> None:
        super().__init__()
        self.module = module

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self.module.terms(batch, count_correct=False).values()
        return torch.stack([term.minimised_sum / (term.divisor or 1.0) for term in terms]).sum()

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.module, self.module.optimizer_config)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _bare(setting: Setting, steps: int, clock: ProcessorClock) -> None:
    module, data = prepared(setting, "lab")
    module.build(vocab_size=data.vocabulary.size, window=data.window)
    module.train()
    optimizer, batches = make_optimizer(module, module.optimizer_config), iter(loader_of(module, data))
    for _ in range(steps):
        our_step(module, optimizer, next(batches), setting.autocast())
        clock.note()


def _plain(setting: Setting, steps: int, clock: ProcessorClock) -> None:
    module, data = prepared(setting, "lab")
    module.build(vocab_size=data.vocabulary.size, window=data.window)
    module.train()
    off: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = Trainer(accelerator="cpu", max_steps=steps, gradient_clip_val=1.0, callbacks=[clock], **off)
    trainer.fit(Plain(module), loader_of(module, data))


def _run(setting: Setting, steps: int, clock: ProcessorClock) -> None:
    shape = setting.shape
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "name": "run", "runs": folder, "budget.steps": steps, "validation.every_steps": 10**6,
            "logging.wandb": "off", "logging.examples": 0, "trainer.accelerator": "cpu",
            "trainer.precision": "32-true", "data.cache": REPOSITORY / "cache", "body.width": shape.width,
            "body.layers": shape.layers, "body.num_heads": shape.num_heads, "data.window": shape.window,
            "data.batch_size": shape.batch_size, "data.vocab_size": shape.vocab_size, "data.validation_windows": 4,
            "data.corpus": REPOSITORY / "README.md", "data.documents": "paragraph", "data.workers": 0,
        }  # fmt: skip
        cli = make_cli(setting.objective, "lab", *(f"--{name}={value}" for name, value in settings.items()))
        train(cli, [clock])


def measure_hooks(setting: Setting, *, turns: int, steps: int) -> dict[str, float]:
    """Microseconds of a step by each of the three, the least of some turns."""
    ways = {"bare loop": _bare, "plain Lightning": _plain, "run": _run}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, measure in ways.items():
            clock = ProcessorClock()
            measure(setting, steps, clock)
            found[name].append(clock.microseconds)
    return {name: min(taken) for name, taken in found.items()}
