"""A signal while a script still loads its libraries ends it as one that comes later: 128 + its number, quietly."""

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

SCRIPTS = sorted(ROOT.glob("*.py"))
NAMES = [path.name for path in SCRIPTS]


def interrupted(name: str, number: signal.Signals, loading: str) -> tuple[int, str]:
    """The status of a script, and what it wrote, where the signal comes while it loads a module."""
    command = [sys.executable, "-X", "importtime", name, "no/such/run"]  # each module is named once it is loaded
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rpartition("|")[2].strip().startswith(loading):
                break
        process.send_signal(number)
        _, written = process.communicate()
    return process.returncode, "".join(line for line in written.splitlines(True) if not line.startswith("import time"))


@pytest.mark.parametrize(
    ("name", "number", "status", "loading"),
    [("summarize.py", signal.SIGINT, 130, "jsonargparse."), ("train.py", signal.SIGTERM, 143, "torch.")],
)
def test_a_signal_while_libraries_are_loaded_is_quiet(
    name: str, number: signal.Signals, status: int, loading: str
) -> None:
    assert interrupted(name, number, loading) == (status, "")


@pytest.mark.slow
@pytest.mark.parametrize("loading", ["common.startup", "typing_extensions", "jsonargparse.", "torch."])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_whenever_it_comes_is_quiet(name: str, number: signal.Signals, loading: str) -> None:
    interruption = "stopped; the same command goes on from there\n" * (name == "compare.py")
    status, written = interrupted(name, number, loading)
    assert status == 128 + number
    assert written in ("", interruption)


def test_a_signal_that_the_shell_ignores_stays_ignored() -> None:
    program = (
        f"import signal, __main__; __main__.__file__ = {str(ROOT / 'train.py')!r}; "
        "signal.signal(signal.SIGINT, signal.SIG_IGN); from common.startup import leave; "
        "print(*(signal.getsignal(number) == leave for number in (signal.SIGTERM, signal.SIGINT)), "
        "signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "True False True\n", ran.stderr


def test_what_imports_a_script_keeps_its_signals() -> None:
    import common.startup

    assert common.startup.leave not in (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_every_script_takes_signals_before_it_loads_anything_else(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    first = next(node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    assert ast.unparse(first) == "import common.startup"


QUICK = {*sys.stdlib_module_names, "common", "jsonargparse", "rich"}  # of which the last two take half a second


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_help_and_refusals_come_before_what_is_slow_to_import(path: Path) -> None:
    imported: list[str] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
    before = imported[: imported.index("training.setup.command_line")]
    assert {name.partition(".")[0] for name in before} <= QUICK


LOADING = f"import __main__; __main__.__file__ = {str(ROOT / 'train.py')!r}; import common.startup, sys; "
AS_SCRIPT = f"{LOADING}common.startup.loaded(); "


def test_garbage_is_looked_for_once_all_is_loaded_and_not_among_that() -> None:
    program = (
        f"{LOADING}import gc; from training.script.script import script; before = gc.isenabled(); "
        "main = script()(lambda arguments: print(before, gc.isenabled(), gc.get_freeze_count() > 1000) or 0); main([])"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "False True True\n", ran.stderr


def test_what_imports_a_script_looks_for_garbage_as_it_did() -> None:
    program = "import gc, common.startup; common.startup.loaded(); print(gc.isenabled(), gc.get_freeze_count())"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "True 0\n", ran.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_what_is_printed_to_a_closed_stream_reaches_no_file_of_the_run(closed: str, tmp_path: Path) -> None:
    writes = "file = open(sys.argv[1], 'w'); print('lost'); print('lost', file=sys.stderr); sys.stdin.read(); "
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", AS_SCRIPT + writes + "file.write('kept')"]
    ran = subprocess.run([*command, str(tmp_path / "file")], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "file").read_text() == "kept"


def test_a_working_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = 'mkdir "$1" && cd "$1" && rmdir "$1" && exec "$2" "$3" runs'
    command = ["sh", "-c", gone, "sh", str(tmp_path / "gone"), sys.executable, str(ROOT / "summarize.py")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    line = "summarize.py: error: the working folder was removed or moved: change to one that is there"
    assert ran.stderr.splitlines()[-1:] == [line]  # behind what the shell and Python say of it
