"""finetune.py --dry-run: the rows are read and the settings checked, and nothing is left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

import finetune
from tests.finetuning.test_scripts import MISTAKES, status_of, without

Command = Callable[..., list[str]]
Capture = pytest.CaptureFixture[str]


def test_a_dry_run_reads_the_rows_needs_no_checkpoint_and_leaves_nothing(
    tiny_task: Command, tmp_path: Path, capfd: Capture
) -> None:
    command = [*tiny_task("classification", "masked_lm"), "--grid.seeds", "[0,1]", "--dry-run"]
    assert status_of(finetune.main, without("--checkpoint", command)) == 0
    shown = capfd.readouterr()
    assert shown.out.splitlines()[0] == "rows: 64 train, 24 development, 24 test"
    assert "next:" not in shown.err
    assert status_of(finetune.main, command) == 0
    assert "next: python " in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "mistake", ["a misspelt setting of the task", "a column that there is not", "a label column that there is not",
                "a file that is not there", "a metric that there is not", "a grid of nothing"]
)  # fmt: skip
@pytest.mark.parametrize("left_out", [(), ("--checkpoint",)])
def test_a_dry_run_is_refused_as_a_run_is(
    tiny_task: Command, capsys: Capture, mistake: str, left_out: tuple[str, ...]
) -> None:
    arguments, expected = MISTAKES[mistake]
    command = tiny_task("classification", "masked_lm", "--dry-run", *arguments)
    for name in left_out:
        command = without(name, command)
    assert status_of(finetune.main, command) == 2
    assert expected in capsys.readouterr().err
