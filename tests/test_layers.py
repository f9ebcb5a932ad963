"""The floors of the house: imports run down only, a folder holds one subject, and no file outgrows its idea.

Packages stand on the floors below. Within a package the order is the package's own: `ROOMS` in its `__init__`, lowest
first, "." being the files of the folder itself.
"""

import ast
import importlib
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = (("common",), ("data", "models", "training"), ("objectives",), ("finetuning", "evaluation"))  # lowest first
PACKAGES = [package for floor in FLOORS for package in floor]
SCRIPTS = sorted(ROOT.glob("*.py"))
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))  # measure all floors, and scripts and libraries beside them
FOLDERS = sorted({path.parent for path in [*MODULES, *BENCHMARKS]})
ORDERED = [folder for folder in FOLDERS if any(other.parent == folder for other in FOLDERS)]  # with rooms of their own
LONGEST_FILE = 300
MOST_FILES = 12  # of one folder


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it: `from a.b import c` is a.b.c where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            folder = ROOT / node.module.replace(".", "/")
            modules = {f"{node.module}.{alias.name}" for alias in node.names if (folder / f"{alias.name}.py").exists()}
            found |= modules or {node.module}
    return found


def rooms_of(folder: Path) -> tuple[str, ...]:
    """The order that a package states."""
    return importlib.import_module(relative(folder).replace("/", ".")).ROOMS


def room_of(module: tuple[str, ...], folder: Path) -> str | None:
    """The room of a folder that a module, by the parts of its name, lies in; None where it lies elsewhere."""
    package = folder.relative_to(ROOT).parts
    if module[: len(package)] != package or len(module) == len(package):
        return None
    return module[len(package)] if len(module) > len(package) + 1 else "."


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_packages_import_lower_floors_alone(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    (floor,) = (number for number, names in enumerate(FLOORS) if package in names)
    allowed = {package, *(name for names in FLOORS[:floor] for name in names)}
    forbidden = ({*PACKAGES} | {script.stem for script in SCRIPTS}) - allowed
    above = {name for name in imported(path) if name.split(".")[0] in forbidden}
    assert not above, f"{relative(path)} imports {above}"


@pytest.mark.parametrize("folder", ORDERED, ids=relative)
def test_a_room_imports_those_before_it_alone(folder: Path) -> None:
    rooms = rooms_of(folder)
    for path in folder.rglob("*.py"):
        mine = room_of(path.relative_to(ROOT).with_suffix("").parts, folder)
        if mine is None or path.name == "__init__.py":
            continue
        others = {name: room_of(tuple(name.split(".")), folder) for name in imported(path)}
        above = {name for name, room in others.items() if room is not None and rooms.index(room) > rooms.index(mine)}
        assert not above, f"{relative(path)} imports {above}"


@pytest.mark.parametrize("folder", ORDERED, ids=relative)
def test_a_package_states_the_order_of_all_its_rooms(folder: Path) -> None:
    subfolders = {other.name for other in FOLDERS if other.parent == folder}
    has_files = any(path.name != "__init__.py" for path in folder.glob("*.py"))
    assert sorted(rooms_of(folder)) == sorted({*subfolders, *(["."] if has_files else [])})


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_a_folder_holds_one_subject_and_says_which(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_FILES
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert docstring


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_nobody_imports_a_script(path: Path) -> None:
    importers = [other for other in [*MODULES, *SCRIPTS] if path.stem in imported(other)]
    assert not importers


def test_objectives_never_import_each_other() -> None:
    names = {path.stem for path in (ROOT / "objectives").glob("*.py")} - {"__init__"}
    for name in names:
        siblings = {f"objectives.{other}" for other in names - {name}}
        assert not siblings & imported(ROOT / f"objectives/{name}.py")


def test_models_know_neither_lightning_nor_text() -> None:
    for path in (ROOT / "models").rglob("*.py"):
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & {"lightning", "datasets", "tokenizers", "wandb", "transformers"}


def test_nothing_needs_transformers_at_run_time() -> None:
    for path in [*MODULES, *SCRIPTS]:
        if path not in {ROOT / "export.py", *(ROOT / "models/huggingface").glob("*.py")}:
            assert "transformers" not in {name.split(".")[0] for name in imported(path)}


def test_no_name_at_the_root_shadows_a_module() -> None:
    names = {path.stem for path in SCRIPTS} | {*PACKAGES}
    assert not names & (set(sys.stdlib_module_names) | {"tokenizers", "datasets", "evaluate", "torch", "lightning"})


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS, *BENCHMARKS], ids=relative)
def test_no_file_outgrows_its_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_tests_lie_in_folders_and_files_of_no_more() -> None:
    files = [path for path in (ROOT / "tests").rglob("*.py") if "old_runs" not in path.parts]
    assert not [relative(path) for path in files if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_FILE]
    sizes = Counter(path.parent for path in files)
    assert not {relative(folder): size for folder, size in sizes.items() if size > MOST_FILES}


def _classes() -> Iterator[tuple[str, str]]:
    for path in [*MODULES, *SCRIPTS, *BENCHMARKS]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield node.name, relative(path)


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for name, path in _classes():
        places[name].append(path)
    assert not {name: paths for name, paths in places.items() if len(paths) > 1}


def test_the_root_holds_what_a_newcomer_expects_and_nothing_that_a_run_left() -> None:
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no checkout of git")
    names = {name.split("/")[0].strip('"') for name in listed.splitlines()}
    folders = {name for name in names if (ROOT / name).is_dir()}
    assert folders == {*PACKAGES, ".ci", "benchmarks", "configs", "docs", "results", "tests"}
    kinds = {Path(name).suffix or name for name in names - folders}
    assert kinds <= {".py", ".md", ".toml", ".txt", ".yml", "Makefile", "LICENSE", ".gitignore"}
