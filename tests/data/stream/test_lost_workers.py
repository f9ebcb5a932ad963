"""A process that prepares batches and is killed or stopped is named, and ends nothing in a wait without end."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from torch.utils.data import Dataset

from common.errors import MachineError
from data.stream import workers
from data.stream.loader import StepLoader
from training.script.endings import MACHINE, ending_of


class Numbers(Dataset[int]):
    """Its own positions; one of them takes a while."""

    def __init__(self, slow: int | None = None) -> None:
        self.slow = slow

    def __getitem__(self, position: int) -> int:
        if position == self.slow:
            time.sleep(1.2)
        return position


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.5)
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)


def loader_of(numbers: Numbers) -> StepLoader:
    steps = [[position] for position in range(200)]
    return StepLoader(numbers, steps, lambda items: items, length=200, num_workers=1)


def send_to_its_worker(number: int) -> None:
    """Sends a signal to the one child of this process that prepares batches."""
    import multiprocessing

    (worker,) = multiprocessing.active_children()
    assert worker.pid
    os.kill(worker.pid, number)


def test_a_slow_worker_is_waited_for() -> None:
    assert list(loader_of(Numbers(slow=3)))[:5] == [0, 1, 2, 3, 4]


class Groups(Numbers):
    """The process group of whatever prepares them."""

    def __getitem__(self, position: int) -> int:
        return os.getpgrp()


def test_a_signal_to_the_group_of_a_run_does_not_reach_its_workers() -> None:
    """As `timeout` and some schedulers send SIGTERM: with its workers gone the run could not end its step."""
    assert next(iter(loader_of(Groups()))) != os.getpgrp()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_goes_on_after_a_signal_that_stops_its_run(number: signal.Signals) -> None:
    """As schedulers send SIGTERM to every process of a job: the step that the run ends with needs its batches."""
    batches: Any = iter(loader_of(Numbers(slow=5)))
    assert next(batches) == 0
    send_to_its_worker(number)
    assert list(batches) == [*range(1, 200)]


def test_a_second_signal_ends_a_worker() -> None:
    batches: Any = iter(loader_of(Numbers(slow=20)))
    assert next(batches) == 0
    send_to_its_worker(signal.SIGTERM)
    assert [next(batches) for _ in range(6)] == [*range(1, 7)]  # some are made behind it: a pending one would be lost
    send_to_its_worker(signal.SIGTERM)
    with pytest.raises((MachineError, RuntimeError)):
        list(batches)


@pytest.mark.parametrize(("number", "named"), [(signal.SIGSTOP, "stopped"), (signal.SIGKILL, "killed|lost")])
def test_a_worker_that_is_stopped_or_killed_is_named(number: int, named: str) -> None:
    batches: Any = iter(loader_of(Numbers(slow=20)))
    assert next(batches) == 0
    send_to_its_worker(number)
    with pytest.raises((MachineError, RuntimeError)) as lost:
        list(batches)
    ending = ending_of(lost.value)
    assert ending is not None
    assert ending.status == MACHINE
    assert any(word in ending.line for word in named.split("|")), ending.line


def test_a_worker_that_sends_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(workers, "MOST_WAITS", 3)
    with pytest.raises(MachineError, match="has sent nothing for"):
        list(loader_of(Numbers(slow=0)))


def test_other_errors_stay_what_they_are() -> None:
    assert workers.lost_worker(RuntimeError("CUDA error")) is None
