"""The studies that ship: each declares what to run and what to expect, and could be trained as it stands."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.study.checks import check_arms
from evaluation.study.parse import parse
from tests.helpers import ROOT, train_in_process

STUDIES = sorted((ROOT / "configs/comparisons").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_opens_with_its_command_and_what_to_expect(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    opening = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert f"python compare.py --config configs/comparisons/{path.name}" in opening
    assert re.search(r"\bExpect\b", opening)
    assert re.search(r"\b(minutes|hours)\b", opening)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_declares_what_can_be_compared(
    path: Path, tiny_run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.setup.precision.measured_rates", lambda products, accelerator: {"32-true": 1.0})
    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")
    if "runs/teacher" in path.read_text(encoding="utf-8"):  # which the study's opening trains
        one_segment = ["--model.init_args.second_segment", "none"]
        assert train_in_process(tiny_run("masked_lm", "teacher", *one_segment, "--budget.steps", "2")) == 0
    study, _ = parse(["--config", str(path)])
    assert study.question
    assert study.hypotheses
    clis = check_arms(study, ROOT / "configs/base.yaml")
    assert clis.keys() == study.arms.keys()
