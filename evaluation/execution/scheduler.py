"""Trains the runs of a study, each in a process of its own, as many at once as there are environments for them."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

import torch

from common.repository import REPOSITORY
from evaluation.execution.jobs import Job
from training.machine.lock import wait_until_free
from training.machine.threads import OF_STUDY, free_threads
from training.monitoring.callbacks import REQUEST_OF_SIGNAL
from training.step.stops import Interrupted

TRAIN = REPOSITORY / "train.py"
SECONDS_BETWEEN_LOOKS = 0.5


def worker_environments(parallel: int | None, *, devices: int) -> list[dict[str, str]]:
    """The environment of each run that goes on at once, with `devices` GPUs of its own where there are GPUs.

    By default as many as there are GPUs for, or one on a CPU; more than that share GPUs. All share the processors that
    are free, a share that is decided once for the study; a run that goes on keeps its number of threads.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",") if named else list(map(str, range(torch.cuda.device_count())))
    groups = [",".join(gpus[start : start + devices]) for start in range(0, len(gpus) - devices + 1, devices)]
    number = parallel or max(len(groups), 1)
    share = {OF_STUDY: str(max(free_threads() // number, 1))}
    return [
        {**share, **({"CUDA_VISIBLE_DEVICES": groups[worker % len(groups)]} if groups else {})}
        for worker in range(number)
    ]


def last_line(printed: str) -> str:
    """The last line of what a process of one of the scripts printed."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return re.sub(r"^\w+\.py: error: ", "", lines[-1]) if lines else "it printed nothing"


def printed_in(log: Path) -> str:
    """What processes printed into a file."""
    return log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def passing_signals_on(pass_on: Callable[[signal.Signals], None]) -> Iterator[list[signal.Signals]]:
    """SIGTERM, SIGHUP and Ctrl-C have the processes of runs save and stop; a second one, to stop at once.

    Args:
        pass_on: is called with what a run is to be sent.

    Yields:
        The signals that this process has received.
    """
    received: list[signal.Signals] = []

    def pass_it_on(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        pass_on(signal.SIGTERM if number == signal.SIGHUP else signal.Signals(number))  # a terminal sends it to all

    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield received
        return
    before: dict[signal.Signals, Any] = {
        number: signal.signal(number, pass_it_on)
        for number in REQUEST_OF_SIGNAL
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup has it
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Scheduler:
    """Runs side by side, each in a process of its own that a thread waits for.

    Args:
        jobs: in the order in which they begin.
        environments: of the processes that run at once.
    """

    def __init__(self, jobs: Sequence[Job], environments: Sequence[dict[str, str]]) -> None:
        self.jobs, self.environments = jobs, environments
        self._futures: dict[Future[bool], Job] = {}
        self._free: SimpleQueue[dict[str, str]] = SimpleQueue()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._starting = threading.Lock()  # held while a process starts, so that no signal misses it
        self._is_stopping = False
        for environment in environments:
            self._free.put(environment)

    @property
    def training(self) -> list[Job]:
        return [job for future, job in self._futures.items() if future.running()]

    @property
    def waiting(self) -> list[Job]:
        return [job for future, job in self._futures.items() if not (future.running() or future.done())]

    def _stop(self, number: signal.Signals) -> None:
        """Has every run save its step and end, and begins nothing more."""
        self._is_stopping = True
        with self._starting:
            for process in self._processes:
                process.send_signal(number)

    def _is_free(self, job: Job) -> bool:
        """Waits for the process that an earlier call of this study left training it; False where a stop comes first."""
        return wait_until_free(job.run.path, stops=lambda: self._is_stopping, seconds=SECONDS_BETWEEN_LOOKS)

    def _run(self, job: Job, environment: dict[str, str]) -> bool:
        """Trains a run to its end, and notes why it failed; False where a stop comes before it begins."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with self._starting, job.log.open("ab") as log:
            if self._is_stopping:
                return False
            job.forget_failure()
            process = subprocess.Popen(
                [sys.executable, str(TRAIN), *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C on the terminal is for the study, which passes it on once
            )
            self._processes.add(process)
        status = process.wait()
        with self._starting:
            self._processes.remove(process)
        if job.summary() is None:
            number = -status if status < 0 else status - 128
            is_signal = number in set(signal.Signals)
            job.note_failure(
                status, f"ended by {signal.Signals(number).name}" if is_signal else last_line(printed_in(job.log))
            )
        return True

    def _train(self, job: Job) -> bool:
        """In a thread: False where the run was left to another process, or to another call."""
        environment = self._free.get()
        try:
            return self._is_free(job) and (job.is_over() or self._run(job, environment))
        finally:
            self._free.put(environment)

    def work(self, show: Callable[["Scheduler"], None], ended: Callable[[Job], None]) -> None:
        """Trains all of them.

        Args:
            show: called at every look.
            ended: called for every run that has ended, whatever became of it.

        Raises:
            Interrupted: by a signal, once every run has saved its step and ended.
        """
        with passing_signals_on(self._stop) as received, ThreadPoolExecutor(len(self.environments)) as pool:
            try:
                self._futures = {pool.submit(self._train, job): job for job in self.jobs}
                ahead = dict(self._futures)
                while ahead:
                    show(self)
                    done, _ = wait(ahead, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                    for future in [future for future in ahead if future in done]:
                        job = ahead.pop(future)
                        if future.result():
                            ended(job)
            finally:
                self._is_stopping = True  # what waits does not begin where this thread failed
        if received:
            raise Interrupted(received[0], "the last step of every run")


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
    Scheduler([job for job in jobs if not job.is_over()], environments).work(show, ended)
