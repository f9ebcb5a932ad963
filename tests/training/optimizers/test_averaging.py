"""The average of the weights: by hand, swapped in for validation, kept in checkpoints, exported in their place."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from common.errors import UserError
from objectives.weights.load import load_run
from tests.helpers import train_in_process, weights_of
from training.optimizers.averaging import WeightAverage
from training.optimizers.optim import OptimizerConfig
from training.setup.settings import TrainerSettings
from training.setup.trainer import check_strategy
from training.storage.checkpoint import checkpoints_in, read_checkpoint

Command = Callable[..., list[str]]


def module() -> nn.Linear:
    one = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        one.weight.fill_(1.0)
    return one


def test_the_average_forgets_the_first_weights_soon_and_keeps_its_decay_later() -> None:
    one = module()
    average = WeightAverage(one, 0.5)
    expected = 1.0
    for update, value in enumerate([3.0, -1.0, 2.0], start=1):
        with torch.no_grad():
            one.weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    assert average.other["weight"].item() == pytest.approx(expected, rel=1e-12)


def test_swapping_twice_changes_nothing_and_a_checkpoint_is_the_same_either_way() -> None:
    one = module()
    average = WeightAverage(one, 0.9)
    with torch.no_grad():
        one.weight.fill_(4.0)
    average.update()
    between = average.other["weight"].item()
    assert 1 < between < 4
    kept = []
    for _ in range(2):
        checkpoint = {"state_dict": {name: tensor.clone() for name, tensor in one.state_dict().items()}}
        average.save(checkpoint)
        kept.append((checkpoint["state_dict"]["weight"].item(), checkpoint["average"]["trained"]["weight"].item()))
        average.swap()
    assert kept == [(between, 4.0)] * 2
    assert (one.weight.item(), average.other["weight"].item()) == (4.0, between)


def test_a_weight_with_two_names_is_averaged_once_and_saved_under_both() -> None:
    one = nn.ModuleDict({"a": module(), "b": module()})
    one["b"].weight = shared = cast(Tensor, one["a"].weight)
    average = WeightAverage(one, 0.9)
    with torch.no_grad():
        shared.fill_(4.0)
    average.update()
    assert len(average.other) == 1
    checkpoint = {"state_dict": dict(one.state_dict())}
    average.save(checkpoint)
    values = {name: tensor.item() for name, tensor in checkpoint["state_dict"].items()}
    assert values["a.weight"] == values["b.weight"] < 4


def test_a_run_is_evaluated_by_its_average_and_trains_as_without_one(tiny_run: Command, tmp_path: Path) -> None:
    steps = ("--budget.steps", "6", "--validation.every_steps", "2")
    for name, more in {"plain": (), "averaged": ("--optimizer.ema_decay", "0.9")}.items():
        assert train_in_process(tiny_run("causal_lm", name, *steps, *more)) == 0
    plain, averaged = (tmp_path / "runs" / name for name in ("plain", "averaged"))
    checkpoint = read_checkpoint(checkpoints_in(averaged / "checkpoints")[0])
    trained = {name.removeprefix("network."): tensor for name, tensor in checkpoint["average"]["trained"].items()}
    for name, tensor in weights_of(plain).items():
        assert torch.equal(trained[name], tensor), name
    assert checkpoint["average"]["updates"] == 6
    loaded = load_run(averaged).network.state_dict()
    differing = [name for name, tensor in loaded.items() if not torch.equal(tensor, trained[name])]
    assert differing
    assert "average" not in read_checkpoint(checkpoints_in(plain / "checkpoints")[0])


def test_impossible_decays_and_shards_are_refused() -> None:
    for decay in (0.0, 1.0, -1.0):
        with pytest.raises(UserError, match=r"optimizer\.ema_decay"):
            OptimizerConfig(ema_decay=decay)
    with pytest.raises(UserError, match="averages no shards"):
        check_strategy(TrainerSettings(strategy="fsdp", precision="32-true"), "adamw", 0.99)
