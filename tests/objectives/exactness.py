"""What tests of objectives share: laws 2 and 3 held to runs of train.py's command."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers import make_cli, train_in_process, weights_of
from tests.training.stopped import At, Killed, assert_same_run, killed
from training.session import train


def train_exactly_and_go_on(tiny_run: Callable[..., list[str]], runs: Path, config: str, *own: str) -> Path:
    """Holds a config to the same step, to 1e-12, and to the same resume, bit by bit, all in float64; returns a run."""
    exact = (*own, "--budget.steps", "4", "--trainer.precision", "64-true", "--checkpoints.every_steps", "1")
    whole, broken = (tiny_run(config, name, *exact, "--data.micro_batch_size", "8") for name in ("whole", "broken"))
    for command in (whole, tiny_run(config, "split", *exact, "--data.micro_batch_size", "1")):
        assert train_in_process(command) == 0
    split = weights_of(runs / "split")
    for name, tensor in weights_of(runs / "whole").items():
        torch.testing.assert_close(split[name], tensor, rtol=0, atol=1e-12)
    with pytest.raises(Killed):
        train(make_cli(broken), [At(2, killed)])
    assert train_in_process(broken) == 0
    assert_same_run(runs / "broken", runs / "whole")
    return runs / "whole"
