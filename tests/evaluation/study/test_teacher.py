"""A study with a student: its teacher is a run beside the studies, named from where the command is given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import compare
from evaluation.record.files import read_record
from tests.evaluation.execution.conftest import train_here
from tests.evaluation.report.pages import undrawn
from tests.evaluation.study.test_plan import tiny_settings
from tests.helpers import ROOT, train_in_process
from training.storage.run_dir import RunFolder

STUDENT = {"config": str(ROOT / "configs/distillation.yaml")}


@pytest.fixture
def command(
    corpus_file: Path,
    cache: Path,
    store: Path,
    tiny_run: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """A study of a student with a teacher, runs/teacher, and of the same student without, in the folder of both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evaluation.execution.runner.train_all", train_here)
    one_segment = ["--model.init_args.second_segment", "none"]
    assert train_in_process(tiny_run("masked_lm", "teacher", *one_segment, "--budget.steps", "2")) == 0
    settings: dict[str, Any] = {**tiny_settings(corpus_file, cache), "validation.every_steps": "4"}
    settings["data.tokenizer"] = "runs/teacher/tokenizer.json"
    study = {
        "arms": {
            "distilled": {**STUDENT, "settings": {"model.init_args.teacher": "runs/teacher", "body.layers": "1"}},
            "alone": {
                "config": str(ROOT / "configs/masked_lm.yaml"),
                "settings": {"model.init_args.second_segment": "none", "body.layers": "1"},
            },
        },
        "shared": {"settings": settings},
        "seeds": [0],
        "budget": {"raw_tokens": 1_000},
        "evaluations": {"continuation": {"bytes": 64, "passages": 4}},
        "hypotheses": [{"arm": "distilled", "against": "alone", "metric": "continuation", "direction": "less"}],
    }
    Path("tiny.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return ["--config", "tiny.yaml"]


def test_a_student_is_an_arm_beside_the_same_body_without_a_teacher(command: list[str], tmp_path: Path) -> None:
    with undrawn():
        assert compare.main(command) == 0
    record = read_record(tmp_path / "studies/tiny/results.json")
    distilled, alone = record.arms
    assert (distilled.label, alone.label) == ("distilled", "alone")
    assert distilled.parameters == alone.parameters  # the teacher's are no student's
    assert distilled.layers == alone.layers
    assert distilled.targets_per_raw_token == alone.targets_per_raw_token
    assert distilled.flops_per_window > alone.flops_per_window  # its forward pass is
    assert {run.windows_sha256 for run in record.runs} == {record.runs[0].windows_sha256}
    assert [*record.runs[0].scores] == [*record.runs[1].scores] == ["validation_loss", "continuation"]
    config = RunFolder(tmp_path / record.runs[0].folder).read_config()
    assert config["model"]["init_args"]["teacher"] == "runs/teacher"
    assert config["model"]["init_args"]["objective"] == "objectives.masked_lm.MaskedLM"


def test_a_teacher_that_is_not_there_is_named_with_its_arm_before_anything_is_trained(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs/teacher").rename(tmp_path / "runs/moved")
    with pytest.raises(SystemExit) as ended:
        compare.main(command)
    assert ended.value.code == 4  # a hub might have it, and cannot be asked
    error = capsys.readouterr().err
    assert "arm 'distilled'" in error
    assert "runs/teacher" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "studies/tiny/runs").exists()
