"""Runs are trained each in its own process: failures stop no other, and signals reach all."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from evaluation.execution import scheduler as running
from evaluation.execution.jobs import Job, StudyDir
from evaluation.execution.scheduler import Scheduler, train_all, worker_environments
from training.step.stops import Interrupted

# What train.py does as a study sees it, in milliseconds: the name of a run says what becomes of it.
TRAIN = """
import json, os, pathlib, signal, sys, time
given = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
name, folder = given["name"], pathlib.Path(given["runs"]) / given["name"]
(folder / "began").write_text(json.dumps({key: os.environ.get(key) for key in ("CUDA_VISIBLE_DEVICES", "NOTE")}))
if name.startswith("wrong"):
    sys.exit("train.py: error: there is no such corpus")
if name.startswith("diverges"):
    print("step 7: loss nan"); sys.exit(3)
if name.startswith("killed"):
    os.kill(os.getpid(), signal.SIGKILL)
if name.startswith("long") and not (folder / "saved").exists():
    def stop(number, frame):
        (folder / "saved").write_text("")
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, stop); signal.signal(signal.SIGINT, stop)
    (folder / "ready").write_text("")
    time.sleep(60)
(folder / "summary.json").write_text(json.dumps({"steps": 1}))
"""


@pytest.fixture
def study_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyDir:
    """A study whose runs are trained by the script above."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN, encoding="utf-8")
    monkeypatch.setattr(running, "TRAIN", script)
    monkeypatch.setattr(running, "SECONDS_BETWEEN_LOOKS", 0.02)
    return StudyDir(folder=tmp_path / "study")


def job(study_dir: StudyDir, name: str) -> Job:
    arguments = (f"--name={name}", f"--runs={study_dir.folder / 'runs'}")
    return Job(study_dir=study_dir, under="runs", name=name, arm=name, seed=0, measure="raw_tokens", amount=1,
               total_steps=1, arguments=arguments)  # fmt: skip


def outcomes(jobs: list[Job]) -> dict[str, tuple[str, str]]:
    return {job.name: job.outcome() for job in jobs}


def test_a_run_that_fails_stops_no_other_and_its_reason_is_kept(study_dir: StudyDir) -> None:
    jobs = [job(study_dir, name) for name in ("wrong", "diverges", "killed", "right")]
    assert job(study_dir, "right").outcome() == ("unfinished", "not begun")
    ended: list[str] = []
    train_all(jobs, [{}], ended=lambda job: ended.append(job.name))
    assert ended == ["wrong", "diverges", "killed", "right"]
    assert outcomes(jobs) == {
        "wrong": ("unfinished", "there is no such corpus"),
        "diverges": ("failed", "step 7: loss nan"),
        "killed": ("unfinished", "ended by SIGKILL"),
        "right": ("finished", ""),
    }


def test_what_is_over_is_not_repeated_and_what_failed_otherwise_is_tried_again(study_dir: StudyDir) -> None:
    jobs = [job(study_dir, name) for name in ("wrong", "diverges", "right")]
    train_all(jobs, [{}])
    began = {run.name: (run.run.path / "began").stat().st_mtime_ns for run in jobs}
    running.TRAIN.write_text(TRAIN.replace('startswith("wrong")', 'startswith("never")'), encoding="utf-8")
    train_all(jobs, [{}])
    again = {run.name for run in jobs if (run.run.path / "began").stat().st_mtime_ns != began[run.name]}
    assert again == {"wrong"}
    assert outcomes(jobs)["wrong"] == ("finished", "")


def test_every_place_has_one_run_at_a_time_and_its_own_environment(study_dir: StudyDir) -> None:
    jobs = [job(study_dir, f"right-{number}") for number in range(5)]
    most = 0

    def show(scheduler: Scheduler) -> None:
        nonlocal most
        most = max(most, len(scheduler.training))

    train_all(jobs, [{"NOTE": "a"}, {"NOTE": "b"}], show=show)
    notes = {json.loads((run.run.path / "began").read_text(encoding="utf-8"))["NOTE"] for run in jobs}
    assert notes == {"a", "b"}
    assert most == 2
    assert all(run.is_over() for run in jobs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_has_every_run_save_and_the_same_call_goes_on(study_dir: StudyDir, number: signal.Signals) -> None:
    jobs = [job(study_dir, name) for name in ("long-1", "long-2", "right")]

    def once_both_train() -> None:
        while not all((run.run.path / "ready").exists() for run in jobs[:2]):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=once_both_train, daemon=True).start()
    with pytest.raises(Interrupted, match=f"{number.name}: stopped at .*; the same command goes on") as stopped:
        train_all(jobs, [{}, {}])
    assert stopped.value.exit_status == 128 + number
    assert signal.getsignal(number) is before
    assert all((run.run.path / "saved").exists() for run in jobs[:2])
    assert [run.outcome()[0] for run in jobs] == ["unfinished"] * 3
    train_all(jobs, [{}, {}])
    assert [run.outcome()[0] for run in jobs] == ["finished"] * 3


def test_a_run_that_a_killed_call_left_training_is_waited_for(study_dir: StudyDir) -> None:
    orphan = job(study_dir, "right")
    orphan.run.path.mkdir(parents=True)
    lock = FileLock(orphan.run.path / ".lock", thread_local=False)
    lock.acquire()
    looks = 0

    def show(scheduler: Scheduler) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:  # the other process comes to its end
            (orphan.run.path / "summary.json").write_text('{"steps": 1}', encoding="utf-8")
            lock.release()

    train_all([orphan], [{}], show=show)
    assert orphan.outcome() == ("finished", "")
    assert not (orphan.run.path / "began").exists()


def test_a_run_whose_other_process_was_stopped_is_taken_up_by_this_one(study_dir: StudyDir) -> None:
    orphan = job(study_dir, "right")
    orphan.run.path.mkdir(parents=True)
    lock = FileLock(orphan.run.path / ".lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    train_all([orphan], [{}])
    assert orphan.outcome() == ("finished", "")
    assert (orphan.run.path / "began").exists()


@pytest.mark.parametrize(
    ("visible", "parallel", "devices", "expected"),
    [
        ("0,1,2,3", None, 1, ["0", "1", "2", "3"]),
        ("0,1,2,3", None, 2, ["0,1", "2,3"]),
        ("4,7", 3, 1, ["4", "7", "4"]),
        ("0,1,2", None, 2, ["0,1"]),
    ],
)
def test_runs_are_spread_over_the_gpus(
    monkeypatch: pytest.MonkeyPatch, visible: str, parallel: int | None, devices: int, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in worker_environments(parallel, devices=devices)] == expected


def test_runs_share_the_cores_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("evaluation.execution.scheduler.free_threads", lambda: 8)
    assert worker_environments(None, devices=1) == [{"OBJECTIVE_LAB_THREADS": "8"}]
    assert worker_environments(4, devices=1) == [{"OBJECTIVE_LAB_THREADS": "2"}] * 4
    assert worker_environments(9, devices=1) == [{"OBJECTIVE_LAB_THREADS": "1"}] * 9
