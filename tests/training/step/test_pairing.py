"""Runs of one seed are paired: they read the same windows, and the hash that each keeps of them says so."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tests.helpers import OBJECTIVES, make_cli, train_in_process
from tests.training.stopped import At, Killed, killed
from training.session import train

Command = Callable[..., list[str]]


class ReadBatches(Callback):
    """Keeps the numbers of the windows that a run reads, in order."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.read += batch.indices

    @property
    def sha256(self) -> str:
        return hashlib.sha256(np.array(self.read, dtype="<i8").tobytes()).hexdigest()


def hash_of(run: Path) -> str:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))["windows_sha256"]


def test_one_seed_reads_the_same_windows_in_every_arm_and_its_hash_is_that_of_what_was_read(
    tiny_run: Command, tmp_path: Path
) -> None:
    hashes = {}
    for objective in OBJECTIVES:
        reading = ReadBatches()
        # 64 windows a step: the corpus comes to its end within the run, and is read in another order
        train(make_cli(tiny_run(objective, objective, "--budget.steps", "5", "--data.batch_size", "64")), [reading])
        assert len(reading.read) == 5 * 64 > len(set(reading.read))
        assert hash_of(tmp_path / "runs" / objective) == reading.sha256
        hashes[objective] = reading.sha256
    assert len(set(hashes.values())) == 1


def test_one_seed_begins_with_equal_weights_in_every_arm_where_shapes_coincide(tiny_run: Command) -> None:
    weights = {}
    for objective in OBJECTIVES:
        module: Any = make_cli(tiny_run(objective, objective)).model
        module.build(vocab_size=480, window=32)
        weights[objective] = dict(module.built.body.named_parameters())
    encoder, decoder = weights["masked_lm"], weights["causal_lm"]
    assert {name.replace("encoder.", "decoder.", 1) for name in encoder} == decoder.keys()
    for name, parameter in encoder.items():
        assert torch.equal(parameter, decoder[name.replace("encoder.", "decoder.", 1)])
        for both in (weights["denoising"], weights["span_corruption"]):
            if "blocks.1" not in name:  # of two blocks in all, an encoder-decoder's encoder has one
                assert torch.equal(parameter, both[name])
    assert all(torch.equal(weights["denoising"][name], weights["span_corruption"][name]) for name in encoder if name in
               weights["denoising"])  # fmt: skip


def test_another_seed_reads_in_another_order(tiny_run: Command, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        assert train_in_process(tiny_run("causal_lm", seed, "--budget.steps", "2", "--seed", seed)) == 0
    assert hash_of(tmp_path / "runs/0") != hash_of(tmp_path / "runs/1")


def test_the_hash_of_a_run_with_an_interruption_is_that_of_all_it_read(tiny_run: Command, tmp_path: Path) -> None:
    command = tiny_run("masked_lm", "killed", "--budget.steps", "6", "--checkpoints.every_steps", "3")
    before, behind = ReadBatches(), ReadBatches()
    with pytest.raises(Killed):
        train(make_cli(command), [At(3, killed), before])
    train(make_cli(command), [behind])
    whole = ReadBatches()
    whole.read = [*before.read[: 3 * 8], *behind.read]
    assert len(whole.read) == 6 * 8
    assert hash_of(tmp_path / "runs/killed") == whole.sha256


def test_a_run_killed_between_its_summary_and_its_last_checkpoint_has_not_come_to_its_end(
    tiny_run: Command, tmp_path: Path
) -> None:
    command = tiny_run("causal_lm", "late", "--budget.steps", "4", "--validation.every_steps", "2")
    assert train_in_process(command) == 0
    last = tmp_path / "runs/late/checkpoints/step-00000004"
    weights = (last / "weights.safetensors").read_bytes()
    for path in last.iterdir():
        path.unlink()
    last.rmdir()
    assert train_in_process(command) == 0
    assert (last / "weights.safetensors").read_bytes() == weights
