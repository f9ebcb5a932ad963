"""The ways in which a run ends before its budget does, each with its own exit status."""

import signal


class RunStopped(Exception):
    """A run that was stopped; the message is for the user, the status for whoever waits for the process."""

    exit_status: int


class Interrupted(RunStopped):
    """Stopped by a signal, with everything saved: the same command goes on."""

    def __init__(self, number: signal.Signals, saved: str) -> None:
        self.exit_status = 128 + number
        super().__init__(f"{number.name}: stopped at {saved}; the same command goes on from there")


class Diverged(RunStopped):
    """Stopped before an update that would have spoilt the weights."""

    exit_status = 3


class SignalReceived(BaseException):
    """A signal where there is no step to save: a script ends with 128 + its number.

    Not an Exception, so that no library takes it for a failure of what it was doing.
    """

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)
        super().__init__(self.number.name)
