"""Which layers learn, when, and how fast."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from finetuning.body.tuning import Tuning, depths, is_unfrozen
from finetuning.grid import fine_tune
from tests.finetuning.opened import opened
from tests.helpers import weights_of

Command = Callable[..., list[str]]


def first_weights(command: list[str]) -> dict[str, torch.Tensor]:
    module, _ = opened(command)
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(command: list[str], run: Path) -> set[str]:
    """The parameters that a run changed."""
    before = first_weights(command)
    fine_tune(command)
    after = weights_of(run)
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_depths_rise_from_the_head_through_the_blocks_to_the_embeddings(tiny_task: Command) -> None:
    module, _ = opened(tiny_task("text_to_text", "denoising"))
    assert module.body is not None
    found = depths(module, module.body)
    assert found["body.decoder.blocks.0.feed_forward.up.weight"] == 1
    assert found["body.encoder.blocks.0.feed_forward.up.weight"] == 2
    assert found["body.token_table.weight"] == 3
    module, _ = opened(tiny_task("classification", "masked_lm"))
    assert module.body is not None
    found = depths(module, module.body)
    assert found["head.classifier.weight"] == 0
    assert [found[f"body.encoder.blocks.{n}.self_attention.output.weight"] for n in (1, 0)] == [1, 2]
    assert found["body.encoder.final_norm.weight"] == 1
    assert found["body.token_table.weight"] == 3
    assert found.keys() == dict(module.named_parameters()).keys()


def test_learning_rates_fall_by_the_decay_from_layer_to_layer(tiny_task: Command) -> None:
    settings = ("--tuning.layer_decay", "0.5", "--tuning.head_learning_rate", "0.01")
    module, _ = opened(tiny_task("classification", "masked_lm", *settings, "--optimizer.learning_rate", "0.004"))
    optimizer = module.make_optimizer()
    rates = {group["depth"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {0: 0.01, 1: 0.004, 2: 0.002, 3: 0.001}
    parameters = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(parameters) == sorted(id(parameter) for parameter in module.parameters())
    for group in optimizer.param_groups:
        assert all((parameter.dim() >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_a_linear_probe_moves_the_head_alone(tiny_task: Command, tmp_path: Path) -> None:
    found = moved(tiny_task("classification", "masked_lm", "--tuning.freeze", "true"), tmp_path / "runs/tuned")
    assert found == {"head.classifier.weight", "head.classifier.bias"}


def test_frozen_layers_stay_as_they_were_until_their_turn(tiny_task: Command, tmp_path: Path) -> None:
    """Eight steps an epoch: the top block thaws with the third of four steps, the next one with the fifth."""
    command = tiny_task("classification", "masked_lm", "--tuning.unfreeze_every", "0.25")
    found = moved(command, tmp_path / "runs/tuned")
    assert {"head.classifier.weight", "head.classifier.bias"} < found
    assert any(name.startswith("body.encoder.blocks.1.") for name in found)
    assert not any(name.startswith("body.encoder.blocks.0.") for name in found)
    assert "body.token_table.weight" not in found


def test_layers_thaw_one_after_another() -> None:
    assert [is_unfrozen(depth, 1.0, 0.5) for depth in range(4)] == [True, True, True, False]
    assert all(is_unfrozen(depth, 0.0, None) for depth in range(4))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"layer_decay": 0.0}, r"tuning\.layer_decay = 0.0 must lie in \(0, 1\]"),
        ({"layer_decay": 1.5}, r"tuning\.layer_decay = 1.5"),
        ({"dropout": 1.0}, r"tuning\.dropout = 1.0 must lie in \[0, 1\)"),
        ({"label_smoothing": -0.1}, r"tuning\.label_smoothing = -0.1"),
        ({"patience": 0}, r"tuning\.patience = 0 must be above 0"),
        ({"head_learning_rate": 0.0}, r"tuning\.head_learning_rate = 0.0 must be above 0"),
        ({"unfreeze_every": -1.0}, r"tuning\.unfreeze_every = -1.0"),
        ({"freeze": True, "from_scratch": True}, "would leave a random body untrained"),
        ({"freeze": True, "layer_decay": 0.5}, "trains no layer"),
    ],
)
def test_impossible_tuning_is_refused_by_name_and_value(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Tuning(**settings)
