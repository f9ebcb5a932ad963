"""Killed at any write of any script and started again by the same command, the result is what it would have been."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.campaign import chosen, number
from tests.helpers import TINY, metrics_of, run_script
from training.storage.checkpoint import checkpoints_in
from training.storage.run_dir import RunFolder

pytestmark = pytest.mark.faults

KILLS = number("KILLS", 30)  # over all scripts


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def of_run(run: Path) -> object:
    """What must be the same of a run: its weights, its numbers and what came out, without what a clock decides."""
    summary = RunFolder(run).read_summary()
    assert summary is not None
    clocked = ("seconds", "peak_memory_bytes", "initialized_from")
    timeless = {name: value for name, value in summary.items() if name not in clocked and "speed/" not in name}
    return digest(checkpoints_in(run / "checkpoints")[0] / "weights.safetensors"), timeless, metrics_of(run)


def of_folder(folder: Path) -> object:
    """Every visible file of a folder with its hash."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): digest(path) for path in files}


def of_scores(run: Path) -> object:
    return of_folder(run / "scores")


def of_study(study: Path) -> object:
    record = json.loads((study / "results.json").read_text(encoding="utf-8"))
    return [(run["arm"], run["seed"], run["status"], run["scores"]) for run in record["runs"]]


@dataclass(frozen=True)
class Case:
    """A script, its arguments in a working folder, and what must be the same of that folder."""

    script: str
    arguments: Callable[[Path, Path], list[str]]
    result: Callable[[Path], object]


def settings(work: Path, corpus: Path) -> list[str]:
    return [*TINY, "--data.corpus", str(corpus), "--data.cache", str(work / "cache")]


def training(work: Path, corpus: Path) -> list[str]:
    return [
        *("--config", "configs/causal_lm.yaml", *settings(work, corpus), "--runs", str(work), "--name", "run"),
        *("--budget.steps", "6", "--checkpoints.every_steps", "2", "--logging.examples", "1"),
    ]


def tuning(work: Path, corpus: Path) -> list[str]:
    rows = work.parent / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"the {w} cat {n},{w}\n" for n in range(40) for w in ("old", "young")))
    task = {"class_path": "finetuning.tasks.classification.ClassificationTask"}
    (work.parent / "task.yaml").write_text(
        json.dumps(
            {"task": {**task, "init_args": {"name": "age", "train": str(rows), "texts": ["text"], "label": "label"}}}
        ),
        encoding="utf-8",
    )
    return [
        *("--config", str(work.parent / "task.yaml"), "--checkpoint", str(work / "run"), "--runs", str(work / "tuned")),
        *("--name", "tuned", "--logging.wandb", "off", "--budget.epochs", "1", "--trainer.precision", "32-true"),
    ]


def comparing(work: Path, corpus: Path) -> list[str]:
    shared = dict(zip(*[iter(name.removeprefix("--") for name in settings(work, corpus))] * 2, strict=True))
    study = {
        "seeds": [0],
        "budget": {"raw_tokens": 600},
        "shared": {"settings": shared},
        "arms": {"masked": "configs/masked_lm.yaml", "causal": "configs/causal_lm.yaml"},
    }
    path = work.parent / "study.yaml"
    path.write_text(json.dumps(study), encoding="utf-8")
    return ["--config", str(path), "--studies", str(work), "--name", "study", "--parallel", "1"]


def exporting(work: Path, corpus: Path) -> list[str]:
    return [str(work / "run"), "--to", str(work / "to")]


CASES = {
    "prepare": Case("prepare.py", settings, lambda work: of_folder(work / "cache")),
    "train": Case("train.py", training, lambda work: of_run(work / "run")),
    "export": Case("export.py", exporting, lambda work: of_folder(work / "to")),
    "score": Case(
        "score.py",
        lambda work, corpus: [str(work / "run"), "--passages", "4", "--bytes", "32"],
        lambda work: of_scores(work / "run"),
    ),
    "finetune": Case("finetune.py", tuning, lambda work: of_run(work / "tuned/tuned")),
    "compare": Case("compare.py", comparing, lambda work: of_study(work / "study")),
}
NEEDS_A_RUN = ("export", "score", "finetune")


@pytest.mark.parametrize("name", CASES)
def test_a_script_killed_at_any_write_comes_to_the_same(name: str, tmp_path: Path, corpus_file: Path) -> None:
    case, work, prepared = CASES[name], tmp_path / "work", tmp_path / "prepared"
    prepared.mkdir()
    if name != "prepare":
        done = run_script("prepare.py", *settings(prepared, corpus_file))
        assert done.returncode == 0, done.stderr
    if name in NEEDS_A_RUN:
        done = run_script("train.py", *training(prepared, corpus_file))
        assert done.returncode == 0, done.stderr

    def start(at: int) -> subprocess.CompletedProcess[str]:
        arguments = case.arguments(work, corpus_file)
        return run_script("tests/faults/aimed.py", str(work), str(at), case.script, *arguments)

    shutil.copytree(prepared, work)
    done = start(0)
    assert done.returncode == 0, done.stderr[-800:]
    expected, changes = case.result(work), int((tmp_path / "work.changes").read_text())
    assert changes > 0
    different = []
    for at in chosen(changes, max(KILLS // len(CASES), 1), name):
        shutil.rmtree(work)
        shutil.copytree(prepared, work)
        assert start(at).returncode == -9, at
        done = run_script(case.script, *case.arguments(work, corpus_file))
        if done.returncode != 0 or case.result(work) != expected:
            different.append((at, done.returncode, done.stderr[-500:]))
    assert not different, f"{len(different)} of {changes} places"
