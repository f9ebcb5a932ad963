"""Two processes that talk by gloo are one run: the same windows, the same gradient, and checkpoints either can take."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from tests.helpers import metrics_of, several_processes, torchrun, train_in_process, weights_of
from training.setup.trainer import ShardedStrategy
from training.storage.checkpoint import checkpoints_in, read_checkpoint

Command = Callable[..., list[str]]
STEPS = ("--budget.steps", "6", "--checkpoints.every_steps", "2", "--checkpoints.keep", "9", "--data.window", "12")


def assert_close(run: Path, reference: Path, *, relative: float) -> None:
    """Every weight and every logged number."""
    found, expected = weights_of(run), weights_of(reference)
    assert found.keys() == expected.keys()
    for name in expected:
        error = (found[name].double() - expected[name].double()).norm() / expected[name].double().norm().clamp(min=1e-9)
        assert error < relative, f"{name}: {error}"
    rows, expected_rows = metrics_of(run), metrics_of(reference)
    assert [row["step"] for row in rows] == [row["step"] for row in expected_rows]
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert {k: float(v or 0) for k, v in row.items()} == pytest.approx(
            {k: float(v or 0) for k, v in expected_row.items()}, rel=100 * relative
        )


class Reductions(Callback):
    """Writes a line for each bucket of gradients that all processes add up: the optimizer steps and micro-batches done.

    Args:
        file: where, of the first process.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        def reduce(file: Path, bucket: GradBucket) -> torch.futures.Future[Tensor]:
            gradient = bucket.parameters()[0].grad
            assert gradient is not None
            assert gradient.data_ptr() == bucket.gradients()[0].data_ptr()  # a view, no copy
            if trainer.is_global_zero and bucket.is_last():
                with file.open("a") as lines:
                    lines.write(f"{trainer.global_step} {trainer.fit_loop.batch_idx}\n")
            return allreduce_hook(cast(Any, None), bucket)

        if isinstance(model := trainer.strategy.model, DistributedDataParallel):
            model.register_comm_hook(self.file, reduce)


# By torchrun itself they import everything anew, and so does the launcher.
LAUNCHERS = [several_processes, pytest.param(torchrun, marks=pytest.mark.slow)]


def rewind(run: Path, step: int) -> None:
    """As if the run had been killed just behind a checkpoint."""
    (run / "summary.json").unlink()
    for folder in checkpoints_in(run / "checkpoints"):
        if folder.name > f"step-{step:08d}":
            shutil.rmtree(folder)


@pytest.mark.parametrize("launch", LAUNCHERS)
def test_two_processes_take_the_step_that_one_takes_and_one_goes_on_from_their_checkpoint(
    tiny_run: Command, tmp_path: Path, launch: Callable[..., CompletedProcess[str]]
) -> None:
    """Law 2: float64, relative 1e-12; windows of 12 tokens leave some micro-batches without a segment pair."""
    double, counts = ("--trainer.precision", "64-true"), tmp_path / "reductions"
    assert train_in_process(tiny_run("masked_lm", "one", *STEPS, *double)) == 0
    counting = {"class_path": f"{__name__}.Reductions", "init_args": {"file": str(counts)}}
    double = (*double, "--trainer.callbacks", json.dumps([counting]))
    done = launch(*tiny_run("masked_lm", "two", *STEPS, *double, "--data.micro_batch_size", "2"))
    assert done.returncode == 0, done.stderr
    reduced = counts.read_text().splitlines()
    assert reduced == [f"{step} {2 * step + 1}" for step in range(6)]  # once a step, with its last micro-batch
    one, two = tmp_path / "runs/one", tmp_path / "runs/two"
    assert_close(two, one, relative=1e-12)
    rewind(two, 4)
    assert train_in_process(tiny_run("masked_lm", "two", *STEPS, *double)) == 0
    assert_close(two, one, relative=1e-12)


def test_a_sharded_run_is_the_same_run_and_one_process_goes_on_from_its_checkpoint(
    tiny_run: Command, tmp_path: Path
) -> None:
    single = ("--trainer.precision", "32-true")
    assert train_in_process(tiny_run("denoising", "one", *STEPS, *single)) == 0
    done = several_processes(*tiny_run("denoising", "two", *STEPS, *single, "--trainer.strategy", "fsdp"))
    assert done.returncode == 0, done.stderr
    one, two = tmp_path / "runs/one", tmp_path / "runs/two"
    assert_close(two, one, relative=1e-4)
    rewind(two, 4)
    assert train_in_process(tiny_run("denoising", "two", *STEPS, *single)) == 0
    assert_close(two, one, relative=1e-4)
    state = read_checkpoint(checkpoints_in(two / "checkpoints")[0])["optimizer_states"][0]["state"]
    assert all(torch.isfinite(entry["exp_avg"]).all() for entry in state.values())


def test_a_mistake_in_several_processes_is_still_one_line(tiny_run: Command) -> None:
    done = several_processes(*tiny_run("causal_lm", "wrong", "--data.micro_batch_size", "3"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "train.py: error: " in done.stderr
    assert "do not split over 2 device(s)" in done.stderr


def test_a_process_that_comes_late_may_find_the_checkpoint_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShardedStrategy, "is_global_zero", property(lambda _: False))
    (tmp_path / "step-00000004").mkdir()
    ShardedStrategy(2).save_checkpoint({}, tmp_path / "step-00000004")
    assert not [*(tmp_path / "step-00000004").iterdir()]
