"""What --help prints: a script's docstring as it is written, few lines of usage, and types in a reader's words."""

import argparse
import inspect
import types
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import DefaultHelpFormatter

MOST_IN_USAGE = 24  # options: more cannot be taken in at a glance
_OF_DEFAULTS = "Note: default values below are the ones overridden by the contents of"
WORDS = {str: "text", int: "int", float: "number", bool: "true | false", type(None): "null", Any: "YAML"}


def in_words(hint: Any) -> str:
    """A type as a reader of --help knows it: `int | null`, `a | b`, `list of text`, `path`."""
    if hint in WORDS:
        return WORDS[hint]
    kinds = get_args(hint)
    origin = get_origin(hint)
    if origin is Literal:
        return " | ".join(map(str, kinds))
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(map(in_words, kinds)))
    if origin in (tuple, list, set):
        within = [in_words(kind) for kind in kinds if kind is not ...]
        if len(within) > 1:
            return f"[{', '.join(within)}]"
        return f"list of ({within[0]})" if " | " in within[0] else f"list of {within[0]}"
    if origin is dict:
        return "settings by name"
    name = getattr(hint, "__name__", str(hint))
    return name.lower() if inspect.isclass(hint) and hint.__module__.startswith("pathlib") else name


class HelpText(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """jsonargparse's help; examples keep their lines, and a usage of dozens of settings is one line."""

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: Any, **kwargs: Any) -> None:
        known = list(actions)
        if usage is None and sum(bool(action.option_strings) for action in known) > MOST_IN_USAGE:
            usage = f"{self._prog} [--config FILE ...] [--setting VALUE ...]"
        super().add_usage(usage, known, *args, **kwargs)

    def add_text(self, text: str | None) -> None:
        if not (text and _OF_DEFAULTS in text):  # which the script's own text names in fewer words
            super().add_text(text)

    def _get_type_str(self, action: argparse.Action) -> str | None:
        hint = getattr(action, "_typehint", None)
        hint = action.type if hint is None else hint
        if hint is None:
            return super()._get_type_str(action)
        return None if get_origin(hint) is Literal else in_words(hint)  # choices stand beside the option's name
