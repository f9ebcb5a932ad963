"""The exact step: the gradient of the whole batch however it is split, and a stop before an update that would spoil."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from data.datamodule import DataModule
from data.stream.loader import CorruptedWindows
from objectives.core.pretraining import Pretraining
from tests.helpers import OBJECTIVES, make_cli, metrics_of, train_in_process, weights_of
from tests.objectives.texts import mean_loss
from training.session import train
from training.step.micro import dropout_seed
from training.step.stops import Diverged
from training.step.terms import Sums, Term
from training.storage.checkpoint import checkpoints_in, damage

Command = Callable[..., list[str]]


class CompareGradients(Callback):
    """Holds the first step's gradient against autograd's of all its windows in one batch."""

    def __init__(self) -> None:
        self.largest_error = math.nan
        self.smallest_count = math.inf

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.smallest_count = min(self.smallest_count, *batch.divisors().values())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if trainer.global_step:
            return
        module, data = cast(Pretraining, pl_module), cast(DataModule, cast(Any, trainer).datamodule)
        examples = CorruptedWindows(data.training_windows, module.objective.corruption(data.vocabulary), seed=data.seed)
        pairs = examples.__getitems__(list(range(data.batch_size)))
        (batch,) = data._collator(data.batch_size)(pairs)
        loss = mean_loss(module.terms(batch, count_correct=False))
        names, parameters = zip(*module.named_parameters(), strict=True)
        expected = dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))
        norm = torch.cat([gradient.flatten() for gradient in expected.values() if gradient is not None]).norm()
        errors = []
        for name, parameter in module.named_parameters():
            assert (parameter.grad is None) == (expected[name] is None), name
            if parameter.grad is not None and expected[name] is not None:
                errors.append((parameter.grad - cast(torch.Tensor, expected[name])).abs().max())
        self.largest_error = float(torch.stack(errors).max() / norm)


# By default every split for the masked LM, since some of its micro-batches have no segment pair; for others by rows.
SPLITS = [
    pytest.param(objective, micro, marks=[] if objective == "masked_lm" or micro == 1 else pytest.mark.slow)
    for objective in OBJECTIVES
    for micro in (1, 2, 8)
]


@pytest.mark.parametrize(("objective", "micro"), SPLITS)
def test_the_gradient_is_that_of_the_whole_batch_however_it_is_split(
    tiny_run: Command, objective: str, micro: int
) -> None:
    few = ("--budget.steps", "1", "--trainer.precision", "64-true", "--model.init_args.z_loss", "0.001")
    cli = make_cli(tiny_run(objective, "split", *few, "--data.micro_batch_size", str(micro), "--data.window", "12"))
    compare = CompareGradients()
    train(cli, [compare])
    assert compare.largest_error < 1e-13
    if objective == "masked_lm" and micro == 1:
        assert compare.smallest_count == 0  # a window that no segment pair can be made of has no such label


@pytest.mark.parametrize("objective", ["masked_lm", pytest.param("span_corruption", marks=pytest.mark.slow)])
def test_a_run_does_not_depend_on_how_its_batches_are_split(tiny_run: Command, objective: str, tmp_path: Path) -> None:
    double = ("--budget.steps", "6", "--trainer.precision", "64-true", "--body.preset", "bart")
    runs = {}
    for micro in (8, 1):
        command = tiny_run(objective, f"micro-{micro}", *double, "--data.micro_batch_size", str(micro))
        assert train_in_process(command) == 0
        runs[micro] = tmp_path / f"runs/micro-{micro}"
    whole, split = weights_of(runs[8]), weights_of(runs[1])
    for name in whole:
        torch.testing.assert_close(
            split[name], whole[name], rtol=1e-10, atol=1e-12, msg=lambda message, n=name: n + message
        )
    for one, other in zip(metrics_of(runs[8]), metrics_of(runs[1]), strict=True):
        assert {k: float(v or 0) for k, v in one.items()} == pytest.approx(
            {k: float(v or 0) for k, v in other.items()}, rel=1e-10
        )


class AppliedNorms(Callback):
    """Keeps the norm of each step's gradient as measured and as the optimizer applied it."""

    def __init__(self) -> None:
        self.measured: list[float] = []
        self.applied: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        self.measured.append(cast(Pretraining, pl_module).gradient_norm)
        self.applied.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))


@pytest.mark.parametrize("limit", ["0.25", "1e6", "null"])
def test_an_update_uses_the_gradient_scaled_to_the_limit_where_its_norm_is_greater(
    tiny_run: Command, limit: str
) -> None:
    double = ("--budget.steps", "3", "--trainer.precision", "64-true")
    norms = AppliedNorms()
    train(make_cli(tiny_run("causal_lm", "clipped", *double, "--optimizer.max_grad_norm", limit)), [norms])
    assert len(norms.measured) == 3
    assert min(norms.measured) > 0.25
    largest = math.inf if limit == "null" else float(limit)
    assert norms.applied == pytest.approx([min(norm, largest) for norm in norms.measured], rel=1e-5)


def test_dropout_is_drawn_anew_for_every_step_micro_batch_and_device() -> None:
    places = [
        dropout_seed(seed, step=step, micro=micro, accumulated=3, rank=rank, world=2)
        for seed in range(2)
        for step in range(5)
        for micro in range(3)
        for rank in range(2)
    ]
    assert len(set(places)) == len(places)


class Seeds(Callback):
    """Keeps the seed that each micro-batch was computed with."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        self.seeds.append(torch.initial_seed())


def test_a_micro_batch_draws_its_dropout_from_its_place(tiny_run: Command) -> None:
    kept = Seeds()
    split = ("--budget.steps", "3", "--data.micro_batch_size", "4", "--body.dropout", "0.1", "--seed", "7")
    train(make_cli(tiny_run("causal_lm", "seeds", *split)), [kept])
    assert kept.seeds == [
        dropout_seed(7, step=step, micro=micro, accumulated=2, rank=0, world=1)
        for step in range(3)
        for micro in range(2)
    ]


class Refusing(Callback):
    """Refuses in steps what costs each of them more than all of our own hooks together."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch, self.steps = patch, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise AssertionError("in a step")

        for place, name in ((torch, "manual_seed"), (LightningModule, "log"), (LightningModule, "log_dict")):
            self.patch.setattr(place, name, refuse)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps += 1
        assert "train/loss" in trainer.callback_metrics  # all the same, for callbacks that monitor it

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.patch.undo()


def test_no_step_seeds_every_kind_of_device_or_logs_by_lightning(
    tiny_run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Refusing(monkeypatch)
    train(make_cli(tiny_run("causal_lm", "cheap", "--budget.steps", "3", "--logging.every_steps", "1")), [refusing])
    assert refusing.steps == 3


class Poison(Callback):
    """Makes a weight not a number before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            next(pl_module.parameters()).data.fill_(math.nan)


def test_a_loss_that_is_no_number_stops_the_run_before_the_update(tiny_run: Command, tmp_path: Path) -> None:
    cli = make_cli(tiny_run("causal_lm", "nan", "--budget.steps", "9", "--checkpoints.every_steps", "2"))
    with pytest.raises(Diverged, match=r"step 5: loss nan.*Windows of the step here: \[\d+(, \d+){7}\]") as stopped:
        train(cli, [Poison(step=5)])
    assert stopped.value.exit_status == 3
    newest = checkpoints_in(tmp_path / "runs/nan/checkpoints")[0]
    assert damage(newest) is None
    assert all(weights.isfinite().all() for weights in weights_of(tmp_path / "runs/nan").values())


class Overflow(Callback):
    """Makes a gradient infinite in a step whose loss is sound."""

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 3:
            gradient = next(pl_module.parameters()).grad
            assert gradient is not None
            gradient.fill_(math.inf)


def test_a_gradient_that_is_infinite_stops_the_run_before_the_update(tiny_run: Command, tmp_path: Path) -> None:
    cli = make_cli(tiny_run("causal_lm", "infinite", "--budget.steps", "9", "--checkpoints.every_steps", "3"))
    with pytest.raises(Diverged, match=r"step 3: loss \d+\.\d+, gradient norm inf"):
        train(cli, [Overflow()])
    assert all(weights.isfinite().all() for weights in weights_of(tmp_path / "runs/infinite").values())


def test_after_a_divergence_the_same_command_goes_on_from_the_last_checkpoint(
    tiny_run: Command, tmp_path: Path
) -> None:
    command = tiny_run("causal_lm", "nan", "--budget.steps", "6", "--validation.every_steps", "6")
    with pytest.raises(Diverged):
        train(make_cli([*command, "--checkpoints.every_steps", "2"]), [Poison(step=5)])
    assert train_in_process(command) == 0
    assert checkpoints_in(tmp_path / "runs/nan/checkpoints")[0].name == "step-00000006"


def test_sums_give_means_over_everything_added() -> None:
    sums = Sums()
    sums.add({"a": Term(torch.tensor(6.0), torch.tensor(0.0), 3.0, 3, torch.tensor(1.0))})
    sums.add(
        {
            "a": Term(torch.tensor(4.0), torch.tensor(0.0), 2.0, 2),
            "b": Term(torch.tensor(0.0), torch.tensor(0.0), 0.0, 0),
        }
    )
    assert sums.read() == {"a": (2.0, 0.2, 5), "b": (0.0, 0.0, 0)}
    assert sums.read() == {}
