"""A script in a process forked for it behaves as in a new interpreter."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import ROOT, Script

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "script.py"


def test_streams_arguments_environment_and_status_are_its_own(script: Path) -> None:
    script.write_text(
        "import atexit, os, sys\n"
        "atexit.register(print, 'at exit')\n"
        "print(sys.argv[1:], sys.stdin.read(), os.environ['MINE'], os.getcwd(), __name__)\n"
        "print('고양이', file=sys.stderr)\n"
        "sys.exit(3)\n"
    )
    with Script(script, "a", "b", stdin="read", MINE="set") as started:
        ended = started.wait()
    assert ended.returncode == 3
    assert ended.stdout == f"['a', 'b'] read set {ROOT} __main__\nat exit\n"
    assert ended.stderr == "고양이\n"
    assert "MINE" not in os.environ


def test_an_error_is_a_traceback_and_status_1_and_a_word_is_printed(script: Path) -> None:
    for line, expected in (("raise RuntimeError('wrong')", "RuntimeError: wrong"), ("raise SystemExit('no')", "no")):
        script.write_text(line)
        with Script(script) as started:
            ended = started.wait()
        assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, expected)


def test_a_signal_ends_it_and_the_status_names_it(script: Path) -> None:
    script.write_text("import time\nprint('there', flush=True)\ntime.sleep(60)")
    before = time.monotonic()
    with Script(script) as started:
        started.signal(signal.SIGTERM)
        assert started.wait().returncode == -signal.SIGTERM
    with Script(script) as started, pytest.raises(TimeoutError):
        started.wait(timeout=0.1)
    assert time.monotonic() - before < 30


def test_no_module_of_the_project_is_there_before_the_script_imports_it(script: Path) -> None:
    script.write_text("import sys\nprint(*{name.split('.')[0] for name in sys.modules})")
    with Script(script) as started:
        loaded = started.wait().stdout.split()
    assert {"torch", "lightning", "transformers"} <= {*loaded}
    assert not {*loaded} & {"data", "models", "objectives", "training", "finetuning", "evaluation"}


def test_a_run_trains_in_a_new_interpreter_without_a_warning(tiny_run: Callable[..., list[str]]) -> None:
    command = [sys.executable, "train.py", *tiny_run("causal_lm", "new", "--budget.steps", "2")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_starts_in_a_new_interpreter_without_a_warning(name: str) -> None:
    done = subprocess.run([sys.executable, name, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
