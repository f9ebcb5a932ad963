"""A run is a function of its settings: the same twice over, another with another seed, and the same unobserved."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers import TWO_BY_DEFAULT, metrics_of, train_in_process, weights_of

Command = Callable[..., list[str]]
DROPOUT = ("--budget.steps", "6", "--body.dropout", "0.1")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("objective", TWO_BY_DEFAULT)
def test_one_seed_is_one_run_bit_by_bit_and_another_seed_another(
    tiny_run: Command, tmp_path: Path, objective: str
) -> None:
    for name, seed in {"first": "5", "again": "5", "other": "6"}.items():
        assert train_in_process(tiny_run(objective, name, *DROPOUT, "--seed", seed)) == 0
    runs = tmp_path / "runs"
    assert same(weights_of(runs / "first"), weights_of(runs / "again"))
    assert metrics_of(runs / "first") == metrics_of(runs / "again")
    assert not same(weights_of(runs / "first"), weights_of(runs / "other"))


@pytest.mark.parametrize("objective", ["masked_lm", pytest.param("span_corruption", marks=pytest.mark.slow)])
def test_validation_and_examples_take_no_random_number_from_the_training(
    tiny_run: Command, tmp_path: Path, objective: str
) -> None:
    """Watched after every other step or not before its end, a run is the same to the last bit."""
    often = ("--validation.every_steps", "2", "--logging.examples", "2")
    rarely = ("--validation.every_steps", "1000", "--logging.examples", "1")
    assert train_in_process(tiny_run(objective, "watched", *DROPOUT, *often)) == 0
    assert train_in_process(tiny_run(objective, "alone", *DROPOUT, *rarely)) == 0
    watched, alone = tmp_path / "runs/watched", tmp_path / "runs/alone"
    assert same(weights_of(watched), weights_of(alone))
    watched_losses, losses = (
        [row[name] for row in metrics_of(run) for name in row if name.startswith("train/") and row[name]]
        for run in (watched, alone)
    )
    assert watched_losses == losses
    assert losses
    assert sum(bool(row.get("validation/loss")) for row in metrics_of(watched)) > 1
