"""Pictures of held-out windows in the course of a run: inputs, targets, and the model's predictions."""

import io
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from common.files import write_whole
from data.stream.batch import IGNORE, Example
from data.stream.collate import collate
from data.stream.order import Purpose, generator
from data.stream.windows import Window, Windows
from objectives.core.pretraining import Pretraining
from objectives.inspection.picture import Painter, Panel, legend, picture
from training.monitoring.callbacks import RunCallback
from training.step.module import ExactModule

WIDTH = 140


class ExamplesCallback(RunCallback):
    """Writes examples.html in the run folder, and the same to W&B, at the start and at every validation.

    Args:
        folder: the run folder.
        number: windows that are shown, evenly spread over the held-out text.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number

    def _held_out(self, module: Pretraining) -> list[tuple[Window, Example]]:
        """Windows, and their examples with the noise of validation."""
        windows: Windows = module.data.held_out_windows
        corrupt, count = module.objective.corruption(module.data.vocabulary), min(self.number, len(windows))
        chosen = [windows[index * len(windows) // count] for index in range(count)]
        seed = module.data.seed
        return [
            (window, corrupt(window, generator(seed, Purpose.VALIDATION_NOISE, 0, window.index), windows))
            for window in chosen
        ]

    @staticmethod
    @torch.no_grad()
    def _predicted(module: Pretraining, window: Window, example: Example) -> np.ndarray:
        """int64[length], the likeliest token at every position that has a label."""
        batch = collate(
            [window],
            [example],
            pad=module.data.vocabulary.pad,
            max_lengths=module.objective.max_lengths(module.data.window),
            keep_documents_apart=module.objective.keep_documents_apart,
        ).to(module.device)
        prediction = module.objective.predictions(module.built, batch)[example.token_term]
        ids_N = prediction.head(prediction.states_ND).argmax(dim=-1)
        predicted = np.full(len(example.token_labels), IGNORE)
        predicted[prediction.labels.positions_N.cpu().numpy()] = ids_N.cpu().numpy()
        return predicted

    def _draw(self, trainer: Trainer, module: Pretraining) -> None:
        tokenizer = module.data.tokenizer
        painter = Painter(module.data.vocabulary, lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False))
        was_training = module.training
        module.eval()
        drawn: list[list[Panel]] = []
        with trainer.precision_plugin.forward_context():
            for window, example in self._held_out(module):
                drawn.append(painter.panels(window, example, self._predicted(module, window, example)))
        module.train(was_training)
        if trainer.is_global_zero:
            self._publish(trainer, module, drawn)

    def _publish(self, trainer: Trainer, module: ExactModule, drawn: list[list[Panel]]) -> None:
        console = Console(record=True, file=io.StringIO(), width=WIDTH)
        console.print(f"{self.folder.name}, step {trainer.global_step:,}", style="bold")
        for number, panels in enumerate(drawn, start=1):
            console.rule(f"held-out window {number}", align="left")
            console.print(picture(panels, WIDTH))
        console.print(legend([panel for panels in drawn for panel in panels]))
        html = console.export_html(inline_styles=True)
        write_whole(self.folder / "examples.html", html)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_to_wandb(logger, trainer, module, html, drawn)

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
