"""What a person sees of a study: a table that lives on a terminal, lines elsewhere, and a plan in numbers."""

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from evaluation.execution.jobs import Job, StudyDir
from evaluation.execution.progress import ProgressTable
from evaluation.execution.runner import estimate, jobs_of, print_plan
from evaluation.execution.scheduler import Scheduler
from tests.evaluation.execution.test_jobs import RATES, fail, finish, plan_of, study_of
from training.step.stops import Diverged


def log(job: Job, step: int) -> None:
    """What a run has logged by that step."""
    job.run.path.mkdir(parents=True, exist_ok=True)
    text = f"step,raw_tokens,speed/raw_tokens_per_second,validation/loss\n{step},{100 * step},2500,4.321\n"
    job.run.metrics.write_text(text, encoding="utf-8")


def scheduler(training: list[Job], waiting: list[Job]) -> Scheduler:
    return cast(Scheduler, SimpleNamespace(training=training, waiting=waiting))


def shown(study_dir: StudyDir, *, is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """A study in which one run is over, one has diverged, one is in training, and one waits."""
    monkeypatch.setattr("evaluation.execution.progress.SECONDS_BETWEEN_READINGS", 0.0)
    study = study_of()
    jobs = jobs_of(study, plan_of(study), study_dir).runs
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=120, height=20, highlight=False, color_system=None)
    with ProgressTable(console, jobs) as progress:
        for step in (2, 4):
            log(jobs[2], step)
            progress.show(scheduler([jobs[2]], [jobs[3]]))
        finish(jobs[0], 3.0)
        (jobs[0].run.path / "summary.json").write_text(
            '{"steps": 10, "raw_tokens": 1000, "seconds": 65.0}', encoding="utf-8"
        )
        fail(jobs[1], Diverged.exit_status)
        progress.ended(jobs[0])
        progress.ended(jobs[1])
        progress.show(scheduler([jobs[2]], [jobs[3]]))
    return file.getvalue()


def test_a_terminal_shows_how_far_every_run_has_come(study_dir: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    last = shown(study_dir, is_terminal=True, monkeypatch=monkeypatch).rpartition("run ")[2]
    rows = {line.split()[0]: line for line in last.splitlines() if line.strip()}
    assert rows["a-b-s0"].split()[1] == "finished"
    assert rows["c-s0"].split()[1] == "failed"
    assert rows["a-b-s1"].split()[1] == "training"
    assert "2.5k/s" in rows["a-b-s1"]
    assert "4.321" in rows["a-b-s1"]
    assert "400" in rows["a-b-s1"]
    assert rows["c-s1"].split()[1] == "waits"
    assert "2 of 4 runs are over. Losses of different objectives are not comparable." in last


def test_elsewhere_a_line_says_that_a_run_begins_and_what_became_of_it(
    study_dir: StudyDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(study_dir, is_terminal=False, monkeypatch=monkeypatch).splitlines()
    assert lines == [
        "a-b-s1 begins; 1 more wait",
        "a-b-s0 finished: 1k raw tokens in 1:05",
        f"c-s0 failed: loss nan (see {study_dir.folder / 'logs/runs-c-s0.log'})",
    ]


def test_more_runs_than_lines_are_shown_around_those_in_training(study_dir: StudyDir) -> None:
    study = study_of(seeds=tuple(range(30)))
    jobs = jobs_of(study, plan_of(study), study_dir).runs
    progress = ProgressTable(Console(file=io.StringIO(), width=120, height=16), jobs)
    for number in (0, 29, 59):
        seen = progress._in_sight({jobs[number].name})
        assert len(seen) == 10
        assert jobs[number] in seen


def lines_of(study: Any, study_dir: StudyDir) -> str:
    file = io.StringIO()
    plan = plan_of(study)
    print_plan(Console(file=file, width=120, highlight=False), study, plan, jobs_of(study, plan, study_dir), at_once=1)
    return file.getvalue()


def test_a_plan_says_what_is_left_to_do_and_what_its_times_follow_from(study_dir: StudyDir) -> None:
    study = study_of(learning_rates=RATES, tuning_seeds=(9,), tuning_share=0.5)
    printed = lines_of(study, study_dir)
    assert "2 arms x 2 seeds, 1k raw_tokens each, on embedded: 1k tokens of 480 ids, windows of 32" in printed
    assert "3 runs an arm are of the sweep over 3 learning rates, each of 50% of the budget" in printed
    assert "times are a first guess, from 30% of this device's peak of" in printed
    row = next(line.split() for line in printed.splitlines() if line.startswith("c "))
    assert row[-1] == "5"  # three of the sweep and two seeds


def test_times_are_those_of_the_studys_own_runs_as_soon_as_there_are_some(study_dir: StudyDir) -> None:
    study = study_of()
    plan = plan_of(study)
    done = jobs_of(study, plan, study_dir).runs[0]
    done.run.path.mkdir(parents=True)
    done.run.write_summary({"steps": 10, "seconds": 40.0, "flops": 5e6})
    seconds, source = estimate(study, plan, jobs_of(study, plan, study_dir))
    assert seconds == {"a b": pytest.approx(80.0), "c": pytest.approx(80.0)}  # of 1e7 FLOPs
    assert source == "times are estimated from this study's finished runs"
