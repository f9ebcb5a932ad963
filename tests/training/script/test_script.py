"""Every script ends alike: mistakes in one line, stopped runs with their status, signals without a traceback."""

import ast
import io
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest

from common.errors import MachineError, UserError
from tests.helpers import ROOT
from tests.processes import SERVER
from training.script import endings
from training.script.endings import OUR_MISTAKE
from training.script.script import script
from training.step.stops import Interrupted, SignalReceived


def raising(error: BaseException, *, interrupted: str = "") -> int:
    @script(interrupted=interrupted)
    def main(arguments: list[str]) -> int:
        raise error

    return main([])


def test_what_a_script_returns_is_its_status() -> None:
    @script()
    def main(arguments: list[str]) -> int:
        return len(arguments)

    assert main(["a", "b"]) == 2


@pytest.mark.parametrize(("kind", "status"), [(UserError, 2), (MachineError, 4)])
def test_a_mistake_of_the_user_or_the_machine_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: type[Exception], status: int
) -> None:
    monkeypatch.delenv("OBJECTIVE_LAB_DEBUG", raising=False)
    with pytest.raises(SystemExit) as left:
        raising(kind("x = 1 must be 2"))
    assert left.value.code == status
    assert capsys.readouterr().err.endswith("error: x = 1 must be 2\n")


def test_a_mistake_has_its_traceback_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBJECTIVE_LAB_DEBUG", "1")
    with pytest.raises(UserError, match="must be 2"):
        raising(UserError("x = 1 must be 2"))


@pytest.mark.parametrize("error", [ValueError("deep inside numpy"), KeyError("bug"), AssertionError()])
def test_everything_else_keeps_its_traceback_and_says_whose_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        raising(error)
    assert raised.value.__notes__ == [OUR_MISTAKE]


def test_a_users_mistake_is_printed_by_the_first_process_and_a_machines_by_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    for error in (UserError("wrong"), MachineError("full")):
        with pytest.raises(SystemExit):
            raising(error)
    assert capsys.readouterr().err.splitlines()[-1].endswith("error: process 1: full")


def test_a_stopped_run_tells_why_and_ends_with_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(Interrupted(signal.SIGTERM, "step 3")) == 143
    assert capsys.readouterr().err == "SIGTERM: stopped at step 3; the same command goes on from there\n"


def test_an_interruption_is_quiet_but_for_a_scripts_own_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt(), interrupted="stopped\n") == 130
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_outside_a_run_ends_with_128_and_its_number(
    capsys: pytest.CaptureFixture[str], number: signal.Signals, status: int
) -> None:
    has_cleaned_up = []

    @script()
    def main(arguments: list[str]) -> int:
        try:
            signal.raise_signal(number)
        except Exception:  # as libraries have it, which take a signal for no failure of theirs
            return 0
        finally:
            has_cleaned_up.append(True)
        return 0

    before = signal.getsignal(number)
    assert main([]) == status
    assert has_cleaned_up == [True]
    assert signal.getsignal(number) == before
    assert "Traceback" not in capsys.readouterr().err


def test_a_child_process_ends_by_a_signal_as_any_process_does() -> None:
    status = []

    @script()
    def main(arguments: list[str]) -> int:
        child = multiprocessing.get_context("fork").Process(target=signal.raise_signal, args=(signal.SIGTERM,))
        child.start()
        child.join()
        status.append(child.exitcode)
        return 0

    main([])
    assert status == [-signal.SIGTERM]


def _prints_into_a_closed_pipe(buffering: int) -> None:
    import os
    import sys

    reader, writer = os.pipe()
    os.close(reader)
    sys.stdout = io.TextIOWrapper(os.fdopen(writer, "wb", buffering), write_through=buffering == 0)

    @script()
    def main(arguments: list[str]) -> int:
        print("text")
        return 0

    raise SystemExit(main([]))


@pytest.mark.parametrize("buffering", [8192, 0], ids=["kept back", "PYTHONUNBUFFERED"])
def test_an_output_that_nobody_reads_any_more_ends_a_script_quietly(buffering: int) -> None:
    process = SERVER.Process(target=_prints_into_a_closed_pipe, args=(buffering,))
    process.start()
    process.join()
    assert process.exitcode == 128 + signal.SIGPIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_an_output_that_does_not_fit_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @script()
    def main(arguments: list[str]) -> int:
        print("text")
        return 0

    output = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(SystemExit) as left:
        main([])
    sys.stdout.close()
    with pytest.raises(OSError, match="No space left"):
        output.close()
    assert left.value.code == 4
    assert "error: standard output: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda path: path.name)
def test_every_script_ends_by_it(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (main,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    assert [ast.unparse(decorator).split("(")[0] for decorator in main.decorator_list] == ["script"]


@pytest.mark.parametrize("argument", ["--data.corpus=\0", "caf\udce9", "--name=\ud800"])
def test_an_argument_that_is_no_text_is_refused_by_every_script(
    capsys: pytest.CaptureFixture[str], argument: str
) -> None:
    @script()
    def main(arguments: list[str]) -> int:
        raise AssertionError("never reached")

    with pytest.raises(SystemExit) as left:
        main([argument])
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: the argument {argument!a} is no text in UTF-8\n")


def test_a_name_that_the_locale_cannot_read_names_what_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    @script()
    def main(arguments: list[str]) -> int:
        raise AssertionError("never reached")

    with pytest.raises(SystemExit):
        main(["--runs", "한글".encode().decode("ascii", "surrogateescape")])
    assert "'한글' cannot be read in this locale" in (line := capsys.readouterr().err)
    assert "set PYTHONUTF8=1" in line


@pytest.mark.parametrize("columns", ["0", ""])
def test_a_terminal_of_no_width_is_none(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    @script()
    def main(arguments: list[str]) -> int:
        return int("COLUMNS" in os.environ)

    assert main([]) == 0


def test_a_signal_that_meets_an_object_on_its_way_out_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class WaitsForWorkers:
        def __del__(self) -> None:
            raise SignalReceived(signal.SIGINT)

    @script()
    def main(arguments: list[str]) -> int:
        WaitsForWorkers()
        return 0

    before = sys.unraisablehook
    assert main([]) == 0
    assert sys.unraisablehook is before
    assert capsys.readouterr().err == ""


def test_nothing_follows_the_line_in_which_a_script_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class FallsApart:
        def __del__(self) -> None:
            raise AttributeError("a loader that got no workers")

    monkeypatch.setattr(endings, "is_script", lambda: True)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with pytest.raises(SystemExit):
        raising(UserError("wrong"))
    FallsApart()
    assert len(capsys.readouterr().err.splitlines()) == 1
