"""What of a study reaches Weights & Biases, read back from the file of an offline run."""

from pathlib import Path

import pytest

from evaluation.report.publish import numbers, publish
from evaluation.report.report import write_report
from tests.evaluation.report.made_up import make_record
from tests.training.monitoring.test_wandb import records
from training.setup.settings import LoggingSettings


def test_means_are_named_by_arm_and_metric_with_the_ends_of_their_intervals() -> None:
    record = make_record()
    found = numbers(record)
    for summary in record.summaries:
        name = f"{summary.arm}/{summary.metric}"
        assert found[name] == summary.mean
        assert (found.get(f"{name}/low"), found.get(f"{name}/high")) == (summary.low, summary.high)
    assert not any(name.endswith("/low") for name in numbers(make_record(seeds=1)))


def test_nothing_is_written_where_it_is_off(tmp_path: Path) -> None:
    publish(make_record(), tmp_path, LoggingSettings(wandb="off"), declared="")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_study_is_a_run_of_its_own_group_with_its_numbers_tables_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "waiting"))
    record = make_record()
    write_report(record, tmp_path)
    for _ in range(2):  # concluded once more, it is the same run
        publish(record, tmp_path, LoggingSettings(wandb="offline", private=True), declared="2026-01-01")
    found = records(tmp_path)
    (started,) = {(run.run_id, run.run_group, run.job_type) for run in found["run"]}
    assert started[1:] == (record.name, "study")
    summary = {item.key or item.nested_key[0] for update in found["summary"] for item in update.update}
    assert {name.split("/")[0] for name in numbers(record)} <= {name.split("/")[0] for name in summary}
    logged = {item.key or item.nested_key[0] for row in found["history"] for item in row.item}
    assert {"study/runs", "study/means", "study/verdicts"} <= logged
    (report, *_) = [sent for sent in found["artifact"] if sent.type == "report"]
    sent = {entry.path for entry in report.manifest.contents}
    assert {"report.html", "results.json"} <= sent
    assert any(path.startswith("figures/") for path in sent)
