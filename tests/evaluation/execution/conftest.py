"""A tiny study, and compare.py in this process."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation.execution.jobs import Job
from tests.evaluation.study.test_plan import tiny_settings
from tests.helpers import ROOT, train_in_process

Compare = Callable[..., int]
TINY_STUDY = {
    "arms": {
        "masked LM": str(ROOT / "configs/masked_lm.yaml"),
        "causal LM": str(ROOT / "configs/causal_lm.yaml"),
    },
    "seeds": [0, 1],
    "budget": {"raw_tokens": 2_000},
    "evaluations": {"continuation": {"bytes": 64, "passages": 6}},
    "hypotheses": [{"arm": "causal LM", "against": "masked LM", "metric": "continuation", "direction": "less"}],
}


def train_here(jobs: Sequence[Job], environments: Any, *, show: Any, ended: Callable[[Job], None]) -> None:
    """Trains what is not over, in this process: as the processes of a study would, without their start."""
    for job in jobs:
        if not job.is_over():
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.forget_failure()
            if status := train_in_process([*job.arguments]):
                job.note_failure(status, f"exit status {status}")
            ended(job)


@pytest.fixture
def write_study(corpus_file: Path, cache: Path, store: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The command line of a tiny study with some keys of it changed."""

    def write(settings: dict[str, str] | None = None, **changed: Any) -> list[str]:
        shared = {**tiny_settings(corpus_file, cache), "validation.every_steps": "4", **(settings or {})}
        study = {**TINY_STUDY, "shared": {"settings": shared}, **changed}
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
        return ["--config", str(path), "--studies", str(tmp_path / "studies")]

    return write


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Runs compare.py's command in this process; returns its exit status."""
    monkeypatch.setattr("evaluation.execution.runner.train_all", train_here)

    def run(arguments: list[str]) -> int:
        import compare

        try:
            return compare.main(arguments)
        except SystemExit as left:
            return int(left.code or 0)

    return run
