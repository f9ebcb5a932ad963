"""Signals that are answered at once, by a thread: Python's own handlers wait until torch has computed what it is at."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

# A process that is forked would write what it receives to the watch of its parent.
os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


class SignalWatch:
    """Calls back for every signal of some kinds, in this process alone, from a thread.

    Args:
        numbers: of the signals; what they did before is restored by `stop`. One that is ignored stays so.
        received: called with the number of each, at once, from a thread.
        handled: called with it between two steps of the main thread, as any handler.
    """

    def __init__(
        self, numbers: Iterable[int], received: Callable[[int], None], handled: Callable[[int], None] = lambda _: None
    ) -> None:
        self.numbers, self.received, self.handled = tuple(numbers), received, handled
        self._before: dict[int, Any] = {}

    def _listen(self, reader: socket.socket) -> None:
        with reader:
            while sent := reader.recv(1):
                if sent[0] in self.numbers:
                    self.received(sent[0])

    def start(self) -> None:
        """Takes the signals; nothing is done in a thread other than the main one, where no handler can be set."""
        if threading.current_thread() is not threading.main_thread():
            return
        owner = os.getpid()

        def handle(number: int, frame: FrameType | None) -> None:
            if os.getpid() == owner:
                self.handled(number)
            else:  # a child has no thread that listens
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        taken = [number for number in self.numbers if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup has it
        self._before = {number: signal.signal(number, handle) for number in taken}
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, args=(reader,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leaves the signals to what had them before, once those that came are answered."""
        if not self._before:
            return
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        self._writer.shutdown(socket.SHUT_WR)  # to close it is no end where a process that was forked has it too
        self._writer.close()
        self._thread.join()
