"""The ends that every script has: a user's mistake and a machine's failure in one line, a signal, a mistake of ours."""

import functools
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from common import startup
from common.errors import UserError
from training.script.endings import OUR_MISTAKE, ending_of, leave
from training.step.stops import RunStopped, SignalReceived

Main = Callable[[list[str]], int]

BROKEN_PIPE = 128 + signal.SIGPIPE  # what reads the output has ended, such as head


@contextmanager
def _signals() -> Iterator[None]:
    """Signals that end a script raise SignalReceived in it, and do in its children what they do by default."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()
    before = {number: signal.getsignal(number) for number in startup.DEFAULTS}

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            if number == signal.SIGHUP:
                startup.do_without_terminal()
            raise SignalReceived(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    taken = [number for number, default in startup.DEFAULTS.items() if before[number] in (default, startup.leave)]
    for number in taken:
        signal.signal(number, stop)
    report = sys.unraisablehook

    def report_others(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, SignalReceived):  # one that met an object on its way out
            report(unraisable)

    sys.unraisablehook = report_others
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number in taken:
            signal.signal(number, before[number])


def _any_text_can_be_printed() -> None:
    """What the terminal's encoding lacks is written as an escape, and ends no script; a width of nothing is none."""
    if os.environ.get("COLUMNS", "").strip("0") == "":  # as some terminals without a size have it
        os.environ.pop("COLUMNS", None)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # one that a test put there
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]


def _check_text(arguments: Sequence[str]) -> None:
    """Raises UserError for what no file can hold as text: bytes that are no UTF-8, which Python has as surrogates."""
    for argument in arguments:
        if "\0" in argument or any("\ud800" <= character <= "\udfff" for character in argument):
            with suppress(UnicodeError):
                text, encoding = os.fsencode(argument).decode("utf-8"), sys.getfilesystemencoding()
                if "\0" not in text:
                    raise UserError(f"'{text}' cannot be read in this locale, {encoding}: set PYTHONUTF8=1")
            raise UserError(f"the argument {argument!a} is no text in UTF-8")


def _is_read() -> bool:
    """Whether whoever reads standard output is still there, as far as the system knows."""
    with suppress(AttributeError, OSError, ValueError):  # no poll on Windows, or a stream without a descriptor
        waiting = select.poll()
        waiting.register(sys.stdout, select.POLLOUT)
        return not any(events & select.POLLERR for _, events in waiting.poll(0))
    return True


def _can_print() -> bool:
    """Whether standard output takes what was written to it; flushing alone shows nothing where none is kept back."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return _is_read()


def script(*, interrupted: str = "") -> Callable[[Main], Main]:
    """Makes a script's `main`, which takes the arguments and returns the exit status, end as all scripts do.

    A user's mistake is one line on standard error and status 2, a machine's failure one line and status 4; with
    OBJECTIVE_LAB_DEBUG set they have their traceback. A run that stopped before its end is the line and the status
    that it stopped with, a signal is status 128 + its number, and an output that nobody reads any more is the status
    of that signal. Every other exception is a mistake of ours, as the end of its traceback states, and status 1.

    Args:
        interrupted: written to standard error after a signal that stopped no run.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run(arguments: list[str]) -> int:
            startup.loaded()
            _any_text_can_be_printed()
            try:
                with _signals():
                    _check_text(arguments)
                    status = main(arguments)
                    sys.stdout.flush()
                    return status
            except (KeyboardInterrupt, SignalReceived) as error:
                sys.stderr.write(interrupted)
                return 128 + (error.number if isinstance(error, SignalReceived) else signal.SIGINT)
            except Exception as error:
                if isinstance(error, OSError) and not _can_print():
                    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - else Python fails to flush it once more
                    if isinstance(error, BrokenPipeError):
                        return BROKEN_PIPE
                    error.filename = error.filename or "standard output"
                ending = ending_of(error)
                if ending is None:
                    error.add_note(OUR_MISTAKE)
                if ending is None or ("OBJECTIVE_LAB_DEBUG" in os.environ and not isinstance(error, RunStopped)):
                    raise
                if isinstance(error, RunStopped):
                    print(ending.line, file=sys.stderr)
                    return ending.status
                leave(ending.line, ending.status)

        return run

    return decorate
