"""Errors that are somebody else's than ours: the user's, and the machine's. Every other exception is a bug."""

import re

# torch and its libraries raise RuntimeError for these.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|out of memory|failed to allocate|cannot allocate memory|STATUS_ALLOC_FAILED", re.I
)


class UserError(ValueError):
    """A wrong value, a damaged or foreign file, a missing package: one line, and exit status 2.

    The message names the setting or file, its value, the constraint and the remedy. It is a ValueError, so that
    jsonargparse puts it beside the setting that it came from.
    """


class MachineError(OSError):
    """A full disk, a missing permission, memory that ran out, a lost rank or network: one line, and exit status 4.

    The message names the path, what was saved, and what to do.
    """


def message_of(error: BaseException) -> str:
    """Its message in one line, without the breaks and indentation of libraries; empty where it has none."""
    return " ".join(str(error).split())


def lack_of_memory(error: BaseException) -> str:
    """What could not be allocated, in the words of whatever raised it; empty where it is no lack of memory.

    Exceptions of libraries are known by the names of their classes, so that no library is imported to know them.
    """
    is_named = isinstance(error, MemoryError) or any(cls.__name__ == "OutOfMemoryError" for cls in type(error).__mro__)
    text = str(error).strip()
    if is_named or (isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(text)):
        return text.splitlines()[0] if text else "no memory was left"
    return ""
