"""The studies that ship: each declares what to run and what to expect, and could be trained as it stands."""

import re
from pathlib import Path

import pytest

from evaluation.study.checks import check_arms
from evaluation.study.parse import parse
from tests.helpers import ROOT

STUDIES = sorted((ROOT / "configs/comparisons").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_opens_with_its_command_and_what_to_expect(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    opening = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert f"python compare.py --config configs/comparisons/{path.name}" in opening
    assert re.search(r"\bExpect\b", opening)
    assert re.search(r"\b(minutes|hours)\b", opening)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_declares_what_can_be_compared(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    study, _ = parse(["--config", str(path)])
    assert study.question
    assert study.hypotheses
    clis = check_arms(study, ROOT / "configs/base.yaml")
    assert clis.keys() == study.arms.keys()
