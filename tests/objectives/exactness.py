"""What tests of objectives share: laws 2 and 3 held to runs of train.py's command."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers import make_cli, train_in_process, weights_of
from tests.training.stopped import At, Killed, assert_same_run, killed
from training.session import train

EXACT = ("--budget.steps", "4", "--trainer.precision", "64-true", "--checkpoints.every_steps", "1")


def train_exactly(tiny_run: Callable[..., list[str]], runs: Path, config: str, *own: str) -> Path:
    """Holds a config to the same step however it is split, to 1e-12 in float64; returns a whole run."""
    for name, micro in (("whole", "8"), ("split", "1")):
        assert train_in_process(tiny_run(config, name, *own, *EXACT, "--data.micro_batch_size", micro)) == 0
    split = weights_of(runs / "split")
    for name, tensor in weights_of(runs / "whole").items():
        torch.testing.assert_close(split[name], tensor, rtol=0, atol=1e-12)
    return runs / "whole"


def train_exactly_and_go_on(tiny_run: Callable[..., list[str]], runs: Path, config: str, *own: str) -> Path:
    """The same, and holds the config to the same resume, bit by bit."""
    whole = train_exactly(tiny_run, runs, config, *own)
    broken = tiny_run(config, "broken", *own, *EXACT, "--data.micro_batch_size", "8")
    with pytest.raises(Killed):
        train(make_cli(broken), [At(2, killed)])
    assert train_in_process(broken) == 0
    assert_same_run(runs / "broken", whole)
    return whole
