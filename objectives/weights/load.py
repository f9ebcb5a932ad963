"""A run that has been trained, taken up from its folder alone: for whatever measures, converts or uses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser

from data.store.tokenizer import Tokenizer, Vocabulary, load_tokenizer, vocabulary_of
from data.stream.batch import Batch, Example, collate
from data.stream.windows import Window
from objectives.core.base import Objective
from training.setup.messages import one_line
from training.storage.checkpoint import load_weights
from training.storage.run_dir import RunFolder


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A run with the weights of one of its checkpoints.

    Attributes:
        folder, checkpoint: where it lies.
        config: every setting, as config.yaml keeps it.
        objective: the module with these weights, in evaluation mode.
        tokenizer, vocabulary: the run's own.
        window: raw tokens a window.
    """

    folder: Path
    checkpoint: Path
    config: dict[str, Any]
    objective: Objective
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    window: int

    @property
    def max_positions(self) -> int:
        """The longest sequence of either stack."""
        return self.objective.config.max_positions or max(self.objective.max_lengths(self.window)[:2])

    def batch(self, windows: Sequence[Window], examples: Sequence[Example]) -> Batch:
        """Examples, with the windows that they were made of, as this objective reads them."""
        return collate(
            windows,
            examples,
            pad=self.vocabulary.pad,
            max_lengths=self.objective.max_lengths(self.window),
            keep_documents_apart=self.objective.keep_documents_apart,
        )


def made(class_path: str, init_args: dict[str, Any]) -> Objective:
    """The objective of this class and these settings, without its model.

    Raises:
        ArgumentError: where it has no such settings, or they are impossible.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Objective, "model")
    settings = parser.parse_object({"model": {"class_path": class_path, "init_args": init_args}})
    return parser.instantiate(settings).model


def objective_of(config: dict[str, Any]) -> Objective:
    """The objective that a run's config.yaml describes, without its model.

    Raises:
        ValueError: where the settings are none of this version's.
    """
    linked = {name: config[name] for name in ("body", "optimizer", "budget", "seed")}
    model = config["model"]
    try:
        return made(model["class_path"], {**model.get("init_args", {}), **linked})
    except ArgumentError as error:
        raise ValueError(
            f"the settings of {config.get('name')} are not this version's: {one_line(str(error))}"
        ) from error


def load_run(folder: Path, *, step: int | None = None) -> TrainedRun:
    """A run from its folder, with the weights of its newest checkpoint or of the one after `step` steps, on the CPU.

    Raises:
        ValueError: where the folder is not a run, or has no such checkpoint.
    """
    run = RunFolder(folder)
    checkpoint, config = run.checkpoint(step), run.read_config()
    objective = objective_of(config)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    vocabulary, window = vocabulary_of(tokenizer), config["data"]["window"]
    with torch.random.fork_rng(devices=[]):
        objective.build(vocab_size=vocabulary.size, window=window)
    load_weights(objective, checkpoint)
    objective.eval().requires_grad_(False)
    return TrainedRun(
        folder=folder,
        checkpoint=checkpoint,
        config=config,
        objective=objective,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        window=window,
    )
