"""The field's words: names and prose that the design retired stand nowhere, but where a reason is given.

As a command it lists what is left: python -m tests.test_names [path ...].
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGES = ("data", "models", "training", "objectives", "finetuning", "evaluation", "benchmarks")
FILES = sorted([*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))])
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))

# Parts of identifiers, as snake_case and CamelCase divide them, and of module names.
PARTS = {
    *("say", "says", "said", "saying", "ask", "asks", "asked", "asking", "tell", "tells", "told"),
    *("sitting", "story", "yardstick", "yardsticks", "stranger", "strangers", "extent", "extents", "gather", "gathers"),
    *("framing", "fairness", "departure", "departures", "judgement", "trunk", "graft", "fork", "forks", "begun"),
    *("fault", "faults", "thawed", "conclude", "concludes", "concluded", "crew", "shown"),
}
WHOLE = {"outputs_of", "Questions", "Reading", "Place", "Slot", "Board", "Answer", "final", "clip", "right"}
MODULES = {"conduct", "measuring", "reader", "reading", "comparing", "words", "notation", "page", "drawing"}
KEYS = {"final", "clip", "forks", "yardsticks", "transformer"}  # of configs
WORDS = re.compile(
    r"\b(says?|said|saying|unsaid|told|tells?|telling|asks?|asked|asking|sittings?|stor(?:y|ies)|yardsticks?|strangers?|"
    r"extents?|gather(?:s|ed|ing)?|framings?|fairness|departures?|judgements?|trunks?|grafts?|grafted|forks?|"
    r"begun with|faults?|thaw(?:s|ed)?|concludes?|concluded)\b|\d ?% right\b|\bsharing out\b|\bshares? out\b",
    re.IGNORECASE,
)
# What remains, with its reason: a path or "" for everywhere, then the text around the word.
REMAINS: dict[tuple[str, str], str] = {
    ("evaluation/record/files.py", "departures"): "a field of results.json as the first edition wrote it",
    ("evaluation/record/files.py", "cannot tell"): "a verdict of results.json as the first edition wrote it",
    ("evaluation/record/files.py", "stranger"): "a kind of cell in results.json as the first edition wrote it",
    ("evaluation/record/files.py", "said"): "a kind of cell in results.json as the first edition wrote it",
    ("evaluation/record/files.py", "says"): "a row of a sample in results.json as the first edition wrote it",
    ("data/store/store.py", "faults"): "the key that manifests of the first edition have",
    ("training/storage/old_names.py", "start.framing"): "the setting that a run's config of the first edition has",
    ("training/storage/old_names.py", "forks"): "the key that studies of the first edition have",
    ("training/storage/old_names.py", "departures"): "the key that results of the first edition have",
    ("training/storage/old_names.py", "data.faults"): "the key that run.json of the first edition has",
}


def parts_of(name: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def own_identifiers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Names that a file gives: of classes, functions, arguments, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def prose(text: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines of docstrings, messages and comments of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from enumerate(node.value.splitlines(), start=node.lineno)
    # A sign of a comment in a string begins what is prose already.
    yield from ((number, line.partition("#")[2]) for number, line in enumerate(text.splitlines(), start=1))


@cache
def read(path: Path) -> tuple[set[tuple[int, str]], set[tuple[int, str]]]:
    """The names that a module gives, and its prose; of a document or a config all lines are prose."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return set(), {*enumerate(text.splitlines(), start=1)}
    tree = ast.parse(text)
    return {*own_identifiers(tree)}, {*prose(text, tree)}


def retired_names(path: Path) -> list[str]:
    where = path.relative_to(ROOT).as_posix()
    found = {(line, name) for line, name in read(path)[0] if parts_of(name) & PARTS or name in WHOLE}
    modules = [f"{where}: the module's name"] if path.stem in MODULES else []
    return modules + [f"{where}:{line}: {name}" for line, name in sorted(found) if (where, name) not in REMAINS]


def retired_words(path: Path) -> list[str]:
    where = path.relative_to(ROOT).as_posix()
    remains = [text for (place, text) in REMAINS if place in ("", where)]
    found = []
    for number, line in read(path)[1]:
        for text in remains:
            line = line.replace(text, "")
        found += [f"{where}:{number}: {match.group()}" for match in WORDS.finditer(line)]
    return sorted(set(found))


def keys_of(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield str(key)
            yield from keys_of(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from keys_of(value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_retired_name_is_given(path: Path) -> None:
    assert retired_names(path) == []


@pytest.mark.parametrize("path", [*FILES, *DOCUMENTS, *CONFIGS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_retired_word_is_written(path: Path) -> None:
    assert retired_words(path) == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_config_has_a_retired_key(path: Path) -> None:
    assert not set(keys_of(yaml.safe_load(path.read_text(encoding="utf-8")))) & KEYS


def test_every_remainder_has_its_reason_and_still_stands() -> None:
    for (place, text), reason in REMAINS.items():
        assert len(reason) > 10
        assert not place or text in (ROOT / place).read_text(encoding="utf-8")


if __name__ == "__main__":
    chosen = [ROOT / name for name in sys.argv[1:]]
    for path in [*FILES, *DOCUMENTS, *CONFIGS]:
        if not chosen or any(path == one or one in path.parents for one in chosen):
            for line in (retired_names(path) if path.suffix == ".py" else []) + retired_words(path):
                print(line)
