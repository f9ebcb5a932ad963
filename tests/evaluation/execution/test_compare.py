"""A study from its YAML to its report: paired, never repeated, and the same however it was interrupted."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluation.record.files import read_record
from evaluation.record.record import RunRecord, StudyRecord
from tests.evaluation.report.pages import undrawn
from tests.helpers import ROOT, run_script

Compare = Callable[..., int]


def record_of(tmp_path: Path) -> StudyRecord:
    return read_record(tmp_path / "studies/tiny/results.json")


def numbers(record: StudyRecord) -> list[Any]:
    """What came out, without what a clock decides."""
    return [
        (run.arm, run.seed, run.budget, run.status, run.windows_sha256, run.curve, run.scores) for run in record.runs
    ]


@pytest.mark.parametrize("more", [("--dry-run",), ()])
def test_a_task_that_no_run_could_be_taken_to_is_refused_before_the_first_is_trained(
    compare: Compare,
    write_study: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    script = tmp_path / "finetune.py"  # its answer without its seconds; the answer itself is tested beside it
    script.write_text("print('finetune.py: error: task.train: no file at a'); raise SystemExit(2)", encoding="utf-8")
    monkeypatch.setattr("evaluation.scoring.tasks.fine_tuned.FINETUNE", script)
    tasks = {"made": str(ROOT / "configs/tasks/sst2.yaml")}
    command = write_study(evaluations={"fine_tuned": {"tasks": tasks}}, hypotheses=[])
    assert compare([*command, *more]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.endswith("error: fine_tuned.tasks.made: task.train: no file at a")
    assert not (tmp_path / "studies/tiny/runs").exists()
    assert not (tmp_path / "studies/tiny/study.json").exists()  # nothing is declared by it


def test_a_study_is_paired_measured_reported_and_not_repeated(
    compare: Compare, write_study: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = write_study(seeds=[0])
    assert compare([*command, "--dry-run"]) == 0
    planned = capsys.readouterr()
    assert "2 arms x 1 seeds, 2k raw_tokens each" in planned.out
    assert shlex.split(planned.err.splitlines()[-1])[3:] == command  # which trains
    assert not (tmp_path / "studies/tiny/runs").exists()

    assert compare(command) == 0
    next_command = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert Path(next_command[2]).name == "summarize.py"
    assert Path(next_command[3]).samefile(tmp_path / "studies/tiny")
    record = record_of(tmp_path)
    assert [(run.arm, run.seed, run.status) for run in record.runs] == [
        (arm, 0, "finished") for arm in ("masked LM", "causal LM")
    ]
    for run in record.runs:
        assert run.curve[-1].raw_tokens >= 2_000
        assert run.scores.keys() == {"validation_loss", "continuation"}
        assert run.scores["validation_loss"].mean == run.curve[-1].loss
        assert run.cost is not None
        assert run.cost.seconds > 0
        assert (run.cost.peak_memory or 0) > 1e6
    assert [metric.rankable for metric in record.metrics] == [False, True]
    assert {sample.arm for sample in record.samples} == {"masked LM", "causal LM"}
    assert record.windows
    for name in ("report.html", "results.json", "items.zip", "study.json"):
        assert (tmp_path / "studies/tiny" / name).is_file()

    files = [path for path in (tmp_path / "studies/tiny").rglob("*") if path.is_file() and path.name != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in files}
    capsys.readouterr()
    assert compare(command) == 0
    assert "nothing to do: 2 runs are over" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}
    (tmp_path / "studies/tiny/report.html").unlink()  # as after a crash while it was drawn
    with undrawn():
        assert compare(command) == 0
    assert (tmp_path / "studies/tiny/report.html").is_file()

    # What was trained at one budget is not taken for another.
    assert compare([*command, "--budget.raw_tokens", "3k"]) == 2
    assert "holds a run with other settings (budget.raw_tokens: 2000.0 -> 3000.0)" in capsys.readouterr().err

    # A seed more is one run more of each arm, and the report names the changed declaration.
    with undrawn():
        assert compare([*command, "--seeds", "[0, 1]"]) == 0
    after = record_of(tmp_path)
    assert [(run.arm, run.seed) for run in after.runs] == [
        (arm, seed) for seed in (0, 1) for arm in ("masked LM", "causal LM")
    ]
    assert numbers(after)[:2] == numbers(record)
    assert any(re.search(r"declaration was changed \(seeds\) .* after 2 runs had", text) for text in after.deviations)
    assert "2 seeds, where the protocol has at least 8." in after.deviations
    hashes = {seed: {run.windows_sha256 for run in after.runs if run.seed == seed} for seed in (0, 1)}
    assert all(len(found) == 1 and None not in found for found in hashes.values())
    assert hashes[0] != hashes[1]
    assert {(s.arm, s.metric, s.seeds) for s in after.summaries} == {
        (arm, metric, 2) for arm in ("masked LM", "causal LM") for metric in ("validation_loss", "continuation")
    }
    assert [(v.arm, v.against, v.seeds) for v in after.verdicts] == [("causal LM", "masked LM", 2)]


def test_a_run_that_diverges_is_named_and_the_others_go_on(
    compare: Compare, write_study: Callable[..., list[str]], tmp_path: Path
) -> None:
    config = str(ROOT / "configs/causal_lm.yaml")
    settings = {"learning_rate": "1000", "weight_decay": "1000", "schedule": "constant"}
    wild = {"config": config, "settings": {f"optimizer.{name}": value for name, value in settings.items()}}
    command = write_study(arms={"wild": wild, "causal": config}, seeds=[0], hypotheses=[], evaluations={})
    with undrawn():
        assert compare(command) == 1
    record = record_of(tmp_path)
    assert [(run.arm, run.status) for run in record.runs] == [("wild", "failed"), ("causal", "finished")]
    assert record.runs[0].reason == "exit status 3"
    assert [(summary.arm, summary.seeds) for summary in record.summaries] == [("causal", 1)]


def test_one_arm_under_two_labels_comes_to_the_same(
    compare: Compare, write_study: Callable[..., list[str]], tmp_path: Path
) -> None:
    config = str(ROOT / "configs/causal_lm.yaml")
    hypothesis = {"arm": "one", "against": "other", "metric": "validation_loss", "direction": "less"}
    command = write_study(arms={"one": config, "other": config}, seeds=[0], hypotheses=[hypothesis], evaluations={})
    with undrawn():
        assert compare(command) == 0
    record = record_of(tmp_path)
    one, other = (list(record.runs_of(label)) for label in ("one", "other"))
    assert [run.curve for run in one] == [run.curve for run in other]
    assert record.verdicts[0].estimate == 0.0
    assert record.verdicts[0].reason == "one and other have not left the plateau at the unigram entropy"


@pytest.mark.slow
def test_a_planted_effect_is_found(
    compare: Compare, write_study: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluation.outcome.is_on_plateau", lambda *_: False)  # where so short a run still rests
    config = str(ROOT / "configs/causal_lm.yaml")
    crippled = {"config": config, "settings": {"optimizer.learning_rate": "2e-5"}}
    hypotheses = [
        {"arm": "crippled", "against": "sound", "metric": "continuation", "direction": "greater"},
        {"arm": "crippled", "against": "sound", "metric": "validation_loss", "direction": "equivalent", "margin": 0.01},
    ]
    arms = {"sound": config, "crippled": crippled}
    command = write_study(arms=arms, seeds=[0, 1, 2, 3], budget={"raw_tokens": 4_000}, hypotheses=hypotheses)
    assert compare(command) == 0
    worse, equivalent = record_of(tmp_path).verdicts
    assert worse.outcome == "supported"
    assert worse.low is not None
    assert worse.low > 0
    assert equivalent.outcome == "contradicted"


@pytest.mark.slow
def test_every_arm_is_tuned_on_seeds_of_its_own_and_branches_off_to_smaller_budgets(
    compare: Compare, write_study: Callable[..., list[str]], tmp_path: Path
) -> None:
    wsd = {"optimizer.schedule": "wsd", "optimizer.warmup": "1", "optimizer.decay": "0.5"}
    config = str(ROOT / "configs/causal_lm.yaml")
    command = write_study(
        wsd,
        arms={"causal": config, "wide": {"config": config, "settings": {"body.width": 64}}},
        hypotheses=[],
        evaluations={},
        learning_rates=[1e-5, 1e-4, 1e-3],
        tuning_seeds=[7],
        tuning_share=0.5,
        branches=[1_000],
    )
    assert compare(command) == 0
    record = record_of(tmp_path)
    assert len(record.tuning) == 6
    assert {run.seed for run in record.tuning} == {7}
    for arm in record.arms:
        losses = {run.learning_rate: run.loss for run in record.tuning if run.arm == arm.label}
        assert arm.learning_rate == min(losses, key=lambda rate: losses[rate] or 0.0)
        assert arm.learning_rate == 1e-3
        assert f"The best learning rate of {arm.label}, 0.001, lies at the edge of those tried." in record.deviations
    assert [(run.arm, run.budget) for run in record.runs if run.seed == 1] == [
        *(("causal", None), ("wide", None)),
        *(("causal", 1_000.0), ("wide", 1_000.0)),
    ]
    for branch in (run for run in record.runs if run.budget):
        whole = next(run for run in record.runs_of(branch.arm) if run.seed == branch.seed)
        assert branch.curve[-1].raw_tokens < 1_300 < 2_000 <= whole.curve[-1].raw_tokens
        assert branch.curve[-1].loss != whole.curve[-1].loss
    assert {(s.arm, s.budget, s.seeds) for s in record.summaries} == {
        (arm, budget, 2) for arm in ("causal", "wide") for budget in (None, 1_000.0)
    }


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"evaluations": {"continuatio": {}}}, "needs the metric 'continuation', which no evaluation"),
        ({"evaluations": {"blimp": {}}, "hypotheses": []}, "'blimp' is no evaluation; they are continuation"),
        ({"evaluations": {"continuation": {"pasages": 4}}}, "did you mean 'continuation.passages'?"),
        (
            {"evaluations": {"minimal_pairs": {"files": ["/nowhere"]}}, "hypotheses": []},
            "no pairs (.jsonl, .json, .csv, .tsv, .parquet, or Zorro's .txt) at '/nowhere'",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(
    compare: Compare,
    write_study: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, Any],
    expected: str,
) -> None:
    assert compare(write_study(**changed)) == 2
    printed = capsys.readouterr().err
    assert expected in printed
    assert len(printed.strip().splitlines()) == 1
    assert not (tmp_path / "studies/tiny/runs").exists()


def last_scores(runs: Sequence[RunRecord]) -> dict[tuple[str, int], Any]:
    return {(run.arm, run.seed): run.scores for run in runs}


@pytest.mark.slow
def test_a_study_killed_in_the_middle_comes_to_identical_numbers(
    write_study: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Processes as a user has them: the first call is killed with SIGKILL while its second run trains."""
    command = write_study({"checkpoints.every_steps": "1"}, budget={"raw_tokens": 6_000})
    assert run_script("compare.py", *command).returncode == 0
    reference = record_of(tmp_path)
    shutil.rmtree(tmp_path / "studies")

    process = subprocess.Popen(
        [sys.executable, str(ROOT / "compare.py"), *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    second = tmp_path / "studies/tiny/runs/causal-LM-s0"
    while not list(second.glob("checkpoints/step-*")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # its run goes on, and the next call waits for it
    process.wait()
    again = run_script("compare.py", *command)
    assert again.returncode == 0, again.stderr
    record = record_of(tmp_path)
    assert numbers(record) == numbers(reference)

    started = time.monotonic()
    third = run_script("compare.py", *command)
    assert "nothing to do: 4 runs are over" in third.stdout
    assert time.monotonic() - started < 60  # what is meant is 15 s of an idle machine
    assert json.loads((tmp_path / "studies/tiny/study.json").read_text(encoding="utf-8"))[0]["finished_runs"] == 0
