"""`trainer.deterministic`: no step computes what CUDA has no deterministic kernel for, which would end the run."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers import make_cli
from training.session import train

Command = Callable[..., list[str]]
CONFIGS = ("masked_lm", "causal_lm", "denoising", "span_corruption", "replaced_token_detection", "masked_diffusion")

# What raises on CUDA (torch.use_deterministic_algorithms), as far as a language model could come to use it.
REFUSED = {
    *("_ctc_loss_backward", "_embedding_bag_backward", "bincount", "histc", "kthvalue", "median", "nll_loss2d_forward"),
    *("put_", "reflection_pad1d_backward", "replication_pad1d_backward", "resize_", "scatter_reduce"),
}
REFUSED_OF_FLOATS = {"cumsum", "cumprod"}


class Operations(TorchDispatchMode):
    """Keeps the names of the operations that are computed, `cumsum.float` where one is of floating-point numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        is_float = bool(args) and isinstance(args[0], torch.Tensor) and args[0].is_floating_point()
        self.names.add(f"{name}.float" if name in REFUSED_OF_FLOATS and is_float else name)
        return func(*args, **(kwargs or {}))


class Watch(Callback):
    """Watches a run's steps from their first micro-batch to their update."""

    def __init__(self) -> None:
        self.operations = Operations()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.operations.__enter__()

    def on_train_batch_end(self, trainer: Trainer, *rest: Any, **named: Any) -> None:
        self.operations.__exit__(None, None, None)


@pytest.mark.parametrize("objective", CONFIGS)
def test_every_operation_of_a_step_has_a_deterministic_kernel(tiny_run: Command, objective: str) -> None:
    few = ("--budget.steps", "2", "--trainer.precision", "32-true")
    watch = Watch()
    train(make_cli(tiny_run(objective, "watched", *few)), [cast(Callback, watch)])
    assert {"mm", "embedding_dense_backward"} <= watch.operations.names  # forward and backward passes were seen
    assert not watch.operations.names & (REFUSED | {f"{name}.float" for name in REFUSED_OF_FLOATS})
