"""Processes that prepare batches, waited for within a limit: one that was killed or stopped is named."""

import re
import signal
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from common.errors import MachineError

WAIT_SECONDS = 20.0  # between two looks at processes that have sent nothing
MOST_WAITS = 15  # looks after which even a process that runs is given up
_LOST = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\)")
_REMEDY = "the same command goes on from the newest checkpoint; with data.workers 0 there are no such processes"


def lost_worker(error: RuntimeError) -> MachineError | None:
    """The machine's error of what torch raises where a process that prepares batches has ended; None for others."""
    found = _LOST.search(str(error))
    if found is None:
        return None
    why = "perhaps because memory ran out" if "Killed" in str(error) else "unexpectedly"
    return MachineError(f"a process that prepares batches (pid {found['pids']}) was killed, {why}; {_REMEDY}")


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal; False where the system has no such record."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] in ("T", "t")


def _end(workers: list[Any]) -> None:
    """Kills processes, of which a stopped one heeds no other signal, and Python would wait for it for ever."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises where one ends
    for worker in workers:
        worker.kill()
        worker.join()


def next_of(batches: Iterator[Any]) -> Any:
    """The next item of a DataLoader's iterator; None behind the last.

    A whole process that was suspended and woken finds its workers again at the next look.

    Raises:
        MachineError: where a process that prepares batches was killed, is stopped, or sends nothing within
            WAIT_SECONDS x MOST_WAITS.
    """
    for wait in count(1):
        try:
            return next(batches, None)
        except RuntimeError as error:
            if "DataLoader timed out" not in str(error):
                raise lost_worker(error) or error from None
        workers: list[Any] = batches._workers  # pyright: ignore[reportAttributeAccessIssue]
        stopped = [worker for worker in workers if is_stopped(worker.pid)]
        if wait < 2 or (not stopped and wait < MOST_WAITS):
            continue
        pids = ", ".join(str(worker.pid) for worker in stopped or workers)
        what = "was stopped by a signal" if stopped else f"has sent nothing for {WAIT_SECONDS * wait:.0f} s"
        _end(workers)
        raise MachineError(f"a process that prepares batches (pid {pids}) {what}; {_REMEDY}")
    raise AssertionError
