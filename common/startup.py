"""Ctrl-C and SIGTERM while a script loads its libraries: it ends at once with 128 + the number, without a traceback.

Every script imports this before all else, since libraries take seconds to load. Nothing has begun by then that would
have to be saved; and no exception is raised, since a library that is being loaded may turn it into one of its own.
`training.setup.script` takes the signals over when `main` begins.
"""

import os
import signal
import sys

# What Python does by default, which is where a signal is nobody's: one that nohup ignores stays ignored.
DEFAULTS = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}


def leave(number: int, frame: object) -> None:
    """Ends the process; nothing else runs in it."""
    os._exit(128 + number)


def _is_script() -> bool:
    """Whether a script of this repository is what was started, rather than a test or a child that imports it."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    folder, own = (os.path.dirname(os.path.realpath(path)) for path in (file or "", __file__))  # noqa: PTH120 - pathlib
    return file is not None and folder == os.path.dirname(own)  # noqa: PTH120 - takes longer to load than all this


if _is_script():
    for _number, _default in DEFAULTS.items():
        if signal.getsignal(_number) == _default:
            signal.signal(_number, leave)
