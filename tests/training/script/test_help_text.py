"""--help shows a script's text as it is written, and types in a reader's words."""

import ast
from pathlib import Path
from typing import Any, Literal

import pytest

from evaluation.study.parse import make_parser
from objectives.core.base import Objective
from tests.helpers import ROOT
from training.script.help_text import in_words
from training.setup.parsing import OneLineErrors

EXAMPLES = "Does it.\n\n    python it.py runs \\\n        --json\n\nMore of it."


def test_examples_keep_their_lines() -> None:
    assert EXAMPLES in OneLineErrors(description=EXAMPLES).format_help()


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda path: path.name)
def test_no_line_of_a_scripts_text_is_swallowed(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source), clean=False)
    assert text
    assert text in source


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (str, "text"),
        (int | None, "int | null"),
        (bool | Literal["auto"], "true | false | auto"),
        (Literal["a", "b"] | None, "a | b | null"),
        (Path, "path"),
        (tuple[int, ...], "list of int"),
        (int | tuple[int, int], "int | [int, int]"),
        (str | list[str | None] | None, "text | list of (text | null) | null"),
        (dict[str, Any] | None, "settings by name | null"),
        (Objective, "Objective"),
    ],
)
def test_a_type_is_told_in_words(hint: Any, words: str) -> None:
    assert in_words(hint) == words


def test_dozens_of_settings_have_one_line_of_usage_and_few_are_all_named() -> None:
    few = OneLineErrors(prog="it.py")
    few.add_argument("--only", type=int, default=1)
    assert "[--only ONLY]" in few.format_usage()
    usage = make_parser("Compares.").format_usage()
    assert usage == "usage: compare.py [--config FILE ...] [--setting VALUE ...]\n"


def test_every_setting_of_a_study_is_explained() -> None:
    parser = make_parser(None)
    assert [action.dest for action in parser._actions if not action.help and "." not in action.dest] == []
