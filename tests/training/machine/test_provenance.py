"""Each session records by what it is computed, and says once where that is other than in the one before."""

import json
from pathlib import Path

import pytest

from common.files import read_sealed, write_sealed
from tests.helpers import TINY, train_in_process
from training.machine import provenance
from training.storage.run_dir import RunFolder


def test_a_run_goes_on_with_other_code_and_libraries_says_so_once_and_records_every_session(
    tmp_path: Path,
    corpus_file: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def train(steps: int) -> str:
        caplog.clear()
        command = [
            *("--config", "configs/causal_lm.yaml", *TINY, "--data.corpus", str(corpus_file)),
            *("--data.cache", str(cache), "--runs", str(tmp_path), "--name", "run", "--budget.steps", "4"),
            *("--checkpoints.at_steps", "[1,2,3]"),
        ]
        assert train_in_process(command) == 0
        for path in (tmp_path / "run/checkpoints").iterdir():  # as if it had been stopped there
            if int(path.name[-8:]) > steps:
                for file in path.iterdir():
                    file.unlink()
                path.rmdir()
        (tmp_path / "run/summary.json").unlink()
        return caplog.text

    assert "other code" not in train(1)
    before = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: {**before, "torch": "1.0"})
    monkeypatch.setattr(provenance, "code_sha256", lambda: "0" * 64)
    message = train(2)
    assert f"torch {before['torch']} -> 1.0" in message
    assert "code " in message
    assert "other code" not in train(3)
    info = RunFolder(tmp_path / "run").read_info()
    assert [session["versions"]["torch"] for session in info["sessions"]] == [before["torch"], "1.0", "1.0"]
    assert [session["code_sha256"] == "0" * 64 for session in info["sessions"]] == [False, True, True]
    assert info["versions"]["torch"] == before["torch"]


def test_what_an_earlier_version_did_not_record_has_not_changed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_info(data={})
    info, _ = read_sealed(tmp_path / "run.json", remedy="")
    old = {name: value for name, value in info.items() if name not in ("sessions", "code_sha256", "commit")}
    (tmp_path / "run.json").write_text(json.dumps(old), encoding="utf-8")
    assert folder.begin_session() is None
    write_sealed(tmp_path / "run.json", {**old, "commit": "abcdef"})
    assert "code abcdef -> " in (folder.begin_session() or "")
