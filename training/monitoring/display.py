"""What a person sees of a run: a bar on a terminal, lines elsewhere, and a table of runs at the end."""

import math
import os
import sys
import time

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from training.monitoring.callbacks import RunCallback
from training.monitoring.telemetry import Telemetry
from training.step.compilation import CACHE
from training.step.module import ExactModule

SECONDS_BETWEEN_LINES = 15
PLATEAU = 0.03  # a loss this near to the unigram entropy, as a share of it, rests on it


def short(number: float) -> str:
    """`12.3k`, `4.56M`: three digits and a suffix."""
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{suffix}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    if not math.isfinite(seconds):
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rests_at(loss: float, unigram_entropy: float) -> bool:
    """Whether a loss rests on the unigram entropy."""
    return abs(loss - unigram_entropy) < PLATEAU * unigram_entropy


class Display(RunCallback):
    """Shows loss, raw tokens a second and the time left; on a terminal as a bar, elsewhere as a line now and then."""

    def __init__(self, telemetry: Telemetry, console: Console | None = None) -> None:
        self.telemetry = telemetry
        self.console = console or Console(file=sys.stderr, highlight=False)
        self.bar: Progress | None = None
        self.has_reported_plateau = False
        self.line_at = 0.0

    def _numbers(self, trainer: Trainer, module: ExactModule) -> str:
        assert module.progress is not None
        latest, fraction = self.telemetry.latest, module.progress.fraction(trainer.global_step)
        done = fraction - self.first_fraction
        elapsed = time.monotonic() - self.started
        left = elapsed * (1 - fraction) / done if done > 0 else math.nan
        parts = [f"step {trainer.global_step:,}", f"{short(module.raw_tokens)} tokens"]
        if "train/loss" in latest:
            parts.append(self._training_loss())
            parts.append(f"{short(latest['speed/raw_tokens_per_second'])} tokens/s")
        return "  ".join([*parts, f"{duration(left)} left"])

    def _training_loss(self) -> str:
        """`train loss 7.237 = masked 6.544 + next_sentence 0.693`; of one term, its name alone."""
        terms = self.telemetry.training_terms
        named = " + ".join(f"{name} {loss:.3f}" for name, loss in terms.items())
        return f"train {named}" if len(terms) == 1 else f"train loss {sum(terms.values()):.3f} = {named}"

    def _introduce(self, trainer: Trainer, module: ExactModule) -> None:
        """One line on what is about to run."""
        assert module.progress is not None
        total, tokens = module.progress.total_steps, module.step_cost().raw_tokens
        parts = [
            f"{trainer.default_root_dir}: {short(module.num_parameters)} parameters",
            f"{total:,} steps of {short(tokens)} raw tokens" if total else f"steps of {short(tokens)} raw tokens",
            f"{trainer.precision} on {trainer.world_size} {module.device.type}",
        ]
        self.console.print(", ".join(parts), soft_wrap=True)

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        assert module.progress is not None
        if trainer.is_global_zero:
            self._introduce(trainer, module)
        self.started, self.first_fraction = time.monotonic(), module.progress.fraction(trainer.global_step)
        self.line_at = self.started
        if trainer.is_global_zero and self.console.is_terminal:
            self.bar = Progress(
                BarColumn(bar_width=24), TextColumn("{task.percentage:3.0f}%"), TextColumn("{task.description}"),
                console=self.console, transient=True,
            )  # fmt: skip
            self.task = self.bar.add_task("", total=1.0)
            self.bar.start()

    def step_ends(self, trainer: Trainer, module: ExactModule) -> None:
        assert module.progress is not None
        if not trainer.is_global_zero:
            return
        if self.bar is not None:
            completed = module.progress.fraction(trainer.global_step)
            self.bar.update(self.task, completed=completed, description=self._numbers(trainer, module))
        elif time.monotonic() - self.line_at > SECONDS_BETWEEN_LINES:
            self.line_at = time.monotonic()
            self.console.print(self._numbers(trainer, module), soft_wrap=True)

    def validation_ends(self, trainer: Trainer, module: ExactModule) -> None:
        if not trainer.is_global_zero:
            return
        results, references = module.validation_results, module.references()
        terms = [
            f"{name} {result.loss:.3f}"
            + ("" if math.isnan(result.accuracy) else f" nats (accuracy {result.accuracy:.1%})")
            for name, result in results.items()
            if result.num
        ]
        line = f"validation at step {trainer.global_step:,}, {short(module.raw_tokens)} tokens: {', '.join(terms)}"
        line += "".join(f", {name.replace('_', ' ')} {value:.4g}" for name, value in module.headline_metrics().items())
        if references:
            line += f"; ln V {references['ln_vocabulary']:.3f}, unigram entropy {references['unigram_entropy']:.3f}"
        self.console.print(line, soft_wrap=True)
        name, first = next(iter(results.items()))
        if not self.has_reported_plateau and rests_at(first.loss, references.get("unigram_entropy", math.nan)):
            self.has_reported_plateau = True
            self.console.print(
                f"  {name} is at the unigram entropy: the model knows how frequent tokens are, not yet what follows "
                f"from their neighbours. {module.at_unigram_entropy}".rstrip(),
                soft_wrap=True,
            )

    def run_ends(self, trainer: Trainer, module: ExactModule) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


class CompilingLine(RunCallback):
    """Prints once what the first step of a compiled run took, compiling included, and where kernels are kept."""

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        self.started: float | None = time.monotonic() if module.compiles else None
        if self.started is not None:
            rank_zero_info("[machine] compiling: the first step takes longer")

    def step_ends(self, trainer: Trainer, module: ExactModule) -> None:
        if self.started is not None:
            seconds, self.started = time.monotonic() - self.started, None
            rank_zero_info(f"[machine] compiling took {seconds:.1f} s with the first step; kept in {os.environ[CACHE]}")
