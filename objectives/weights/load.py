"""A trained run, loaded from its folder alone: for whatever measures, converts or uses it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from safetensors import SafetensorError, safe_open

from common.errors import UserError
from data.stream.batch import Batch, Example
from data.stream.collate import collate
from data.stream.windows import Window
from data.tokens.tokenizer import Tokenizer, Vocabulary, load_tokenizer, vocabulary_of
from models.bodies.make import BodyConfig, config_from
from objectives.core.base import Objective
from objectives.core.network import BodyPlan, Network
from objectives.core.prompts import Generation, Prompts
from objectives.core.strategy import Scorer
from training.setup.parsing import refusing
from training.storage.checkpoint import load_weights
from training.storage.config_file import flat
from training.storage.run_dir import RunFolder


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A run with the weights of one of its checkpoints.

    Attributes:
        folder, checkpoint: where it lies.
        config: every setting, as config.yaml keeps it.
        objective: what it was trained for.
        network: with these weights, in evaluation mode.
        body: shape of its main body.
        tokenizer, vocabulary: the run's own.
        window: raw tokens a window.
    """

    folder: Path
    checkpoint: Path
    config: dict[str, Any]
    objective: Objective
    network: Network
    body: BodyConfig
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    window: int

    @property
    def max_positions(self) -> int:
        """The longest sequence of either stack."""
        return self.body.max_positions or max(self.objective.max_lengths(self.window)[:2])

    def generate(self, prompts: Prompts) -> Iterator[Generation]:
        """What the run generates for prompts, by its objective's strategy."""
        return self.objective.inference.generate(self.objective, self.network, prompts)

    @cached_property
    def scorers(self) -> dict[str, Scorer]:
        """Ways to score a text, by name."""
        return self.objective.inference.scorers(self.objective, self.vocabulary)

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
    """The objective of this class and these settings.

    Raises:
        UserError: where it has no such settings, or they are impossible.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Objective, "model")
    with refusing():
        settings = parser.parse_object({"model": {"class_path": class_path, "init_args": init_args}})
        return parser.instantiate(settings).model


def objective_of(config: dict[str, Any]) -> Objective:
    """The objective that a run's config.yaml describes.

    Raises:
        UserError: where the settings are none of this version's.
    """
    model, apart = config["model"], bool(config["body"].get("document_masking"))
    with refusing(f"the settings of {config.get('name')} are not this version's: "):
        return made(model["class_path"], {**model.get("init_args", {}), "keep_documents_apart": apart})


_NEEDED = {"model.class_path": str, "data.window": int, "seed": int}  # of every pretraining run


def _check_config(run: RunFolder, config: dict[str, Any]) -> None:
    """Raises UserError where a config.yaml lacks what every pretraining run has."""
    settings = dict(flat(config))
    if not isinstance(config.get("body"), dict):
        raise UserError(f"{run.path / 'config.yaml'} has no body: it is that of no pretrained run")
    for name, kind in _NEEDED.items():
        if not isinstance(settings.get(name), kind):
            raise UserError(
                f"{run.path / 'config.yaml'}: {name} = {settings.get(name)!r:.60} is that of no pretrained run"
            )


def _check_size(checkpoint: Path, plans: Mapping[str, BodyPlan]) -> None:
    """Raises UserError, before a network is built, where it has more blocks than the checkpoint has tensors."""
    try:
        with safe_open(checkpoint / "weights.safetensors", framework="pt") as file:
            tensors = len(file.keys())
    except SafetensorError as error:
        raise UserError(f"{checkpoint / 'weights.safetensors'} is no safetensors file ({error})") from None
    blocks = sum(sum(plan.num_blocks) for plan in plans.values() if plan.is_saved)
    if blocks > tensors:
        raise UserError(f"{checkpoint} holds {tensors} tensors, and config.yaml has {blocks:,} layers: not one run's")


def load_run(folder: Path, *, step: int | None = None) -> TrainedRun:
    """A run from its folder, with the weights of its newest checkpoint or of the one after `step` steps, on the CPU.

    Raises:
        UserError: where the folder is not a run, or has no such checkpoint.
    """
    run = RunFolder(folder)
    checkpoint, config = run.checkpoint(step), run.read_config()
    if "model" not in config:
        raise UserError(
            f"'{folder}' was fine-tuned, and this takes a pretraining run: predict.py predicts with it, summarize.py "
            f"has its scores, and export.py exports it"
        )
    _check_config(run, config)
    objective, body = objective_of(config), config_from(config["body"])
    tokenizer = load_tokenizer(run.tokenizer)
    vocabulary, window = vocabulary_of(tokenizer), config["data"]["window"]
    objective.check_vocabulary(vocabulary)
    plans = objective.bodies(body)
    _check_size(checkpoint, plans)
    with torch.random.fork_rng(devices=[]):
        network = Network(
            plans,
            objective.heads(body),
            vocab_size=vocabulary.size,
            max_positions=max(objective.max_lengths(window)[:2]),
            seed=config["seed"],
        )
    load_weights(network, checkpoint, prefix="network.")
    network.eval().requires_grad_(False)
    return TrainedRun(
        folder=folder,
        checkpoint=checkpoint,
        config=config,
        objective=objective,
        network=network,
        body=body,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        window=window,
    )
