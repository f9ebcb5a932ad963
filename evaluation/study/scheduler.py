"""Trains the runs of a study, each in a process of its own, as many at once as there are places for them."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

import torch
from filelock import FileLock, Timeout

from evaluation.study.jobs import Job
from training.monitoring.callbacks import REQUEST_OF_SIGNAL
from training.step.stops import Interrupted
from training.storage.run_dir import REPOSITORY

TRAIN = REPOSITORY / "train.py"
SECONDS_BETWEEN_LOOKS = 0.5


def worker_environments(parallel: int | None, *, devices: int) -> list[dict[str, str]]:
    """The environment of each run that goes on at once, with `devices` GPUs of its own where there are GPUs.

    By default as many as there are GPUs for, or one on a CPU; more than that share GPUs, or the cores of the CPU.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",") if named else list(map(str, range(torch.cuda.device_count())))
    groups = [",".join(gpus[start : start + devices]) for start in range(0, len(gpus) - devices + 1, devices)]
    number = parallel or max(len(groups), 1)
    if groups:
        return [{"CUDA_VISIBLE_DEVICES": groups[slot % len(groups)]} for slot in range(number)]
    threads = max((os.cpu_count() or 1) // number, 1)
    return [{"OMP_NUM_THREADS": str(threads)} if number > 1 else {} for _ in range(number)]


def last_line(log: Path) -> str:
    """What a process of one of the scripts said last."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return re.sub(r"^\w+\.py: error: ", "", lines[-1]) if lines else "it said nothing"


@contextmanager
def passing_signals_on(pass_on: Callable[[signal.Signals], None]) -> Iterator[list[signal.Signals]]:
    """SIGTERM, SIGHUP and Ctrl-C ask the processes of runs to save and to stop; a second one, to stop at once.

    Args:
        pass_on: is told what a run is to be sent.

    Yields:
        The signals that this process has received.
    """
    asked: list[signal.Signals] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(signal.Signals(number))
        pass_on(signal.Signals(number) if number in REQUEST_OF_SIGNAL else signal.SIGTERM)  # a run knows two of them

    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield asked
        return
    before: dict[signal.Signals, Any] = {
        number: signal.signal(number, ask) for number in (*REQUEST_OF_SIGNAL, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Worker:
    """A place where one run is trained at a time, with the environment that its process has."""

    environment: dict[str, str]
    job: Job | None = None
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None
    taken_by_another: FileLock | None = None  # the run's folder, where a process of an earlier call still trains it

    def begin(self, job: Job) -> None:
        """Takes a run up, or waits for the process that an earlier call of this study left training it."""
        self.job = job
        job.run.path.mkdir(parents=True, exist_ok=True)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(job.run.path / ".lock")
        try:
            lock.acquire(timeout=0)
            lock.release()
        except Timeout:
            self.taken_by_another = lock
            return
        self._start()

    def _start(self) -> None:
        assert self.job is not None
        self.job.forget_failure()
        self.log = self.job.log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, str(TRAIN), *self.job.arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment},
            start_new_session=True,  # Ctrl-C on the terminal is for the study, which passes it on once
        )

    def look(self) -> Job | None:
        """The run, where it has ended since the last look; its failure is then noted."""
        if self.job is None:
            return None
        if self.taken_by_another is not None:
            try:
                self.taken_by_another.acquire(timeout=0)
            except Timeout:
                return None
            self.taken_by_another.release()
            self.taken_by_another = None
            if not self.job.is_over():
                self._start()
                return None
        elif self.process is None or self.process.poll() is None:
            return None
        job, status = self.job, self.process.returncode if self.process is not None else 0
        if self.log is not None:
            self.log.close()
        self.job = self.process = self.log = None
        if job.run.read_summary() is None:
            number = -status if status < 0 else status - 128
            is_signal = number in set(signal.Signals)
            reason = f"ended by {signal.Signals(number).name}" if is_signal else last_line(job.log)
            job.note_failure(status, reason)
        return job

    def request_stop(self, number: signal.Signals) -> None:
        """Passes a signal on; the run saves its step and ends."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


@dataclass
class Scheduler:
    """The runs that wait, and the places where runs are trained."""

    waiting: list[Job]
    places: list[Worker]

    @property
    def training(self) -> list[Job]:
        return [place.job for place in self.places if place.job is not None]

    def _stop(self, number: signal.Signals) -> None:
        """Begins nothing more."""
        self.waiting = []
        for place in self.places:
            place.request_stop(number)

    def work(self, show: Callable[["Scheduler"], None], ended: Callable[[Job], None]) -> None:
        """Trains until nothing waits.

        Args:
            show: called at every look.
            ended: called for every run that has ended, whatever became of it.

        Raises:
            Interrupted: by a signal, once every run has saved its step and ended.
        """
        with passing_signals_on(self._stop) as asked:
            while self.waiting or self.training:
                for place in self.places:
                    if (job := place.look()) is not None:
                        ended(job)
                    if place.job is None and self.waiting:
                        place.begin(self.waiting.pop(0))
                if asked and not any(place.process for place in self.places):
                    break  # what another call trains goes on
                show(self)
                time.sleep(SECONDS_BETWEEN_LOOKS)
        if asked:
            raise Interrupted(asked[0], "the last step of every run")


def train_all(
    jobs: Sequence[Job],
    environments: Sequence[dict[str, str]],
    *,
    show: Callable[[Scheduler], None] = lambda scheduler: None,
    ended: Callable[[Job], None] = lambda job: None,
) -> None:
    """Trains what is not over of `jobs`; one that fails stops no other.

    Raises:
        Interrupted: by a signal.
    """
    Scheduler([job for job in jobs if not job.is_over()], [Worker(environment) for environment in environments]).work(
        show, ended
    )
