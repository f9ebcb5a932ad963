"""A script that is killed at its n-th change of a file: aimed.py FOLDER NUMBER SCRIPT ARGUMENTS...

Counted are files opened for writing, renamed, linked or removed and folders made or removed in FOLDER, by Python's
audit events: the process kills itself right before the n-th. With NUMBER 0 it ends by itself, and FOLDER.changes holds
how many there were.
"""

import atexit
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"}


def watch(folder: Path, number: int) -> None:
    """Counts changes from now on, and kills this process right before one of them."""
    owner, count = os.getpid(), 0

    def before(event: str, details: tuple[Any, ...]) -> None:
        nonlocal count
        is_opened = event == "open" and isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR)
        if not is_opened and event not in CHANGES:
            return
        path = details[0] if isinstance(details[0], str | bytes | os.PathLike) else ""
        if os.getpid() == owner and os.fsdecode(path).startswith(str(folder)):
            count += 1
            if count == number:
                os.kill(owner, signal.SIGKILL)

    def note() -> None:
        if os.getpid() == owner:
            folder.with_name(f"{folder.name}.changes").write_text(str(count))

    if number == 0:
        atexit.register(note)
    sys.addaudithook(before)


if __name__ == "__main__":
    place, at, script, *arguments = sys.argv[1:]
    sys.argv = [script, *arguments]
    watch(Path(place), int(at))
    runpy.run_path(script, run_name="__main__")
