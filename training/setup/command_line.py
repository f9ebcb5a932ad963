"""What a script does before the imports that take seconds: it answers --help and refuses a flag that there is not.

Both come from a schema that is made of the script's own parser, and so of the signatures, once for each state of the
code; it lies in `cache/command_lines/`, under a hash of all source files and of the versions of what parses. Whatever
this cannot decide, such as values, is left to the parser. The standard library alone is imported.
Then the environment is set up, which torch and OpenMP read when they are loaded.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.files import write_whole
from common.processors import set_up
from common.repository import REPOSITORY, sha256_of_files, source_files
from training.script.endings import leave
from training.script.messages import one_line

if TYPE_CHECKING:
    from training.setup.parsing import OneLineErrors

SCHEMAS = REPOSITORY / "cache/command_lines"
PARSERS = ("jsonargparse", "lightning")  # whose versions decide what a parser makes of signatures
HELP = ("-h", "--help")
HELP_COLUMNS = "100"
OF_CLASSES = ("class_path", "init_args", "help")  # what jsonargparse puts behind a setting whose value is an object
_CLASS_PATH = re.compile(r"class_path[\"']?\s*[:=]\s*[\"']?([\w.]+)")


@cache
def parser_sha256() -> str:
    """Hash of all that a parser is made of: the code, the configs, and the versions of what parses."""
    versions = [sys.version, *map(importlib.metadata.version, PARSERS)]
    configs = sorted((REPOSITORY / "configs").rglob("*.yaml"))
    files = sha256_of_files([*source_files(REPOSITORY), *configs], REPOSITORY)
    return hashlib.sha256(" ".join([*versions, files]).encode()).hexdigest()[:16]


def describe(parser: "OneLineErrors", script: str) -> dict[str, Any]:
    """The schema of a parser: its help, its options, which of them hold others, and the settings of classes."""
    parser.prog = script
    parser.import_classes()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = HELP_COLUMNS
    try:
        text = parser.format_help()
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    options = sorted(option for action in parser._actions for option in action.option_strings)
    return {
        "help": text,
        "options": [*options, *parser.other_flags],
        "holders": sorted(parser.holders()),
        "names": sorted(set(parser.valid_names())),
        "classes": {key: parser.settings_of(base) for key, base in parser.class_settings().items()},
    }


def _own_script() -> str | None:
    """The name of the script that this process runs; None where it runs something else, such as tests."""
    path = Path(sys.argv[0] or ".").absolute()
    return path.name if path.suffix == ".py" and path.resolve().parent == REPOSITORY else None


def text_of_script() -> str | None:
    """The docstring of the script that this process runs."""
    return sys.modules["__main__"].__doc__ if _own_script() else None


def _path_of(script: str) -> Path:
    return SCHEMAS / f"{script}-{parser_sha256()}.json"


def keep_schema(parser: "OneLineErrors") -> None:
    """Keeps the schema of this process's script for later calls, where it is not kept yet."""
    script = _own_script()
    if script is None or _path_of(script).exists():
        return
    try:
        SCHEMAS.mkdir(parents=True, exist_ok=True)
        for old in SCHEMAS.glob(f"{script}-*.json"):
            old.unlink(missing_ok=True)
        write_whole(_path_of(script), json.dumps(describe(parser, script), ensure_ascii=False))
    except OSError:  # where the code lies cannot be written to: the parser answers by itself, each time
        pass


def _flags(arguments: Sequence[str]) -> Iterator[str]:
    for argument in arguments:
        if argument == "--":
            return
        if argument.startswith("--"):
            yield argument.split("=", 1)[0]


def _named_classes(arguments: Sequence[str]) -> set[str]:
    """Dotted paths of classes that a command line names, itself or in its configs."""
    found: set[str] = set()
    for place, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        value = value or (arguments[place + 1] if place + 1 < len(arguments) else "")
        if flag in ("--config", "-c"):
            try:
                found |= set(_CLASS_PATH.findall(Path(value).read_text(encoding="utf-8", errors="replace")))
            except OSError:
                continue
        elif flag in ("--model", "--task") or flag.endswith(".class_path"):
            found.add(value)
    return found


def _is_known(flag: str, schema: dict[str, Any], named: set[str]) -> bool:
    """Whether the parser may know a flag; where that is open, it may."""
    if flag in schema["options"] or flag.removesuffix("+") in schema["options"]:
        return True
    parts = flag.removeprefix("--").removesuffix("+").split(".")
    for key, classes in schema["classes"].items():
        if parts[0] == key:
            rest = [part for part in parts[1:] if part not in OF_CLASSES]
            mine = [classes[name] for name in named if name in classes]
            if not rest or not mine or any(name.split(".")[-1] not in _last(classes) for name in named):
                return True  # of a class that is not this project's
            return any(rest[0] in settings for settings in mine)
    return any(".".join(parts[:size]) in schema["holders"] for size in range(1, len(parts)))


def _last(classes: dict[str, Any]) -> set[str]:
    return {name.split(".")[-1] for name in classes}


def refusal(schema: dict[str, Any], arguments: Sequence[str]) -> str | None:
    """The message on the first flag that the parser of a schema cannot know."""
    named = _named_classes(arguments)
    unknown = next((flag for flag in _flags(arguments) if not _is_known(flag, schema, named)), None)
    return one_line(f"unrecognized arguments: {unknown}", schema["names"]) if unknown else None


def answer_at_once() -> None:
    """Prints the help of this process's script, or refuses a flag, where its schema is kept; else returns."""
    script, arguments = _own_script(), sys.argv[1:]
    if script is None or not any(argument.startswith("-") for argument in arguments):
        return
    try:
        schema = json.loads(_path_of(script).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    before_words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if any(argument in HELP for argument in before_words):
        if os.environ.get("RANK", "0") == "0":
            print(schema["help"], end="")
        raise SystemExit(0)
    if (message := refusal(schema, arguments)) is not None:
        leave(message)


answer_at_once()  # every script imports this module first
set_up()
