"""The ends that every script has: a user's mistake in one line, a run that stopped, Ctrl-C."""

import functools
import os
import sys
from collections.abc import Callable

from training.step.stops import RunStopped

Main = Callable[[list[str]], int]


def script(*mistakes: type[Exception], interrupted: str | None = None) -> Callable[[Main], Main]:
    """Makes a script's `main`, which takes the arguments and returns the exit status, end as all scripts do.

    A user's mistake, which is a UserError, is one line on standard error and status 2; with OBJECTIVE_LAB_DEBUG set
    it is its traceback. A run that stopped before its end is the line and the status that it stopped with.

    Args:
        mistakes: other exceptions that are a user's here, such as the OSError of a file that is not there.
        interrupted: written to standard error on Ctrl-C, which is status 130; without it, Ctrl-C is Python's own.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run(arguments: list[str]) -> int:
            try:
                return main(arguments)
            except RunStopped as stop:
                print(stop, file=sys.stderr)
                return stop.exit_status
            except KeyboardInterrupt:
                if interrupted is None:
                    raise
                sys.stderr.write(interrupted)
                return 130
            except (ValueError, *mistakes) as error:
                if "OBJECTIVE_LAB_DEBUG" in os.environ:
                    raise
                from training.setup.messages import leave, one_line  # slow to import

                leave(one_line(str(error)))

        return run

    return decorate
