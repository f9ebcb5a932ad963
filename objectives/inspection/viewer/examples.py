"""Held-out windows in the course of a run, as the viewer's page: inputs, targets, and what the model predicts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger

from common.errors import UserError
from common.files import write_whole
from data.stream.batch import IGNORE, Example
from data.stream.order import Purpose, generator
from data.stream.windows import Window, Windows
from objectives.core.pretraining import Pretraining
from objectives.inspection.picture import Panel
from objectives.inspection.viewer.draws import MOST_TOKENS
from objectives.inspection.viewer.html import page_of
from objectives.inspection.viewer.notes import Note
from objectives.inspection.viewer.predictions import Pass
from objectives.inspection.viewer.runs import Subject, window_data
from training.monitoring.callbacks import RunCallback
from training.step.module import ExactModule


def first_tokens(window: Window, most: int) -> Window:
    """The window's first `most` tokens as a window."""
    sentences, documents = window.sentence_starts, window.document_starts
    return replace(
        window,
        tokens=window.tokens[:most],
        sentence_starts=sentences[sentences < most],
        document_starts=documents[documents < most],
    )


def predicted(example: Example, one: Pass) -> np.ndarray:
    """int64[length], the likeliest token at every position that has a target."""
    ids = np.full(len(example.token_labels), IGNORE)
    for guess in one.guesses:
        ids[guess.position] = guess.best[0][0]
    return ids


class ExamplesCallback(RunCallback):
    """Writes examples.html in the run folder, and the same to W&B, at the start and at every validation.

    Args:
        folder: the run folder.
        number: windows that are shown, evenly spread over the held-out text, by their first 64 tokens.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number

    def _held_out(self, module: Pretraining) -> list[tuple[Window, Example]]:
        """Windows, cut where the objective takes so short ones, and their examples with the noise of validation."""
        windows: Windows = module.data.held_out_windows
        corrupt, count = module.objective.corruption(module.data.vocabulary), min(self.number, len(windows))
        found = []
        for number in range(count):
            window = windows[number * len(windows) // count]
            try:
                module.objective.check_window(min(MOST_TOKENS, len(window)))
                window = first_tokens(window, MOST_TOKENS)
            except UserError:
                pass  # its spans are longer
            rng = generator(module.data.seed, Purpose.VALIDATION_NOISE, 0, window.index)
            found.append((window, corrupt(window, rng, windows)))
        return found

    @torch.no_grad()
    def _draw(self, trainer: Trainer, module: Pretraining) -> None:
        data, was_training = module.data, module.training
        subject = Subject(
            objective=module.objective, network=module.built, tokenizer=data.tokenizer, vocabulary=data.vocabulary
        )
        module.eval()
        texts, entries, panels, notes = [], [], [], []
        length: int = data.window
        with trainer.precision_plugin.forward_context():
            for window, example in self._held_out(module):
                text = data.tokenizer.decode(window.tokens.tolist(), skip_special_tokens=False)
                if len(window) < length and len(window) == MOST_TOKENS and not notes:
                    notes.append(Note.of_windows(MOST_TOKENS, length))
                one = subject.passed(window, example, with_attention=False)
                entries.append(window_data(subject, window, [(example, one)]))
                panels.append(subject.painter.panels(window, example, predicted(example, one)))
                texts.append(text)
        module.train(was_training)
        if trainer.is_global_zero and texts:
            self._publish(trainer, module, texts, entries, panels, notes)

    def _publish(
        self,
        trainer: Trainer,
        module: Pretraining,
        texts: list[str],
        entries: list[dict[str, Any]],
        panels: list[list[Panel]],
        notes: list[Note],
    ) -> None:
        run = {
            "name": self.folder.name,
            "objective": type(module.objective).__module__.rsplit(".", 1)[-1],
            "checkpoints": [{"step": trainer.global_step, "loss": None, "is_on_plateau": None}],
            "unigram_entropy": round(module.references()["unigram_entropy"], 3),
            "texts": entries,
        }
        title = f"{self.folder.name}, step {trainer.global_step:,}"
        common = {"title": title, "texts": texts, "seeds": 1, "all_seeds": 1, "objectives": [], "notes": notes}
        html, _ = page_of({**common, "runs": [run]})
        write_whole(self.folder / "examples.html", html)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_to_wandb(logger, trainer, module, html, panels)

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        assert isinstance(module, Pretraining)
        self._draw(trainer, module)

    def validation_ends(self, trainer: Trainer, module: ExactModule) -> None:
        assert isinstance(module, Pretraining)
        self._draw(trainer, module)


def _log_to_wandb(
    logger: WandbLogger, trainer: Trainer, module: ExactModule, html: str, drawn: list[list[Panel]]
) -> None:
    """The picture, and a table of the same rows as plain text."""
    import wandb

    names = list(dict.fromkeys(name for panels in drawn for panel in panels for name in panel))
    table = wandb.Table(columns=["window", "stack", *names])
    for number, panels in enumerate(drawn, start=1):
        for stack, panel in enumerate(panels, start=1):
            rows = [" ".join(cell.text for cell in panel.get(name, []) if cell.text) for name in names]
            table.add_data(number, stack, *rows)
    logger.experiment.log(
        {
            "examples/picture": wandb.Html(html),
            "examples/table": table,
            "raw_tokens": module.raw_tokens,
            "trainer/global_step": trainer.global_step,
        }
    )
