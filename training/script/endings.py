"""How each kind of exception ends a script: one line and an exit status, or, for a mistake of ours, its traceback.

Exceptions of libraries are known by the names of their classes, so that no library is imported to end a script.
"""

from common.startup import is_script

import errno
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from common.errors import MachineError, UserError, lack_of_memory, message_of
from common.repository import REPOSITORY
from common.terminal import visible
from training.step.stops import RunStopped

USER, MACHINE = 2, 4
OUR_MISTAKE = "This is a mistake of Objective Lab, not of yours: please report it with the lines above and the command."

# What the machine refused, with what to do about it; an OSError that is not listed comes of a wrong path.
_REMEDIES = {
    errno.ENOSPC: "free some space, or name a folder on another disk",
    errno.EDQUOT: "free some of the quota, or name a folder on another disk",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or name a folder on another disk",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "give this user the permission, or name another path",
    errno.EPERM: "give this user the permission, or name another path",
    errno.EIO: "the disk is failing or is gone: name a folder on another one",
    errno.EMFILE: "raise the number of open files (ulimit -n), or lower data.workers",
    errno.ENFILE: "the machine has too many open files: end other processes, or lower data.workers",
    errno.ENOMEM: "free some memory, or lower the sizes in the command",
    errno.EAGAIN: "the machine has too many processes: end others, or lower data.workers",
}
_WRONG_PATHS = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "there is a file where a folder should be",
    errno.EEXIST: "there is a file where a folder should be",
    errno.EISDIR: "is a folder, and must be a file",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.ELOOP: "links in a circle",
}
# torch and its libraries raise RuntimeError for these.
_LOST_PROCESS = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|timed out waiting|socket timeout|gloo/transport|"
    r"nccl (communicator|error)|process group watchdog|DataLoader worker",
    re.I,
)
_NO_SPACE = re.compile(r"No space left on device|os error 28|file write failed|Disk quota exceeded", re.I)
_MISSING_MODULE = re.compile(r"(?:No module named|Module not found:) '(?P<name>[\w.]+)'")
_PARSERS = ("yaml", "json", "jsonargparse")


@dataclass(frozen=True)
class Ending:
    """What is written to standard error, and the exit status."""

    line: str
    status: int


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _of_os_error(error: OSError) -> Ending:
    names = [os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
    where = f"{' -> '.join(names)}: " if names else ""
    if error.errno in _WRONG_PATHS:
        return Ending(f"{where}{_WRONG_PATHS[error.errno]}", USER)
    if error.errno in _REMEDIES:
        return Ending(f"{where}{error.strerror}; {_REMEDIES[error.errno]}", MACHINE)
    if isinstance(error, ConnectionError | TimeoutError):
        return Ending(f"{where}{error}; the network or a server failed: try again, or name what lies here", MACHINE)
    return Ending(f"{where}{error.strerror or error}", MACHINE)


def _package(error: ModuleNotFoundError) -> str | None:
    """The package that is not installed; None for a module of this project, which is never missing."""
    found = _MISSING_MODULE.search(str(error))
    name = error.name or (found and found["name"])
    top = name.split(".")[0] if name else None
    return None if top is None or (REPOSITORY / top).exists() or (REPOSITORY / f"{top}.py").exists() else top


def _innermost_package(error: BaseException) -> str:
    """The library whose function raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    package = Path(frames[-1].filename).parent.name if frames else ""
    return package if package in _PARSERS else ""


def _known(error: BaseException) -> Ending | None:
    names = _names(error)
    if isinstance(error, UserError):
        return Ending(str(error), USER)
    if isinstance(error, MachineError):
        return Ending(str(error), MACHINE)
    if isinstance(error, OSError):
        return _of_os_error(error)
    if isinstance(error, ModuleNotFoundError) and (package := _package(error)):
        return Ending(f"the package '{package}' is not installed: pip install {package}", USER)
    text = str(error)
    if lack := lack_of_memory(error):
        remedy = "lower data.micro_batch_size or set it to auto, lower data.window or the body's size, or set " \
                 "gradient_checkpointing"  # fmt: skip
        return Ending(f"out of memory ({lack}); {remedy}", MACHINE)
    if isinstance(error, RuntimeError) and _LOST_PROCESS.search(text):
        return Ending(f"another process of the run was lost ({text.strip().splitlines()[0]})", MACHINE)
    if _NO_SPACE.search(text) and ("SafetensorError" in names or isinstance(error, RuntimeError)):
        return Ending(f"{text.strip().splitlines()[0]}; {_REMEDIES[errno.ENOSPC]}", MACHINE)
    if "SafetensorError" in names:
        return Ending(f"a file of weights is damaged, or is no safetensors file ({text})", USER)
    if "YAMLError" in names:
        return Ending(f"not YAML: {message_of(error)}", USER)
    if "JSONDecodeError" in names:
        return Ending(f"a file is damaged, or is no JSON ({text})", USER)
    if isinstance(error, UnicodeDecodeError):
        return Ending(f"a file is damaged, or is no UTF-8 ({text})", USER)
    if isinstance(error, RecursionError) and _innermost_package(error):
        return Ending(f"a file is nested too deeply to be read ({_innermost_package(error)})", USER)
    if isinstance(error, ValueError) and text.startswith("embedded null"):  # as Python has it, of any path
        return Ending("a path holds the character NUL, which no name of a file can", USER)
    if "TransportError" in names:  # httpx's, of the hub
        return Ending(f"the network cannot be reached ({text}): try again, or name what lies here", MACHINE)
    return None


def ending_of(error: BaseException) -> Ending | None:
    """How an exception ends a script; None for what is a mistake of ours.

    The notes of an exception, such as what was saved before it, stand behind its message.
    """
    if isinstance(error, RunStopped):
        return Ending(str(error), error.exit_status)
    ending = _known(error)
    if ending is None:
        return None
    notes = getattr(error, "__notes__", [])
    return Ending(" ".join("; ".join([ending.line, *notes]).split("\n")), ending.status)


def rank() -> int:
    """The number of this process among those of a run, as its launcher sets it."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), 0)


def write_line(line: str, status: int) -> None:
    """Writes the line: what is the user's from the first process of many, what is a machine's from each."""
    if rank() == 0 or status == MACHINE:
        who = f"process {rank()}: " if rank() else ""
        sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {who}{visible(line)}\n")


def leave(line: str, status: int = USER) -> NoReturn:
    """Ends the process with one line and an exit status."""
    write_line(line, status)
    if is_script():  # what falls apart on the way out, such as a loader without its workers, writes no traceback
        sys.unraisablehook = lambda _: None
    raise SystemExit(status)
