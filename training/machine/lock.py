"""The lock of a folder that one process at a time writes to: that of a run, or of a study."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import UserError


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder / ".lock")


def lock_folder(folder: Path, kind: str) -> FileLock:
    """Makes the folder of a run or a study, and takes it for this process.

    Raises:
        UserError: where another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder} is in use by another process; give this {kind} another --name") from None
    return lock


def is_locked(folder: Path) -> bool:
    """Whether a process has taken the folder, as far as this one may know."""
    lock = _lock_of(folder)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True


def wait_until_free(folder: Path, *, stops: Callable[[], bool], seconds: float) -> bool:
    """Waits until no process has the folder, which is made where it is missing.

    Args:
        folder: of a run.
        stops: whether to wait no longer; called between two looks.
        seconds: between two looks.

    Returns:
        False where `stops` came first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(folder)
    while not stops():
        try:
            with lock.acquire(timeout=seconds):
                return True
        except Timeout:
            continue
    return False
