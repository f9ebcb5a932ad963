"""A run's sittings: it goes on exactly where it was stopped, by whatever means, and tells its story."""

import itertools
import json
import os
import pty
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors import SafetensorError
from safetensors.torch import save_file

from tests.helpers import OBJECTIVES, make_cli, metrics_of, run_script, train_in_process, weights_of
from tests.processes import ROOT, Script
from tests.training.stopped import At, Killed, assert_same_run, killed
from training.session import train
from training.step.stops import Interrupted
from training.storage.checkpoint import checkpoints_in

Command = Callable[..., list[str]]
Reference = Callable[[str], Path]


# Before any checkpoint, where a validation follows, and later; by default the first two for one objective, since kills
# at any moment are a law, of an encoder-decoder as well (test_laws.py).
KILLS = [
    pytest.param(name, step, marks=[] if name == OBJECTIVES[0] and step < 13 else pytest.mark.slow)
    for name in OBJECTIVES
    for step in (2, 6, 13)
]


class Begins(Callback):
    """Keeps the step that a sitting begins with."""

    step: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = trainer.global_step


# Dropout, an odd number of steps between logs, validations and checkpoints, and epochs that end within the run.
EVENTFUL = (
    *("--budget.steps", "23", "--body.dropout", "0.1", "--data.batch_size", "32"),
    *("--data.micro_batch_size", "16", "--logging.every_steps", "3", "--validation.every_steps", "7"),
    *("--checkpoints.every_steps", "4", "--checkpoints.keep", "3"),
)


@pytest.fixture(scope="module")
def finished() -> dict[str, Path]:
    """Uninterrupted runs by their objectives."""
    return {}


@pytest.fixture
def reference(tiny_run: Command, finished: dict[str, Path], tmp_path: Path) -> Reference:
    """The folder of an objective's uninterrupted run."""

    def run(objective: str) -> Path:
        if objective not in finished:
            assert train_in_process(tiny_run(objective, "reference", *EVENTFUL)) == 0
            finished[objective] = tmp_path / "runs/reference"
        return finished[objective]

    return run


def test_the_axes_grow_with_the_steps(reference: Reference) -> None:
    run = reference("masked_lm")
    rows, summary = metrics_of(run), json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert len(rows) > 3
    for before, row in itertools.pairwise(rows):
        assert float(row["flops"]) / int(row["step"]) == pytest.approx(summary["flops"] / 23)
        assert float(before["raw_tokens"]) <= float(row["raw_tokens"]) <= summary["raw_tokens"]


@pytest.mark.parametrize(("objective", "step"), KILLS)
def test_a_killed_run_goes_on_bit_by_bit(
    tiny_run: Command, tmp_path: Path, reference: Reference, objective: str, step: int
) -> None:
    command = tiny_run(objective, "killed", *EVENTFUL)
    for at in (step, step + 5):
        with pytest.raises(Killed):
            train(make_cli(command), [At(at, killed)])
    newest, begins = checkpoints_in(tmp_path / "runs/killed/checkpoints")[0], Begins()
    train(make_cli(command), [begins])
    assert begins.step == int(newest.name.removeprefix("step-")) > 0  # a run that starts over comes to the same end
    assert_same_run(tmp_path / "runs/killed", reference(objective))


SIGNALS = [
    ("SIGTERM", 143),
    *(pytest.param(*one, marks=pytest.mark.slow) for one in (("SIGINT", 130), ("SIGHUP", 129))),
]


@pytest.mark.parametrize(("name", "status"), SIGNALS)
def test_a_signal_saves_the_step_and_the_run_goes_on_bit_by_bit(
    tiny_run: Command, tmp_path: Path, reference: Reference, name: str, status: int
) -> None:
    command = tiny_run("masked_lm", "stopped", *EVENTFUL)
    number, before = getattr(signal, name), signal.getsignal(getattr(signal, name))
    for step in (2, 6, 22):  # in between, where a validation follows, and at the last step
        with pytest.raises(Interrupted, match=f"{name}: stopped at .*; the same command goes on") as stopped:
            train(make_cli(command), [At(step, lambda: os.kill(os.getpid(), number))])
        assert stopped.value.exit_status == status
        assert checkpoints_in(tmp_path / "runs/stopped/checkpoints")[0].name == f"step-{step + 1:08d}"
        assert signal.getsignal(number) is before
    assert train_in_process(command) == 0
    assert_same_run(tmp_path / "runs/stopped", reference("masked_lm"))


def wait_for(path: Path, process: Script, seconds: float = 120) -> None:
    """Waits until `path` is there and holds something."""
    end = time.monotonic() + seconds
    while not (path.exists() and (path.is_dir() or path.stat().st_size)):
        assert process.is_running, process.stderr
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_process_that_is_stopped_says_so_with_its_status(
    tiny_run: Command, tmp_path: Path, name: str, status: int
) -> None:
    endless = ("--budget.steps", "100000", "--validation.every_steps", "100000")
    with Script("train.py", *tiny_run("causal_lm", "asked", *endless)) as process:
        wait_for(tmp_path / "runs/asked/metrics.csv", process)
        process.signal(getattr(signal, name))
        ended = process.wait(timeout=60)
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"{name}: stopped at ")


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_saves_its_step(tiny_run: Command, tmp_path: Path) -> None:
    command = tiny_run("causal_lm", "closed", "--budget.steps", "100000", "--validation.every_steps", "100000")
    process, terminal = pty.fork()
    if not process:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "train.py", *command])
    try:
        while not (metrics := tmp_path / "runs/closed/metrics.csv").exists() or not metrics.stat().st_size:
            os.read(terminal, 1 << 16)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert checkpoints_in(tmp_path / "runs/closed/checkpoints")


def test_a_run_that_came_to_its_end_is_not_repeated_and_never_starts_over(tiny_run: Command, tmp_path: Path) -> None:
    command = tiny_run("causal_lm", "once", "--budget.steps", "2")
    assert train_in_process(command) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/once/checkpoints").rglob("*")}
    assert train_in_process(command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/once/checkpoints").rglob("*")}
    assert train_in_process([*command, "--resume", "never"]) == 0
    assert (tmp_path / "runs/once.1/summary.json").exists()
    assert (tmp_path / "runs/once/summary.json").exists()


def test_a_damaged_newest_checkpoint_is_passed_over_and_nothing_is_lost(
    tiny_run: Command, tmp_path: Path, reference: Reference
) -> None:
    command = tiny_run("masked_lm", "damaged", *EVENTFUL)
    with pytest.raises(Killed):
        train(make_cli(command), [At(14, killed)])
    newest = checkpoints_in(tmp_path / "runs/damaged/checkpoints")[0]
    (newest / "weights.safetensors").write_bytes(b"\0" * 100)
    with pytest.warns(UserWarning, match=r"step-00000014: weights\.safetensors is damaged .* going back to the one"):
        assert train_in_process(command) == 0
    assert_same_run(tmp_path / "runs/damaged", reference("masked_lm"))


def test_the_newest_checkpoints_and_the_best_are_kept(tiny_run: Command, tmp_path: Path) -> None:
    rising = ("--budget.steps", "12", "--validation.every_steps", "2", "--checkpoints.keep", "2")
    # A learning rate that grows past what can be learned with: the best checkpoint is an early one.
    rate = ("--optimizer.learning_rate", "3.0", "--optimizer.warmup", "11", "--optimizer.schedule", "constant")
    assert train_in_process(tiny_run("causal_lm", "kept", *rising, *rate)) == 0
    rows = [row for row in metrics_of(tmp_path / "runs/kept") if row["validation/loss"]]
    best = min(rows, key=lambda row: float(row["validation/loss"]))
    kept = [path.name for path in checkpoints_in(tmp_path / "runs/kept/checkpoints")]
    assert kept == ["step-00000012", "step-00000010", f"step-{int(best['step']):08d}"]


def test_a_clock_can_end_a_run_and_its_sittings_add_up(tiny_run: Command, tmp_path: Path) -> None:
    command = tiny_run("causal_lm", "clock", "--budget.minutes", "0.02", "--validation.every_steps", "100000")
    with pytest.raises(Killed):
        train(make_cli([*command, "--checkpoints.every_steps", "2"]), [At(5, killed)])
    assert train_in_process(command) == 0
    summary = json.loads((tmp_path / "runs/clock/summary.json").read_text(encoding="utf-8"))
    assert summary["seconds"] >= 1.2
    rates = [float(row["train/learning_rate"]) for row in metrics_of(tmp_path / "runs/clock") if row["train/loss"]]
    assert rates[-1] < 0.5 * max(rates)  # cosine has come down by the time the clock ends


def assert_nearly_the_same_weights(run: Path, reference: Path) -> None:
    found, expected = weights_of(run), weights_of(reference)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5)


FOUR_STEPS = ("--budget.steps", "4", "--trainer.precision", "32-true")


def test_recomputed_steps_differ_from_plain_ones_in_their_last_digits_alone(tiny_run: Command, tmp_path: Path) -> None:
    for name, recomputes in (("plain", "false"), ("recomputed", "true")):
        options = (*FOUR_STEPS, "--gradient_checkpointing", recomputes)
        assert train_in_process(tiny_run("span_corruption", name, *options)) == 0
    assert_nearly_the_same_weights(tmp_path / "runs/recomputed", tmp_path / "runs/plain")


@pytest.mark.parametrize(
    ("objective", "shape"),
    [
        # One block, and as few graphs as a run has: none without gradients but that of the last validation.
        ("causal_lm", ("--body.layers", "1", "--validation.every_steps", "4", "--logging.examples", "0")),
        ("span_corruption", ()),
    ],
)
@pytest.mark.slow
def test_compiled_steps_differ_from_plain_ones_in_their_last_digits_alone(
    tiny_run: Command, tmp_path: Path, objective: str, shape: tuple[str, ...]
) -> None:
    assert train_in_process(tiny_run(objective, "plain", *FOUR_STEPS, *shape)) == 0
    compiled = run_script("train.py", *tiny_run(objective, "compiled", *FOUR_STEPS, *shape, "--compile", "true"))
    assert compiled.returncode == 0, compiled.stderr
    assert_nearly_the_same_weights(tmp_path / "runs/compiled", tmp_path / "runs/plain")


def test_the_settings_in_a_run_folder_are_a_config_that_gives_the_same_run(tiny_run: Command, tmp_path: Path) -> None:
    assert train_in_process(tiny_run("denoising", "first", "--budget.steps", "3")) == 0
    config = tmp_path / "runs/first/config.yaml"
    assert yaml.safe_load(config.read_text(encoding="utf-8"))["data"]["window"] == 32
    assert train_in_process(["--config", str(config), "--name", "second"]) == 0
    assert_same_run(tmp_path / "runs/second", tmp_path / "runs/first")


def test_a_full_disk_names_the_checkpoint_that_is_whole(
    tiny_run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, save = tiny_run("causal_lm", "full", "--budget.steps", "4", "--checkpoints.every_steps", "2"), save_file

    def fills_up(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if "step-00000004" in str(path):
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save(tensors, path)

    monkeypatch.setattr("training.storage.checkpoint.save_file", fills_up)
    assert train_in_process(command) == 4
    line, folder = capsys.readouterr().err.splitlines()[-1], tmp_path / "runs/full/checkpoints"
    assert f"error: {folder / 'step-00000004'}: No space left on device; free some space" in line
    assert line.endswith(f"{folder / 'step-00000002'} is whole, and the same command goes on from there")
    monkeypatch.undo()
    assert train_in_process(command) == 0
