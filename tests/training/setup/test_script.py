"""Every script ends alike: mistakes in one line, stopped runs with their status, Ctrl-C quietly where it is wanted."""

import ast
import signal

import pytest

from tests.helpers import ROOT
from training.setup.script import script
from training.step.stops import Interrupted


def raising(error: BaseException, *mistakes: type[Exception], interrupted: str | None = None) -> int:
    @script(*mistakes, interrupted=interrupted)
    def main(arguments: list[str]) -> int:
        raise error

    return main([])


def test_what_a_script_returns_is_its_status() -> None:
    @script()
    def main(arguments: list[str]) -> int:
        return len(arguments)

    assert main(["a", "b"]) == 2


def test_a_mistake_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OBJECTIVE_LAB_DEBUG", raising=False)
    for error, mistakes in ((ValueError("x = 1 must be 2"), ()), (FileNotFoundError("x = 1 must be 2"), (OSError,))):
        with pytest.raises(SystemExit) as left:
            raising(error, *mistakes)
        assert left.value.code == 2
        assert capsys.readouterr().err.endswith("error: x = 1 must be 2\n")


def test_a_mistake_has_its_traceback_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBJECTIVE_LAB_DEBUG", "1")
    with pytest.raises(ValueError, match="must be 2"):
        raising(ValueError("x = 1 must be 2"))


@pytest.mark.parametrize("error", [OSError("disk"), KeyError("bug"), KeyboardInterrupt()])
def test_everything_else_keeps_its_traceback(error: BaseException) -> None:
    with pytest.raises(type(error)):
        raising(error)


def test_a_stopped_run_tells_why_and_ends_with_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(Interrupted(signal.SIGTERM, "step 3")) == 143
    assert capsys.readouterr().err == "SIGTERM: stopped at step 3; the same command goes on from there\n"


def test_an_interruption_is_quiet_where_a_script_has_a_text_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt(), interrupted="stopped\n") == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda path: path.name)
def test_every_script_ends_by_it(path: object) -> None:
    tree = ast.parse((ROOT / str(path)).read_text(encoding="utf-8"))
    (main,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    assert [ast.unparse(decorator).split("(")[0] for decorator in main.decorator_list] == ["script"]
