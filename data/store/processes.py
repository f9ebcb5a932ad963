"""Work on the pieces of a text in other processes, with its results in their order, as if it were done here."""

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any, BinaryIO, TypeVar

from common.errors import MachineError, UserError
from common.processors import quota, usable
from common.repository import REPOSITORY

FEW = 8  # pieces: up to so many are worked on here, and are done about as soon as others would have begun
Piece = TypeVar("Piece")
Result = TypeVar("Result")


def processors() -> int:
    """How many processors this process may use."""
    limit = quota()
    return max(min(len(usable()), len(usable()) if limit is None else int(limit)), 1)


class _Process:
    """Another process, which holds the work and is given one piece at a time.

    It runs this module and imports nothing but what the work needs, so that it is there within half a second.
    """

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},  # there is a process for each processor
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.pieces, self.results = self.process.stdin, self.process.stdout
        self._send(work)

    def _send(self, item: Any) -> None:
        pickle.dump(item, self.pieces, protocol=pickle.HIGHEST_PROTOCOL)
        self.pieces.flush()

    def __call__(self, piece: Any) -> Any:
        """The result of a piece.

        Raises:
            MachineError: where the process was killed.
            Exception: what the work raised.
        """
        try:
            self._send(piece)
            result, error = pickle.load(self.results)
        except (OSError, EOFError, pickle.UnpicklingError):
            pid, status = self.process.pid, self.process.wait()
            raise MachineError(
                f"a process that reads text (pid {pid}) was killed (status {status}), perhaps because memory ran out"
            ) from None
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        self.process.wait()
        self.results.close()
        with suppress(BrokenPipeError):  # of a piece that it did not take
            self.pieces.close()


def _elsewhere(work: Callable[[Piece], Result], pieces: Iterable[Piece], count: int) -> Generator[Result, None, None]:
    """What `in_order` gives, of so many other processes; two pieces for each are on their way at a time."""
    idle: SimpleQueue[_Process] = SimpleQueue()

    def work_on(piece: Piece) -> Result:
        process = idle.get()
        try:
            return process(piece)
        finally:
            idle.put(process)

    processes: list[_Process] = []
    pending: deque[Future[Result]] = deque()
    threads = ThreadPoolExecutor(count)
    try:
        for _ in range(count):
            processes.append(_Process(work))
            idle.put(processes[-1])
        for piece in pieces:
            pending.append(threads.submit(work_on, piece))
            if len(pending) > 2 * count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for process in processes:
            process.process.kill()  # a thread that waits for it goes on
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.end()


def in_order(
    work: Callable[[Piece], Result], pieces: Iterable[Piece], processes: int | None = None
) -> Iterator[Result]:
    """The results of pieces, in their order, whatever the number of processes.

    Args:
        work: a function of a module, or an object, that can be pickled; an object may keep what it learns of one piece
            for the next, as long as the results stay the same.
        pieces: taken as they are needed, but for the first few; they and their results can be pickled.
        processes: by default one for each processor that may be used. With one, or where pieces are few, there is none
            but this.

    Raises:
        MachineError: where a process was killed.
        Exception: what the work raised.
    """
    pieces = iter(pieces)
    count = processors() if processes is None else processes
    first = list(islice(pieces, FEW + 1)) if count > 1 else []
    is_little = len(first) <= FEW
    pieces = chain(first, pieces)
    del first  # which would be held to the end
    if is_little:
        yield from map(work, pieces)
        return
    with closing(_elsewhere(work, pieces, count)) as results:
        yield from results


def _sendable(error: Exception) -> Exception:
    """The error as it is, or where it cannot be sent, one of the same text; a mistake of ours with its traceback."""
    where = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its constructor raises
        error = RuntimeError(repr(error))
    if not isinstance(error, UserError | OSError | MemoryError):
        error.add_note(f"in a process that reads text:\n{where}")
    return error


def _serve(pieces: BinaryIO, results: BinaryIO) -> None:
    """Answers each piece with its result until there are no more."""
    work = pickle.load(pieces)
    while True:
        try:
            piece = pickle.load(pieces)
        except EOFError:
            return
        try:
            answer = work(piece), None
        except Exception as error:
            answer = None, _sendable(error)
        pickle.dump(answer, results, protocol=pickle.HIGHEST_PROTOCOL)
        results.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who waits for the results ends this process
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no result
        try:
            _serve(sys.stdin.buffer, answers)
        except BrokenPipeError:
            os._exit(0)
