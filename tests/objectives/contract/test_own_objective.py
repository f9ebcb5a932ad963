"""An objective of another kind, in one file and one config: two bodies, a binary loss, a divisor and draws of its own.

A small generator fills masks, the body detects which tokens are not the original ones (Clark et al. 2020, in little).
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from models.presets import TransformerConfig
from models.transformer.transformer import Transformer
from objectives.causal_lm import CausalLM
from objectives.core.network import BodyPlan, Network
from objectives.weights.load import load_run
from tests.helpers import TINY, make_cli, metrics_of, train_in_process, weights_of
from tests.objectives.texts import VOCABULARY, made
from tests.training.stopped import At, Killed, assert_same_run, killed
from training.session import train

DETECTION = '''"""Detection of replaced tokens.

    window     Thank you for inviting me
    reads      Thank you [MASK] inviting me     by the generator, which predicts: for
               Thank you with inviting me       by the body, which predicts for each token whether it is the original
    predicts   whether each token is the original

loss = that of a masked LM + 50 · sum of binary cross entropy over all tokens / number of positions
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from data.tokens.tokenizer import Vocabulary
from data.stream.batch import IGNORE, NOWHERE, Batch, Example, Labels, MaxLengths
from data.stream.windows import Window, Windows
from models.presets import TransformerConfig
from objectives.core.base import Objective
from objectives.core.network import BodyPlan, Network, at_labels
from objectives.core.noise.masking import budget, choose_tokens
from objectives.core.predictions import LossSums, Prediction


class BinaryCrossEntropy:
    def __call__(self, states_ND: Tensor, head: Any, labels: Labels, *, count_correct: bool) -> LossSums:
        scores_N, ids_N = head(states_ND)[:, 0], labels.ids_N
        loss = F.binary_cross_entropy_with_logits(scores_N, ids_N.to(scores_N.dtype), reduction="sum")
        correct = ((scores_N > 0) == ids_N.bool()).sum().to(loss.dtype) if count_correct else None
        return LossSums(loss, loss, correct)


class Detection(Objective):
    """Tokens that a generator wrote are detected.

    Args:
        shared: what every objective takes.
    """

    uses_encoder, uses_decoder, token_term = True, False, "masked"

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        ids = np.concatenate([[vocabulary.cls], window.tokens, [vocabulary.sep]]).astype(np.int64)
        chosen = choose_tokens(~vocabulary.is_special[ids], budget(len(ids), 0.15), rng)
        return Example(
            encoder_ids=np.where(chosen, vocabulary.mask, ids),
            encoder_origins=np.concatenate([[NOWHERE], np.arange(len(window)), [NOWHERE]]),
            labels={"masked": np.where(chosen, ids, IGNORE), "replaced": ids},
            token_term="masked",
            divisors={"replaced": len(ids) / 50},
            draws={"masked": rng.random(len(ids)).astype(np.float32)},
        )

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=window + 2, decoder=0, targets=budget(window + 2, 0.15))

    def bodies(self, config: TransformerConfig) -> dict[str, BodyPlan]:
        small = replace(config, width=config.width // 2, num_heads=config.num_heads // 2)
        return super().bodies(config) | {"generator": BodyPlan(config=small, num_blocks=(1, 0))}

    def heads(self, config: TransformerConfig) -> dict[str, nn.Module]:
        return {"detector": nn.Linear(config.width, 1)}

    def predictions(self, network: Network, batch: Batch) -> dict[str, Prediction]:
        generator, masked, all_of_them = network.role("generator"), batch.labels["masked"], batch.labels["replaced"]
        states_ND = at_labels(network.states(batch, "generator"), masked)
        with torch.no_grad():
            cumulated_NV = generator.logits(states_ND).double().softmax(dim=-1).cumsum(dim=-1)
            draws_N1 = masked.draws_N.double()[:, None] * cumulated_NV[:, -1:]
            drawn_N = torch.searchsorted(cumulated_NV, draws_N1).clamp(max=cumulated_NV.shape[1] - 1)[:, 0]
        written = batch.encoder_ids_BS.flatten().scatter(0, masked.positions_N, drawn_N)
        is_replaced_N = (written[all_of_them.positions_N] != all_of_them.ids_N).long()
        states_BSD = network.states(replace(batch, encoder_ids_BS=written.view_as(batch.encoder_ids_BS)))
        labels = all_of_them._replace(ids_N=is_replaced_N)
        return {
            "masked": Prediction(states_ND, generator.logits, masked, loss=self.cross_entropy),
            "replaced": Prediction(
                at_labels(states_BSD, labels), network.head("detector"), labels, loss=BinaryCrossEntropy()
            ),
        }

    def flops_per_window(self, network: Network, windows: Windows, vocabulary: Vocabulary) -> float:
        encoder, _, targets = self.mean_lengths(windows, vocabulary)
        generator = network.flops("generator", encoder=encoder, decoder=0, targets=targets)
        return generator + network.flops(encoder=encoder, decoder=0, targets=0)
'''
Command = Callable[..., list[str]]
STEPS = ("--budget.steps", "6", "--body.dropout", "0.1")


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_file: Path, cache: Path, store: Path
) -> Callable[..., list[str]]:
    """The command line of a run of the objective, which was just written: one file, one config."""
    (tmp_path / "detection.py").write_text(DETECTION, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "detection", raising=False)
    config = tmp_path / "detection.yaml"
    config.write_text(yaml.safe_dump({"model": {"class_path": "detection.Detection"}}), encoding="utf-8")
    where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(tmp_path / "runs")]
    return lambda name, *more: ["--config", str(config), "--name", name, *TINY, *where, *more]


def test_it_trains_validates_and_loads(command: Command, tmp_path: Path) -> None:
    assert train_in_process(command("own", *STEPS)) == 0
    folder = tmp_path / "runs/own"
    rows = [row for row in metrics_of(folder) if row.get("train/replaced")]
    assert all(0 < float(row["train/replaced"]) < 50 for row in rows)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert {"validation/masked", "validation/replaced", "validation/replaced_accuracy"} <= summary.keys()
    assert summary["target_tokens"] == 6 * 8 * 5  # round(0.15 · 34) masks a window
    names = {name.split(".")[0] for name in weights_of(folder)}
    assert names == {"body", "generator", "detector"}
    run = load_run(folder)
    generator = run.network.role("generator")
    assert isinstance(generator, Transformer)
    assert isinstance(run.body, TransformerConfig)
    assert generator.config.width == run.body.width // 2


def test_its_step_does_not_depend_on_how_it_is_split(command: Command, tmp_path: Path) -> None:
    """Law 2, with what is sampled on the device: the draws travel with the windows."""
    exact = ("--budget.steps", "3", "--trainer.precision", "64-true")
    assert train_in_process(command("whole", *exact)) == 0
    assert train_in_process(command("split", *exact, "--data.micro_batch_size", "2")) == 0
    whole, split = (weights_of(tmp_path / f"runs/{name}") for name in ("whole", "split"))
    for name, tensor in whole.items():
        torch.testing.assert_close(split[name], tensor, rtol=0, atol=1e-12)


def test_its_run_goes_on_bit_by_bit(command: Command, tmp_path: Path) -> None:
    """Law 3."""
    saving = (*STEPS, "--checkpoints.every_steps", "1")
    assert train_in_process(command("whole", *saving)) == 0
    with pytest.raises(Killed):
        train(make_cli(command("broken", *saving)), [At(3, killed)])
    assert train_in_process(command("broken", *saving)) == 0
    assert_same_run(tmp_path / "runs/broken", tmp_path / "runs/whole")


def test_a_body_outside_of_checkpoints_keeps_its_weights_when_one_is_loaded() -> None:
    """As a frozen teacher does, which is read from its own run."""
    config = TransformerConfig(width=32, layers=2, num_heads=2)
    plans = made(CausalLM).bodies(config)
    plans |= {"teacher": replace(plans["body"], is_saved=False)}
    one, other = (Network(plans, {}, vocab_size=VOCABULARY.size, max_positions=8, seed=seed) for seed in (0, 1))
    assert {name.split(".")[0] for name in one.state_dict()} == {"body"}
    before = [parameter.clone() for parameter in other.role("teacher").parameters()]
    other.load_state_dict(one.state_dict())
    for parameter, expected in zip(other.body.parameters(), one.body.parameters(), strict=True):
        assert torch.equal(parameter, expected)
    for parameter, expected in zip(other.role("teacher").parameters(), before, strict=True):
        assert torch.equal(parameter, expected)
    assert isinstance(plans["teacher"], BodyPlan)
