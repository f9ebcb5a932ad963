"""Errors that are somebody else's than ours: the user's, and the machine's. Every other exception is a bug."""


class UserError(ValueError):
    """A wrong value, a damaged or foreign file, a missing package: one line, and exit status 2.

    The message names the setting or file, its value, the constraint and the remedy. It is a ValueError, so that
    jsonargparse puts it beside the setting that it came from.
    """


class MachineError(OSError):
    """A full disk, a missing permission, memory that ran out, a lost rank or network: one line, and exit status 4.

    The message names the path, what was saved, and what to do.
    """
