"""What a script needs before it loads its libraries: quiet signals, three standard streams, a working folder.

Every script imports this before all else, since libraries take seconds to load. Ctrl-C, SIGTERM and SIGHUP end it at
once with 128 + the number, without a traceback: nothing has begun by then that would have to be saved; and no exception
is raised, since a library that is being loaded may turn it into one of its own. `training.script.script` takes the
signals over when `main` begins.

Garbage is not looked for meanwhile: a million objects of modules, hardly any of them garbage, would be gone through
again and again, which takes a sixth of the time.
"""

import gc
import os
import signal
import stat
import sys

# What Python does by default, which is where a signal is nobody's: one that nohup ignores stays ignored.
DEFAULTS = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
}

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))  # by their numbers


def leave(number: int, frame: object) -> None:
    """Ends the process; nothing else runs in it."""
    os._exit(128 + number)


def do_without_terminal() -> None:
    """What is written to the terminal leads nowhere from now on: it is gone, and whoever writes to it would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        if stat.S_ISCHR(os.fstat(number).st_mode):
            os.dup2(nowhere, number)
    os.close(nowhere)


def is_script() -> bool:
    """Whether a script of this repository is what was started, rather than a test or a child that imports it."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    folder, own = (os.path.dirname(os.path.realpath(path)) for path in (file or "", __file__))  # noqa: PTH120 - pathlib
    return file is not None and folder == os.path.dirname(own)  # noqa: PTH120 - takes longer to load than all this


def _open_streams() -> None:
    """A stream that the shell closed, as `>&-` does, leads nowhere.

    Else the next file that is opened, such as the run's metrics.csv, takes its number, and what libraries print.
    """
    for number, (name, mode) in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - a number


def _check_working_folder() -> None:
    """Ends the process where that is gone: libraries fail there in words of their own."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib takes longer to load than all this
    except OSError:
        script = os.path.basename(sys.argv[0])  # noqa: PTH119
        sys.stderr.write(f"{script}: error: the working folder was removed or moved: change to one that is there\n")
        sys.stderr.flush()
        os._exit(2)


def loaded() -> None:
    """Garbage is looked for from now on, but never among what a script has loaded, which lives until it ends.

    Else that would be gone through whenever all is, and at the end, where it takes more than a second.
    """
    if is_script():
        gc.freeze()
        gc.enable()


if is_script():
    gc.disable()
    _open_streams()
    _check_working_folder()
    for _number, _default in DEFAULTS.items():
        if signal.getsignal(_number) == _default:
            signal.signal(_number, leave)
