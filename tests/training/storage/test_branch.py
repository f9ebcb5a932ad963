"""Branches of a trunk come to what runs of their own would have come to, and nothing else may be grafted."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import make_cli, train_in_process
from tests.training.stopped import At, Killed, assert_same_run, killed
from training.session import train
from training.storage.checkpoint import checkpoints_in

Command = Callable[..., list[str]]

# Flat from step 3 to three quarters of the budget: a run of 12 steps decays behind step 9.
PARENT = (
    *("--budget.steps", "24", "--optimizer.schedule", "wsd", "--optimizer.decay", "0.25", "--optimizer.warmup", "3"),
    *("--body.dropout", "0.1", "--validation.every_steps", "7", "--logging.every_steps", "2"),
)
SAVED = ("--checkpoints.at_steps", "[9, 11]", "--checkpoints.keep", "1")


@pytest.fixture(scope="module")
def trained_parent(tiny_run_in: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("parent")
    assert train_in_process(tiny_run_in(runs, "masked_lm", "trunk", *PARENT, *SAVED)) == 0
    return runs / "trunk"


@pytest.fixture
def parent(trained_parent: Path, tmp_path: Path) -> Path:
    """A copy of the parent run, which a test may damage."""
    return shutil.copytree(trained_parent, tmp_path / "runs/trunk")


def branch_of(parent: Path, step: int) -> tuple[str, ...]:
    return ("--branch_from", str(parent / f"checkpoints/step-{step:08d}"), "--budget.steps", "12")


def test_a_branch_comes_to_what_a_run_of_its_own_comes_to_bit_by_bit(
    tiny_run: Command, parent: Path, tmp_path: Path
) -> None:
    assert train_in_process(tiny_run("masked_lm", "own", *PARENT, "--budget.steps", "12")) == 0
    assert train_in_process(tiny_run("masked_lm", "branch", *PARENT, *branch_of(parent, 9))) == 0
    assert_same_run(tmp_path / "runs/branch", tmp_path / "runs/own")


def test_a_branch_that_is_killed_goes_on_from_its_own_checkpoint(
    tiny_run: Command, parent: Path, tmp_path: Path
) -> None:
    whole, broken = (tiny_run("masked_lm", name, *PARENT, *branch_of(parent, 9)) for name in ("whole", "broken"))
    assert train_in_process(whole) == 0
    with pytest.raises(Killed):
        train(make_cli([*broken, "--checkpoints.every_steps", "1"]), [At(11, killed)])
    assert checkpoints_in(tmp_path / "runs/broken/checkpoints")[0].name == "step-00000011"
    assert train_in_process(broken) == 0
    assert_same_run(tmp_path / "runs/broken", tmp_path / "runs/whole")


def test_checkpoints_at_declared_steps_are_kept_for_good(parent: Path) -> None:
    kept = {path.name for path in checkpoints_in(parent / "checkpoints")}
    assert {"step-00000009", "step-00000011", "step-00000024"} <= kept


@pytest.mark.parametrize(
    ("step", "changed", "expected"),
    [
        (11, ("--budget.steps", "12"), "from update 10 on a run of 12 steps .*: branch from step 10 at the latest"),
        (9, ("--budget.steps", "12", "--seed", "1"), "differs from it in its budget alone, and here seed: 0 -> 1"),
        (9, ("--budget.steps", "12", "--data.batch_size", "4"), "and here data.batch_size: 8 -> 4"),
        (9, ("--budget.steps", "null", "--budget.minutes", "1"), "a run whose budget is minutes has no branches"),
        (8, ("--budget.steps", "12"), "must be a checkpoint in a run's folder"),
    ],
)
def test_what_would_not_have_come_to_the_checkpoint_is_refused(
    tiny_run: Command,
    parent: Path,
    capsys: pytest.CaptureFixture[str],
    step: int,
    changed: tuple[str, ...],
    expected: str,
) -> None:
    checkpoint = parent / f"checkpoints/step-{step:08d}"
    command = tiny_run("masked_lm", "other", *PARENT, "--branch_from", str(checkpoint), *changed)
    if "--budget.minutes" in changed:
        command.append("--budget.raw_tokens=null")
    assert train_in_process(command) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert re.search(expected, message), message


def test_a_damaged_parent_run_is_refused(tiny_run: Command, parent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (parent / "checkpoints/step-00000009/state.safetensors").write_bytes(b"\0" * 100)
    assert train_in_process(tiny_run("masked_lm", "other", *PARENT, *branch_of(parent, 9))) == 2
    assert "state.safetensors is damaged" in capsys.readouterr().err
