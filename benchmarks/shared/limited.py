"""Processes that end by themselves or are cut off: one that fails or hangs costs no other its measurement."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from common.repository import REPOSITORY


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        status: its exit status; None where it was cut off.
        errors: what it wrote to standard error.
    """

    status: int | None
    errors: str

    @property
    def last_line(self) -> str:
        """The last line of `errors` that is not blank."""
        return ([line.strip() for line in self.errors.splitlines() if line.strip()] or [""])[-1]


def run_limited(command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> Ended:
    """Runs a command from the project's root, with nothing to read; whatever it has started is cut off with it."""
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env={**os.environ, **(environment or {})}, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return Ended(None, "")
    return Ended(process.returncode, errors)
