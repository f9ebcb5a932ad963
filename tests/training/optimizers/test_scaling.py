"""Training in float16: the loss is scaled, and the laws of the exact step hold with it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from tests.helpers import make_cli, metrics_of, train_in_process
from training.optimizers.scaling import LossScale
from training.session import train
from training.step.module import ExactModule
from training.step.stops import Diverged
from training.storage.checkpoint import checkpoints_in, read_checkpoint

Command = Callable[..., list[str]]
SMALL = ("--data.window", "16", "--data.validation_windows", "4", "--body.width", "16")
HALF = ("--trainer.precision", "16-mixed", "--trainer.accelerator", "cpu", *SMALL)  # CPUs are slow in float16


class Scaled(Callback):
    """Sets the scale of a run that begins, and keeps each step's, with whether its update was made."""

    def __init__(self, scale: float, interval: int) -> None:
        self.scale, self.interval = scale, interval
        self.scales: list[float] = []
        self.norms: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = cast(ExactModule, pl_module)
        if module.loss_scale is None:  # it was not resumed
            module.loss_scale = LossScale(self.scale)
        module.loss_scale.interval = self.interval

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any, **named: Any) -> None:
        module = cast(ExactModule, pl_module)
        assert module.loss_scale is not None
        self.scales.append(module.loss_scale.scale)
        self.norms.append(module.gradient_norm)


class Gradients(Scaled):
    """Keeps the first step's gradient as the optimizer applied it."""

    def __init__(self, scale: float) -> None:
        super().__init__(scale, 2000)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.precision == "16-mixed":
            super().on_train_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any, **named: Any) -> None:
        if trainer.global_step == 1:
            gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
            self.of_first_step = torch.cat([gradient.flatten() for gradient in gradients])


def test_a_scale_halves_where_a_gradient_overflows_and_doubles_after_good_steps() -> None:
    scale = LossScale(8.0, interval=3)
    assert [scale.take(norm) for norm in (1.0, math.inf, 1.0, 1.0, 1.0, math.nan)] == [
        True,
        False,
        True,
        True,
        True,
        False,
    ]
    assert scale.state() == {"scale": 4.0, "good_steps": 0}
    least = LossScale(1.0)
    assert least.take(math.inf)
    assert least.scale == 1.0


def test_taking_a_scale_back_is_exact() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    gradient = torch.tensor([1e-3, -7.0, 3e-9])
    parameter.grad = gradient * 2.0**16
    LossScale().undo([parameter])
    assert torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize("objective", ["masked_lm", pytest.param("span_corruption", marks=pytest.mark.slow)])
def test_a_run_in_float16_is_near_one_in_float32(tiny_run: Command, objective: str, tmp_path: Path) -> None:
    for name, precision in (("half", "16-mixed"), ("single", "32-true")):
        few = ("--budget.steps", "4", "--data.micro_batch_size", "4")
        assert train_in_process(tiny_run(objective, name, *few, *HALF, "--trainer.precision", precision)) == 0
    half, single = (metrics_of(tmp_path / "runs" / name) for name in ("half", "single"))
    for one, other in zip(half, single, strict=True):
        assert float(one["validation/loss"] or 0) == pytest.approx(float(other["validation/loss"] or 0), rel=5e-3)


def test_law_2_the_gradient_in_float16_does_not_depend_on_how_a_batch_is_split(tiny_run: Command) -> None:
    """Whatever the scale is; as near to one another as to float32's."""
    found: dict[tuple[str, int, float], torch.Tensor] = {}
    for precision, micro, scale in (("32-true", 8, 1.0), ("16-mixed", 8, 2.0**16), ("16-mixed", 2, 2.0**8)):
        few = (*HALF, "--trainer.precision", precision, "--data.micro_batch_size", str(micro), "--budget.steps", "1")
        gradients = Gradients(scale)
        train(make_cli(tiny_run("causal_lm", f"{precision}-{micro}", *few)), [gradients])
        found[precision, micro, scale] = gradients.of_first_step
    single, whole, split = found.values()
    for one, other in ((whole, single), (split, single), (split, whole)):
        assert (one - other).norm() < 5e-3 * other.norm()


def test_law_3_a_run_in_float16_goes_on_with_its_scale(tiny_run: Command, tmp_path: Path) -> None:
    """Steps that overflow, and one at which the scale doubles, lie before and behind the interruption."""
    command = (*HALF, "--budget.steps", "10", "--checkpoints.every_steps", "1", "--checkpoints.keep", "20")
    whole = Scaled(2.0**22, 3)
    train(make_cli(tiny_run("masked_lm", "whole", *command)), [whole])
    assert not all(map(math.isfinite, whole.norms))
    assert sum(map(math.isfinite, whole.norms)) > 3
    assert any(later > earlier for earlier, later in zip(whole.scales, whole.scales[1:], strict=False))

    class Stop(Scaled):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any, **named: Any) -> None:
            super().on_train_batch_end(trainer, pl_module, *rest)
            if trainer.global_step == 5:
                raise Diverged("stopped here")

    stopped = tiny_run("masked_lm", "stopped", *command)
    with pytest.raises(Diverged):
        train(make_cli(stopped), [Stop(2.0**22, 3)])
    train(make_cli(stopped), [Scaled(0.0, 3)])
    ends = [checkpoints_in(tmp_path / "runs" / name / "checkpoints")[0] for name in ("whole", "stopped")]
    one, other = (read_checkpoint(end) for end in ends)
    assert one["progress"]["loss_scale"] == other["progress"]["loss_scale"]
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor, other["state_dict"][name]), name


def test_an_update_with_an_overflowing_gradient_changes_no_weight(tiny_run: Command, tmp_path: Path) -> None:
    few = (*HALF, "--budget.steps", "2", "--checkpoints.every_steps", "1", "--checkpoints.keep", "20")
    scaled = Scaled(2.0**100, 3)
    train(make_cli(tiny_run("causal_lm", "over", *few)), [scaled])
    assert scaled.scales == [2.0**99, 2.0**98]
    first, second = (read_checkpoint(end) for end in checkpoints_in(tmp_path / "runs/over/checkpoints"))
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
