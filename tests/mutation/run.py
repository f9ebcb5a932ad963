"""The mutation run: every mutant in a copy of the project, one at a time, until a test of the default tier notices it.

    make mutants
    python -m tests.mutation.run --only document --jobs 1

The tests that should notice a mutant run first, then all others. It ends with the survivors, and with status 1 where
fewer than 95 % were killed.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest
from rich.console import Console

from tests.mutation.mutant import Mutant
from tests.mutation.mutants import MUTANTS

ROOT = Path(__file__).parent.parent.parent
LEAST_KILLED = 0.95
SECONDS_OF_LIKELY_TESTS, SECONDS_OF_ALL_TESTS = 600, 3600  # a mutant that never ends is noticed, too
OWN = ("tests", *(path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()))  # this project's packages
SERVER = multiprocessing.get_context("forkserver")  # of processes that have the libraries, and nothing of the project
SERVER.set_forkserver_preload(["lightning.pytorch.cli", "transformers", "datasets", "scipy.stats", "rich.progress"])
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: the test that noticed it, or None."""

    mutant: Mutant
    killer: str | None
    seconds: float


def copied(folder: Path) -> Path:
    """A copy of the project's own files, without what git ignores."""
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return folder


def _run_pytest(folder: Path, arguments: Sequence[str], output: Path) -> None:
    """What a forked process does: pytest on a copy, as a new interpreter runs it there."""
    os.setsid()  # so that whatever a mutant starts can be ended with it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and tests send it
    with output.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    sys.argv[:] = ["pytest", *arguments]
    sys.path[:] = [str(folder), *(path for path in sys.path if Path(path or ".").resolve() != ROOT)]
    for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
        del sys.modules[name]
    sys.exit(int(pytest.main(list(arguments))))


def noticed(folder: Path, tests: Sequence[str], *, processes: int, seconds: float) -> str | None:
    """The first test that fails in a copy, or what else went wrong; None where all pass."""
    # The mutants' own test would notice every one of them.
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "--ignore=tests/mutation", "-n", str(processes)]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of libraries that are loaded before pytest begins
    output = folder.with_name(f"{folder.name}.txt")
    process = SERVER.Process(target=_run_pytest, args=(folder, [*tests, *options], output))
    process.start()
    process.join(seconds)
    if process.is_alive() and process.pid is not None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return f"no end within {seconds:g} seconds"
    if process.exitcode == 0:
        return None
    written = output.read_text(encoding="utf-8", errors="replace")
    found = _FAILED.search(written)
    return found[1] if found else f"pytest left with status {process.exitcode}: {written.strip()[-500:]}"


@contextmanager
def mutated(folder: Path, mutant: Mutant) -> Iterator[None]:
    """A copy with the mistake in it, for a while."""
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(mutant.applied(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def outcome_of(mutant: Mutant, copies: "SimpleQueue[Path]", *, processes: int) -> Outcome:
    """Runs the tests against one mutant, in whichever copy is free."""
    folder, started = copies.get(), time.monotonic()
    try:
        with mutated(folder, mutant):
            killer = None
            if mutant.tests:
                killer = noticed(folder, mutant.tests, processes=0, seconds=SECONDS_OF_LIKELY_TESTS)
            if killer is None:
                killer = noticed(folder, [], processes=processes, seconds=SECONDS_OF_ALL_TESTS)
    finally:
        copies.put(folder)
    return Outcome(mutant, killer, time.monotonic() - started)


def check_sound(folder: Path, mutants: Sequence[Mutant], *, processes: int) -> None:
    """Leaves where the project itself fails the tests that are to notice the mutants."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    if failed := noticed(folder, tests, processes=processes, seconds=SECONDS_OF_ALL_TESTS):
        sys.exit(f"without any mutant, this fails: {failed}; only a project that passes its tests can be mutated")


def chosen(only: str | None) -> list[Mutant]:
    """The mutants whose file or mistake holds a text; all of them by default."""
    mutants = [mutant for mutant in MUTANTS if only is None or only in mutant.file or only in mutant.mistake]
    if not mutants:
        sys.exit(f"no mutant's file or mistake holds '{only}'")
    for mutant in mutants:
        mutant.line((ROOT / mutant.file).read_text(encoding="utf-8"))
    return mutants


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="mutants whose file or mistake holds this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at once; by default the cores")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        mutants = chosen(options.only)
    except ValueError as error:
        sys.exit(str(error))
    # As it is now: the project may be worked on while its copies are tested.
    texts = {mutant.file: (ROOT / mutant.file).read_text(encoding="utf-8") for mutant in mutants}
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.jobs):
            copies.put(copied(Path(temporary) / str(number)))
        check_sound(Path(temporary) / "0", mutants, processes=options.jobs)
        outcomes: list[Outcome] = []
        with ThreadPoolExecutor(options.jobs) as pool:
            for outcome in pool.map(lambda mutant: outcome_of(mutant, copies, processes=options.jobs), mutants):
                outcomes.append(outcome)
                place, mutant = f"{len(outcomes):>3}/{len(mutants)} {outcome.seconds:5.0f} s", outcome.mutant
                killed_by = outcome.killer or "SURVIVED"
                console.print(f"{place}  {mutant.file}: {mutant.mistake} -> {killed_by}", markup=False)
    survivors = [outcome.mutant for outcome in outcomes if outcome.killer is None]
    for mutant in survivors:
        text = texts[mutant.file]
        console.print(f"\n{mutant.file}:{mutant.line(text)}: {mutant.mistake}\n{mutant.difference(text)}", markup=False)
    share = 1 - len(survivors) / len(outcomes)
    console.print(f"\nkilled {len(outcomes) - len(survivors)}/{len(outcomes)} ({share:.1%})")
    return int(share < LEAST_KILLED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
