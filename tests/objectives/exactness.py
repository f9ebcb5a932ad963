"""What tests of objectives share: laws 2 and 3 held to runs of train.py's command."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers import make_cli, train_in_process, weights_of
from tests.training.stopped import At, Killed, assert_same_run, killed
from training.session import train


def train_exactly_and_go_on(tiny_run: Callable[..., list[str]], runs: Path, config: str, *own: str) -> Path:
    """Holds a config to the same step, to 1e-12 in float64, and to the same resume, bit by bit; returns a whole run."""
    exact = (*own, "--budget.steps", "3", "--trainer.precision", "64-true")
    for micro in (8, 1):
        command = tiny_run(config, f"micro-{micro}", *exact, "--data.micro_batch_size", str(micro))
        assert train_in_process(command) == 0
    whole, split = (weights_of(runs / f"micro-{micro}") for micro in (8, 1))
    for name, tensor in whole.items():
        torch.testing.assert_close(split[name], tensor, rtol=0, atol=1e-12)
    saving = (*own, "--budget.steps", "5", "--checkpoints.every_steps", "1")
    assert train_in_process(tiny_run(config, "whole", *saving)) == 0
    with pytest.raises(Killed):
        train(make_cli(tiny_run(config, "broken", *saving)), [At(3, killed)])
    assert train_in_process(tiny_run(config, "broken", *saving)) == 0
    assert_same_run(runs / "broken", runs / "whole")
    return runs / "whole"
