"""Scripts in processes of their own, forked from one that has imported torch, lightning and transformers.

Those imports are nearly all that starting a script costs. Everything else is as in a new interpreter: the script
imports the modules of the project itself, has streams, an environment and a status of its own, and can be killed.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["lightning.pytorch.cli", "transformers", "rich.progress"])


def _run(script: Path, arguments: tuple[str, ...], environment: dict[str, str], streams: Path) -> None:
    """What the forked process does: the script as `python script` runs it."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        with (streams / name).open(mode) as file:
            os.dup2(file.fileno(), number)
        setattr(sys, name, os.fdopen(number, mode, closefd=False))
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(script), *arguments]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()


class Script:
    """A script that runs: its path below the root, its arguments, and what it reads and finds in its environment."""

    def __init__(self, script: str | Path, *arguments: str, stdin: str | None = None, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="script-")
        self._streams = Path(self._folder.name)
        (self._streams / "stdin").write_text(stdin or "", encoding="utf-8")
        for name in ("stdout", "stderr"):
            (self._streams / name).touch()
        everything = {**os.environ, **environment}
        self._process = SERVER.Process(target=_run, args=(ROOT / script, arguments, everything, self._streams))
        self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves nothing behind, whatever became of the test."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()
        self._folder.cleanup()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    @property
    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        return (self._streams / "stderr").read_text(encoding="utf-8")

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Its end: minus the signal's number as the status of one that was killed, as in `subprocess`.

        Raises:
            TimeoutError: where it runs for longer than so many seconds; it is killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"still running after {timeout} s: {self.stderr}")
        stdout = (self._streams / "stdout").read_text(encoding="utf-8")
        return subprocess.CompletedProcess([], self._process.exitcode, stdout, self.stderr)
