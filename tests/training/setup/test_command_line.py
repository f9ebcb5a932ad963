"""What a script answers before its imports is what its parser answers, and never more."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from data.datamodule import DataModule
from evaluation.study.parse import parse, parse_runs
from finetuning.cli import FineTuningCLI
from models.bodies.make import BodyConfig
from objectives.core.base import Objective
from tests.helpers import ROOT
from training.setup import command_line, parsing
from training.setup.cli import RunCLI
from training.setup.command_line import describe, refusal

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))


class Carried(Exception):
    """Carries a parser out of what makes one only to use it at once."""


def parser_of(make: Callable[[], Any], cls: type, monkeypatch: pytest.MonkeyPatch) -> Any:
    def carry(self: Any, *_: Any) -> None:
        raise Carried(self.parser)

    monkeypatch.setattr(cls, "parse_arguments", carry)
    try:
        make()
    except Carried as carried:
        return carried.args[0]
    raise AssertionError


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The schema of train.py."""
    defaults = ROOT / "configs/base.yaml"
    parser = parser_of(
        lambda: RunCLI(Objective, DataModule, BodyConfig, defaults=defaults, arguments=[]), RunCLI, monkeypatch
    )
    return describe(parser, "train.py")


@pytest.fixture
def finetuning(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The schema of finetune.py."""
    return describe(parser_of(lambda: FineTuningCLI([]), RunCLI, monkeypatch), "finetune.py")


MASKED = ("--config", str(ROOT / "configs/masked_lm.yaml"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data.window", "3"),
        ("--data.corpus+=b.txt",),
        (*MASKED, "--model.init_args.noise_density", "0.3"),
        (*MASKED, "--model.noise_density=0.3"),
        (*MASKED, "--model.help", "X"),
        ("--model", "objectives.causal_lm.CausalLM", "--model.init_args.z_loss", "1"),
        ("--config", str(ROOT / "configs/schedules/causal_then_masked.yaml"), "--model.init_args.members", "[]"),
        ("--model", "theirs.Objective", "--model.init_args.whatever", "1"),  # not this project's: the parser decides
        ("--optimizer.betas", "[0.9, 0.95]"),
        ("--data.workers", "0", "--", "--text that begins with a dash"),
        ("--config", str(ROOT / "configs/ancestors/luong.yaml"), "--body.input_feeding=false", "--body.layers=[1,1]"),
        ("--body.kind", "recurrent", "--body.cell", "gru"),
        ("--body.preset", "bert"),
    ],
    ids=str,
)
def test_what_the_parser_takes_is_never_refused(training: dict[str, Any], arguments: tuple[str, ...]) -> None:
    assert refusal(training, arguments) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--data.windw", "3"), "did you mean 'data.window'?"),
        (("--windw=3",), "did you mean 'data.window'?"),
        ((*MASKED, "--model.init_args.noise_densty", "3"), "did you mean 'model.init_args.noise_density'?"),
        ((*MASKED, "--model.infill_rate", "3"), "unrecognized arguments: --model.infill_rate"),
        (("--trainer.max_steps", "3"), "here it is budget.steps"),
    ],
    ids=str,
)
def test_a_flag_that_there_is_not_is_refused_with_its_suggestion(
    training: dict[str, Any], arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in (refusal(training, arguments) or "")


@pytest.mark.parametrize("kind", ["transformer", "recurrent"])
def test_no_body_is_refused_the_settings_of_its_own_by_the_schema_of_another(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only that of the usual body is kept, whose --help any command may be answered with."""
    arguments = ["--body.kind", kind]
    parser = parser_of(
        lambda: RunCLI(Objective, DataModule, BodyConfig, defaults=ROOT / "configs/base.yaml", arguments=arguments),
        RunCLI,
        monkeypatch,
    )
    schema = describe(parser, "train.py")
    for flags in (["--body.preset", "bert"], ["--body.kind", "recurrent", "--body.cell", "gru"]):
        assert refusal(schema, flags) is None
    assert "--body.cel" in (refusal(schema, ["--body.cel", "gru"]) or "")
    assert parser.describes_script == (kind == "transformer")


def test_a_task_has_the_settings_of_its_kind(finetuning: dict[str, Any]) -> None:
    sst2 = ("--config", str(ROOT / "configs/tasks/sst2.yaml"))
    assert refusal(finetuning, (*sst2, "--task.texts", "[a]", "--task.init_args.label", "b")) is None
    assert refusal(finetuning, (*sst2, "--grid.seeds", "[1]", "--grid.learning_rates=[1]")) is None
    assert "did you mean 'task.texts'?" in (refusal(finetuning, (*sst2, "--task.txts", "[a]")) or "")


def test_the_schema_follows_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "script.py").write_text("one", encoding="utf-8")
    (tmp_path / "configs").mkdir()
    monkeypatch.setattr(command_line, "REPOSITORY", tmp_path)
    before = command_line.parser_sha256.__wrapped__()
    assert command_line.parser_sha256.__wrapped__() == before
    (tmp_path / "script.py").write_text("two", encoding="utf-8")
    assert command_line.parser_sha256.__wrapped__() != before


def test_a_kept_schema_answers_without_torch(tmp_path: Path) -> None:
    """In an interpreter of its own, as the script's first import does; without a schema it goes on."""
    code = (
        "import sys; from pathlib import Path; from training.setup import command_line as c; "
        f"c.SCHEMAS = Path({str(tmp_path)!r}); sys.argv[0] = {str(ROOT / 'generate.py')!r}; "
        "import atexit; atexit.register(lambda: print({'torch', 'lightning', 'jsonargparse'} & set(sys.modules))); "
        "c.answer_at_once(); print('goes on')"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run("--help").stdout == "goes on\nset()\n"
    schema = {"help": "usage\n", "options": ["--beams"], "holders": ["beams"], "names": ["beams"], "classes": {}}
    (tmp_path / f"generate.py-{command_line.parser_sha256()}.json").write_text(json.dumps(schema), encoding="utf-8")
    assert (run("--help").returncode, run("--help").stdout) == (0, "usage\nset()\n")
    refused = run("run", "text", "--beems", "2")
    assert (refused.returncode, refused.stdout) == (2, "set()\n")
    assert refused.stderr.endswith("error: unrecognized arguments: --beems; did you mean 'beams'?\n")
    assert run("run", "text", "--beams", "2").stdout == "goes on\nset()\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_begins_with_what_can_be_answered_at_once(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    packages = ("common", "data", "evaluation", "finetuning", "models", "objectives", "training")
    own = tuple(f"{verb} {package}." for verb in ("import", "from") for package in packages)
    imports = [line for line in lines if line.startswith(own)]
    assert imports[0].startswith("import common.startup")
    assert imports[1].startswith("import training.setup.command_line")


def test_the_schema_of_compare_is_that_of_studies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A report on runs takes few settings: were its parser kept, every study would be refused from then on."""
    kept: list[Any] = []
    monkeypatch.setattr(parsing, "keep_schema", kept.append)
    monkeypatch.setattr(parsing.OneLineErrors, "is_described", False)
    parse_runs([str(tmp_path)])
    assert kept == []
    with pytest.raises(UserError, match="which study"):  # also where none is named, so that a next call answers at once
        parse(["--misspelt"])
    assert len(kept) == 1
    with pytest.raises(SystemExit):
        parse(["--config", str(tmp_path / "none.yaml")])
    assert len(kept) == 1
