"""Runs as folders of transformers, and folders of transformers as what runs begin with: what both tests need."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.auto import modeling_auto

from data.stream.batch import Batch
from data.stream.loader import HeldOutWindows
from models.presets import TransformerConfig
from objectives.weights.load import TrainedRun, load_run
from tests.helpers import ROOT, TINY, opened, train_in_process


@dataclass(frozen=True)
class Exported:
    """A run, its folder for transformers, and what transformers makes of it."""

    run: TrainedRun
    folder: Path
    model: Any
    tokenizer: PreTrainedTokenizerBase
    loading: dict[str, Any]
    cache: Path

    @property
    def has_encoder(self) -> bool:
        return self.run.objective.uses_encoder

    @property
    def has_decoder(self) -> bool:
        return self.run.objective.uses_decoder


def class_named(name: str) -> Any:
    """A class of transformers, by transformers' own tables."""
    mappings = (
        modeling_auto.MODEL_FOR_PRETRAINING_MAPPING,
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        modeling_auto.MODEL_FOR_MASKED_LM_MAPPING,
    )
    return next(cls for mapping in mappings for cls in cast(Any, mapping).values() if cls.__name__ == name)


def class_of(folder: Path) -> Any:
    """The class that config.json names."""
    return class_named(json.loads((folder / "config.json").read_text())["architectures"][0])


def trained(recipe: str, corpus: Path, cache: Path, runs: Path, *more: str) -> TrainedRun:
    """A run of 12 steps."""
    where = ("--data.corpus", str(corpus), "--data.cache", str(cache), "--runs", str(runs), "--name", "run")
    exact = ("--trainer.precision", "32-true", "--body.dropout", "0", "--data.micro_batch_size", "8")
    length = ("--budget.steps", "12", "--optimizer.warmup", "3", "--optimizer.learning_rate", "3e-3")
    vocab = ("--data.vocab_size", "700") if recipe in ("papers/bert", "papers/t5") else ()
    config = ("--config", str(ROOT / f"configs/{recipe}.yaml"))
    assert train_in_process([*config, *TINY, *where, *exact, *length, *vocab, *more]) == 0
    return load_run(runs / "run")


def losses(model: Any, run: TrainedRun, batch: Batch) -> dict[str, Tensor]:
    """The mean of each loss term by a model of transformers."""
    kinds = {"encoder": batch.encoder_ids_BS, "decoder": batch.decoder_ids_BT}
    inputs: dict[str, Any] = {}
    if kinds["encoder"] is not None:
        inputs["input_ids"] = kinds["encoder"]
        length = kinds["encoder"].shape[1]
        lengths = torch.full((len(batch.indices),), length)
        lengths = lengths if batch.encoder_lengths_B is None else batch.encoder_lengths_B
        inputs["attention_mask"] = (torch.arange(length) < lengths[:, None]).long()
        assert isinstance(run.body, TransformerConfig)
        if run.body.parts.num_segments:
            inputs["token_type_ids"] = batch.segments_BS
        if kinds["decoder"] is not None:
            inputs["decoder_input_ids"] = kinds["decoder"]
    else:
        inputs["input_ids"] = kinds["decoder"]
    with torch.no_grad():
        outputs = model(**inputs)
    first = outputs.logits if "logits" in outputs else outputs.prediction_logits
    logits = {run.objective.token_term: first.flatten(0, 1)}
    for term, theirs in {"next_sentence": "seq_relationship_logits", "sentence_order": "sop_logits"}.items():
        if term in batch.labels:  # their head reads [CLS] alone
            logits[term] = outputs[theirs].repeat_interleave(first.shape[1], dim=0)
    return {
        name: F.cross_entropy(logits[name][labels.positions_N], labels.ids_N, reduction="mean")
        for name, labels in batch.labels.items()
    }


def last_validation(run: TrainedRun, cache: Path) -> tuple[Batch, dict[str, float]]:
    """The windows and the noise of a run's last validation in one batch, and what came out."""
    info, summary = (json.loads((run.folder / name).read_text()) for name in ("run.json", "summary.json"))
    windows, vocabulary = opened(cache / info["data"]["store"], "validation", length=run.window)
    chosen = HeldOutWindows(
        windows,
        run.objective.corruption(vocabulary),
        seed=run.config["seed"],
        chosen=run.config["data"]["validation_windows"],
    )
    pairs = chosen.__getitems__(list(range(chosen.chosen)))
    batch = run.batch([window for window, _ in pairs], [example for _, example in pairs])
    return batch, summary
