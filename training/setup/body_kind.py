"""Which body a run has: a typed union of settings, of which `body.kind` in a config or on the command line names one.

The class is chosen before the parser is built, so that every setting is checked against its own signature; without a
name it is the first of the union.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import yaml
from jsonargparse import get_loader

from common.errors import UserError

FLAG = "--body.kind"


def _read(path: str) -> Any:
    try:
        return get_loader("yaml")(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):  # the parser that reads the file names the mistake
        return None


def kind_of(settings: Any) -> str | None:
    """What `body.kind` is in the settings of a config; None where they do not name it."""
    if not isinstance(settings, dict):
        return None
    body = settings.get("body")
    return settings.get("body.kind") or (body.get("kind") if isinstance(body, dict) else None)


def _named(arguments: Sequence[str]) -> Iterator[str]:
    """The kinds that a command line names, in its order, the last of which counts."""
    for argument, following in pairwise([*arguments, ""]):
        option, _, value = argument.partition("=")
        value = value or following
        if option == FLAG:
            yield value
        elif option == "--config" and (kind := kind_of(_read(value))):
            yield kind


def chosen_body(union: Any, arguments: Sequence[str]) -> type:
    """The member of a union of settings that a command line names.

    Raises:
        UserError: where it has no such member.
    """
    members = get_args(union) or (union,)
    kinds = {getattr(member, "kind", "transformer"): member for member in members}
    *_, name = [next(iter(kinds)), *_named(arguments)]
    if name not in kinds:
        raise UserError(f"body.kind = {name} is none of {', '.join(kinds)}")
    return kinds[name]


def _own(member: type) -> set[str]:
    return {field.name for field in fields(member)}


def flags_of_others(union: Any, chosen: type) -> list[str]:
    """The flags of settings that other members of a union have and the chosen one has not."""
    others = {name for member in get_args(union) for name in _own(member)}
    return sorted(f"--body.{name}" for name in others - _own(chosen)) if get_args(union) else []


def of_this_body(settings: Any, union: Any, chosen: type) -> Any:
    """The settings of a config, without those of other bodies where it names no body.

    So a file for any run, such as base.yaml or one of configs/shapes, gives a recurrent body its width and layers.
    """
    if not isinstance(settings, dict) or not isinstance(settings.get("body"), dict):
        return settings
    body = {name: value for name, value in settings["body"].items() if (name, value) != ("kind", "transformer")}
    if kind_of(settings) is None or len(body) < len(settings["body"]):
        others = {name for member in get_args(union) for name in _own(member)} - _own(chosen)
        body = {name: value for name, value in body.items() if name not in others}
    return {**settings, "body": body}
