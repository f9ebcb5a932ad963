"""The attention of a run: over a text of a user as a table and a picture, and over held-out text as it trains."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from rich.table import Table

from common.errors import UserError
from common.files import write_whole
from common.terminal import visible
from data.stream.collate import collate
from data.stream.order import Purpose, generator
from data.stream.windows import Windows
from data.tokens.tokenizer import Tokenizer, Vocabulary
from objectives.core.pretraining import Pretraining
from objectives.inspection.attention import AttentionMap, maps_in_training, summaries
from objectives.inspection.attention_figure import Labels, attention_figure, groups_of, heading
from objectives.inspection.picture import Kind, Painter
from objectives.inspection.text import windows_of_text
from objectives.weights.load import TrainedRun
from training.monitoring.callbacks import RunCallback
from training.monitoring.tables import plain_table
from training.step.module import ExactModule

FILE = "attention.png"  # in the run folder
TEXT = "Thank you for inviting me to your party last week ."


def labels_of(tokenizer: Tokenizer, vocabulary: Vocabulary) -> Labels:
    """The text of each token, as pictures of corruptions have it."""
    painter = Painter(vocabulary, lambda ids: visible(tokenizer.decode(list(ids), skip_special_tokens=False)))

    def labels(ids: Sequence[int]) -> list[str]:
        kinds: list[Kind] = ["plain"] * len(ids)
        return [cell.text for cell in painter.row(np.array(ids), kinds)]

    return labels


def example_text(run: TrainedRun) -> str:
    """As many words of a sentence as a window of the run holds."""
    words = TEXT.split()
    while len(words) > 1 and len(windows_of_text(" ".join(words), run.tokenizer, run.vocabulary)[0]) > run.window:
        words.pop()
    return " ".join(words)


def attention_of(run: TrainedRun, text: str, seed: int) -> list[AttentionMap]:
    """The maps of every body of a run over a text, noised as in training by that seed.

    Raises:
        UserError: where there is no text, it is longer than the run's windows, or the run has no attention.
    """
    windows = windows_of_text(text, run.tokenizer, run.vocabulary)
    window = windows[0]
    if len(window) > run.window:
        raise UserError(
            f"the text has {len(window)} tokens, and {run.folder} reads {run.window} at once (data.window): shorten it"
        )
    rng = generator(seed, Purpose.DISPLAY, 0, window.index)
    example = run.objective.corruption(run.vocabulary)(window, rng, windows)
    maps = maps_in_training(run.objective, run.network, run.batch([window], [example]))
    if not maps:
        raise UserError(f"{run.folder} has no attention to show: its body has none")
    return maps


def attention_tables(maps: Sequence[AttentionMap]) -> list[Table]:
    """A table for each stack and kind, with a row for each head: its mean entropy and where its weight goes."""
    tables = []
    for group in groups_of(maps):
        of_itself = ("on itself", "on the previous") if group[0].kind == "self" else ()
        table = plain_table("layer", "head", "entropy (nats)", "on the first", *of_itself, title=heading(group[0]))
        for one in group:
            for head, summary in enumerate(summaries(one), start=1):
                numbers = [f"{value:.3f}" for value in summary if value is not None]
                table.add_row(str(one.layer + 1), str(head), *numbers)
        tables.append(table)
    return tables


class AttentionCallback(RunCallback):
    """Writes attention.png in the run folder, and the same to W&B, at the start and at every validation.

    Shown is the first held-out window, with the noise of validation.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @torch.no_grad()
    def _draw(self, trainer: Trainer, module: ExactModule) -> None:
        assert isinstance(module, Pretraining)
        data, objective = module.data, module.objective
        windows: Windows = data.held_out_windows
        window, rng = windows[0], generator(data.seed, Purpose.VALIDATION_NOISE, 0, 0)
        batch = collate(
            [window],
            [objective.corruption(data.vocabulary)(window, rng, windows)],
            pad=data.vocabulary.pad,
            max_lengths=objective.max_lengths(data.window),
            keep_documents_apart=objective.keep_documents_apart,
        ).to(module.device)
        was_training = module.training
        module.eval()
        with trainer.precision_plugin.forward_context():
            maps = maps_in_training(objective, module.built, batch)
        module.train(was_training)
        if maps and trainer.is_global_zero:
            self._publish(trainer, module, attention_figure(maps, labels_of(data.tokenizer, data.vocabulary), "png"))

    def _publish(self, trainer: Trainer, module: ExactModule, picture: bytes) -> None:
        path = self.folder / FILE
        write_whole(path, picture)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                import wandb

                step = {"raw_tokens": module.raw_tokens, "trainer/global_step": trainer.global_step}
                logger.experiment.log({"attention/picture": wandb.Image(str(path)), **step})

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        self._draw(trainer, module)

    def validation_ends(self, trainer: Trainer, module: ExactModule) -> None:
        self._draw(trainer, module)
