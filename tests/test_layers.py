"""The floors of the house: imports run down only, and no file outgrows its idea."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "data": set(),
    "models": set(),
    "training": set(),
    "objectives": {"data", "models", "training"},
    "finetuning": {"objectives", "data", "models", "training"},
    "evaluation": {"objectives", "data", "models", "training"},
}
SCRIPTS = sorted(path for path in ROOT.glob("*.py"))
MODULES = sorted(path for room in FLOORS for path in (ROOT / room).rglob("*.py"))
LONGEST_FILE = 300
# Files of objectives/ that are none themselves.
BESIDE_OBJECTIVES = {
    *("base", "noise", "picture", "rates", "examples", "trained", "pretrained", "warm_start", "exported"),
    *("questions", "answers", "scorers", "members"),
}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down_the_floors(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    forbidden = (set(FLOORS) | {script.stem for script in SCRIPTS}) - FLOORS[room] - {room}
    above = {name for name in imported(path) if name.split(".")[0] in forbidden}
    assert not above, f"{path.relative_to(ROOT)} imports {above}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_nobody_imports_a_script(path: Path) -> None:
    importers = [other for other in [*MODULES, *SCRIPTS] if path.stem in imported(other)]
    assert not importers


def test_objectives_never_import_each_other() -> None:
    names = {path.stem for path in (ROOT / "objectives").glob("*.py")} - BESIDE_OBJECTIVES - {"__init__"}
    for name in names:
        siblings = {f"objectives.{other}" for other in names - {name}}
        assert not siblings & imported(ROOT / f"objectives/{name}.py")


def test_models_know_neither_lightning_nor_text() -> None:
    for path in (ROOT / "models").rglob("*.py"):
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & {"lightning", "datasets", "tokenizers", "wandb", "transformers"}


def test_nothing_needs_transformers_at_run_time() -> None:
    for path in [*MODULES, *SCRIPTS]:
        if path.name not in ("huggingface.py", "export.py"):
            assert "transformers" not in {name.split(".")[0] for name in imported(path)}


def test_no_name_at_the_root_shadows_a_module() -> None:
    names = {path.stem for path in SCRIPTS} | set(FLOORS)
    assert not names & (set(sys.stdlib_module_names) | {"tokenizers", "datasets", "evaluate", "torch", "lightning"})


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_outgrows_its_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
