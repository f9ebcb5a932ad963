"""Where numbers go: metrics.csv, and whether W&B is reached."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from training.monitoring import logs as logs_module
from training.monitoring.logs import Logs, MetricsCsv, has_wandb_key, wandb_mode
from training.storage.run_dir import RunFolder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_new_name_is_a_new_column_and_no_number_is_lost(tmp_path: Path) -> None:
    logger = MetricsCsv(RunFolder(tmp_path))
    logger.log_metrics({"loss": 1.5}, step=1)
    logger.log_metrics({"loss": 1.25, "right": 0.5}, step=2)
    logger.log_metrics({"right": 0.75}, step=3)
    assert rows(logger.path) == [
        {"step": "1", "loss": "1.5", "right": ""},
        {"step": "2", "loss": "1.25", "right": "0.5"},
        {"step": "3", "loss": "", "right": "0.75"},
    ]


def test_a_run_that_goes_on_drops_what_it_is_about_to_write_again(tmp_path: Path) -> None:
    logger = MetricsCsv(RunFolder(tmp_path))
    for step in (1, 2, 3):
        logger.log_metrics({"loss": step / 2}, step=step)
    again = MetricsCsv(RunFolder(tmp_path))
    again.keep_until(2)
    again.log_metrics({"loss": 9.0}, step=3)
    assert [(row["step"], row["loss"]) for row in rows(again.path)] == [("1", "0.5"), ("2", "1.0"), ("3", "9.0")]


def test_a_line_cut_off_by_a_kill_does_not_stop_the_next_session(tmp_path: Path) -> None:
    logger = MetricsCsv(RunFolder(tmp_path))
    for step in (1, 2):
        logger.log_metrics({"loss": 0.5, "right": 0.5}, step=step)
    logger.path.write_text(logger.path.read_text(encoding="utf-8") + "3,0.", encoding="utf-8")
    again = MetricsCsv(RunFolder(tmp_path))
    again.keep_until(2)
    assert [row["step"] for row in rows(again.path)] == ["1", "2"]


def test_numbers_are_hashed_by_the_process_that_writes_checkpoints_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, hashed = RunFolder(tmp_path), []
    monkeypatch.setattr(logs_module, "logged_sha256", lambda folder, step: hashed.append(step) or "the hash")

    def state_of(*, is_first: bool) -> dict[str, Any]:
        logs = Logs(folder)
        logs.run_starts(cast(Any, SimpleNamespace(global_step=2, is_global_zero=is_first, loggers=[])), cast(Any, None))
        return logs.state_dict()

    assert state_of(is_first=False) == {}
    assert hashed == []
    assert state_of(is_first=True) == {"logged_sha256": "the hash"}
    assert hashed == [2]


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.usefixtures("no_key")
def test_a_user_whom_the_machine_does_not_know_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("NETRC")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert not has_wandb_key()


@pytest.mark.usefixtures("no_key")
def test_wandb_is_offline_without_a_key_and_online_with_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not has_wandb_key()
    assert wandb_mode("auto") == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n", encoding="utf-8")
    assert wandb_mode("auto") == "online"
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode("auto") == "online"


@pytest.mark.usefixtures("no_key")
def test_what_is_set_goes_before_the_environment_and_that_before_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    for setting, meant in {"offline": "offline", "disabled": "off", "online": "online"}.items():
        monkeypatch.setenv("WANDB_MODE", setting)
        assert wandb_mode("auto") == meant
        assert wandb_mode("off") == "off"
        assert wandb_mode("online") == "online"
