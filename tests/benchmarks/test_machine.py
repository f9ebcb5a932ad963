"""`benchmarks.machine`: a check in a process of its own, a table, and one JSON; what is cut off has not passed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.shared.limited import Ended, run_limited
from tests.processes import Script


def run_forked(command: list[str], seconds: float) -> Ended:
    """A check's command in a process that has the libraries already."""
    module, *arguments = command[2:]
    with Script(f"{module.replace('.', '/')}.py", *arguments) as started:
        ended = started.wait(seconds)
    return Ended(ended.returncode, ended.stderr)


@pytest.mark.parametrize("run", [run_forked, pytest.param(run_limited, marks=pytest.mark.slow)])
def test_a_check_leaves_a_row_and_a_file(
    run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "run_limited", run)
    assert machine.main(["--checks", "products", "--out", str(tmp_path / "machine.json")]) == 0
    written = json.loads((tmp_path / "machine.json").read_text(encoding="utf-8"))
    found = written["checks"]["products"]
    assert found["status"] == "passed"
    assert found["auto"] == max(found["over_a_run"], key=found["over_a_run"].get)
    assert "passed" in capsys.readouterr().out
    assert str(Path.home()) not in json.dumps(written)


def test_a_run_is_scored_whatever_the_documents_hold(tmp_path: Path) -> None:
    assert machine.run_one("scoring", tmp_path) == 0
    assert "bits" in json.loads((tmp_path / "found.json").read_text())["detail"]


def test_what_the_limit_cuts_off_has_not_passed() -> None:
    assert machine.check("muon", seconds=0.2)["status"] == "not run"
    assert machine.run_all(["muon"], minutes=0.0) == {"muon": {"status": "not run"}}


def test_a_check_that_fails_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = {"muon": {"status": "failed", "seconds": 1.0, "detail": "loss nan"}, "fsdp": {"status": "passed"}}
    monkeypatch.setattr(machine, "check", lambda name, seconds: outcomes[name])
    assert machine.main(["--checks", "muon", "fsdp", "--out", str(tmp_path / "machine.json")]) == 1
    written = json.loads((tmp_path / "machine.json").read_text(encoding="utf-8"))["checks"]
    assert {name: written[name] for name in outcomes} == outcomes
