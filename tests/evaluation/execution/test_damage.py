"""A torn or foreign file of a study is named with its remedy, and one of a run blocks no other run."""

from pathlib import Path

import pytest

from common.errors import UserError
from evaluation.execution.jobs import StudyDir, logged
from evaluation.execution.runner import Jobs, declare, jobs_of
from evaluation.outcome import is_finished
from tests.evaluation.execution.test_jobs import fail, finish, plan_of, study_of
from training.step.stops import Diverged

TORN = {"empty": b"", "torn": b'{"steps": 1, "val', "foreign": b"[1, 2]", "binary": b"\xff\xfe\0", "no run's": b"{}"}


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    """Runs of a study, the first of which is finished."""
    study = study_of(learning_rates=())
    found = jobs_of(study, plan_of(study), StudyDir(folder=tmp_path))
    finish(found.runs[0], 1.0)
    return found


@pytest.mark.parametrize("content", TORN.values(), ids=TORN)
def test_a_damaged_summary_is_a_failed_run_and_the_others_are_listed(
    jobs: Jobs, tmp_path: Path, content: bytes
) -> None:
    path = jobs.runs[0].run.path / "summary.json"
    path.write_bytes(content)
    study = study_of(learning_rates=())
    again = jobs_of(study, plan_of(study), StudyDir(folder=tmp_path))
    assert [job.outcome()[0] for job in again.runs] == ["failed", *["unfinished"] * (len(again.runs) - 1)]
    reason = again.runs[0].outcome()[1]
    assert str(path) in reason
    assert "remove it" in reason
    assert again.runs[0].summary() is None
    path.unlink()
    assert again.runs[0].outcome()[0] == "unfinished"


@pytest.mark.parametrize("content", [b"", b"[", b"[1]", b'{"data"'])
@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
def test_a_damaged_run_json_or_config_blocks_no_other_run(
    jobs: Jobs, tmp_path: Path, content: bytes, name: str
) -> None:
    (jobs.runs[1].run.path).mkdir(parents=True, exist_ok=True)
    (jobs.runs[1].run.path / "config.yaml").write_text("seed: 0")
    (jobs.runs[1].run.path / name).write_bytes(content)
    study = study_of(learning_rates=())
    again = jobs_of(study, plan_of(study), StudyDir(folder=tmp_path))
    assert again.runs[0].outcome()[0] == "finished"
    if name == "run.json":
        status, reason = again.runs[1].outcome()
        assert status == "failed"
        assert "run.json is damaged" in reason


def test_damaged_numbers_are_a_failed_run_without_a_curve(jobs: Jobs) -> None:
    (jobs.runs[0].run.path / "metrics.csv").write_text("a,b\n1,2\n")
    assert jobs.runs[0].outcome()[0] == "failed"
    assert logged(jobs.runs[0].run) == []


@pytest.mark.parametrize("content", TORN.values(), ids=TORN)
def test_a_damaged_note_of_a_failure_means_that_the_run_is_tried_again(jobs: Jobs, content: bytes) -> None:
    fail(jobs.runs[1], Diverged.exit_status)
    assert jobs.runs[1].outcome()[0] == "failed"
    jobs.runs[1].log.with_suffix(".failed.json").write_bytes(content)
    assert jobs.runs[1].outcome()[0] == "unfinished"


@pytest.mark.parametrize("content", [b"", b"[{", b'{"time": 1}', b"[1]", b'"a"', b'[{"time": "now"}]'])
def test_a_damaged_declaration_is_named_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    place = StudyDir(folder=tmp_path)
    place.declaration.write_bytes(content)
    with pytest.raises(UserError, match=r"study\.json is damaged; .* remove it"):
        declare(study_of(), "fingerprint", place)
    place.declaration.unlink()
    assert len(declare(study_of(), "fingerprint", place)) == 1


def test_damaged_results_are_written_anew(tmp_path: Path) -> None:
    place, none = StudyDir(folder=tmp_path), Jobs(tuning=[], runs=[], branches=[], rates={})
    declare(study_of(), "fingerprint", place)
    for content in TORN.values():
        place.results.write_bytes(content)
        assert not is_finished(place, none)
