"""The next command can be typed where the user stands."""

import shlex
from pathlib import Path

import pytest

from tests.helpers import ROOT
from training.monitoring.next_command import command, from_here, print_next


def test_paths_are_relative_to_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert command("summarize.py", ROOT / "runs") == "python summarize.py runs"
    monkeypatch.chdir(ROOT / "configs")
    assert command("summarize.py", ROOT / "runs") == "python ../summarize.py ../runs"
    monkeypatch.chdir(tmp_path)
    assert from_here(tmp_path / "runs/a b") == "runs/a b"
    assert from_here(ROOT / "train.py") == str(ROOT / "train.py")  # far above


def test_words_are_quoted_as_a_shell_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_next("generate.py", Path("runs/모델 1"), "Thank you for [MASK] me .")
    printed = capsys.readouterr()
    assert not printed.out
    words = shlex.split(printed.err.removeprefix("next: "))
    assert words[2:] == ["runs/모델 1", "Thank you for [MASK] me ."]
