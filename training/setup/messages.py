"""A user's mistake in one line: jsonargparse's message without its scaffolding, and the nearest valid name."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from jsonargparse import ArgumentParser
from lightning.pytorch.utilities import rank_zero_only

_SCAFFOLDING = re.compile(
    r"^(Does not validate against any of|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|"
    r"Not a valid subclass|Expected a path but|Problem with given class_path .*:$|Parser key \"(?P<key>[\w.]+)\":$)"
)
_UNKNOWN = re.compile(r"(?:unrecognized arguments?: |Option '|Key '|option '|no attribute ')(?:--)?(?P<name>[\w.]+)")
_CLASS = re.compile(r"class_path '(?P<path>[\w.]+)'")


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like `name`, compared in full and by its last part."""
    names = sorted(set(valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return close[0]
    by_last = {full.rsplit(".", 1)[-1]: full for full in names}
    last = difflib.get_close_matches(name.rsplit(".", 1)[-1], by_last, n=1, cutoff=0.7)
    return by_last[last[0]] if last else None


def one_line(message: str, valid: Iterable[str] = ()) -> str:
    """`message` as one line: its key, what is wrong, and a valid name like the unknown one."""
    keys = [
        match["key"] for line in message.splitlines() if (match := _SCAFFOLDING.match(line.strip())) and match["key"]
    ]
    lines = [line.strip().removeprefix("- ").strip() for line in message.splitlines()]
    text = " ".join(line for line in dict.fromkeys(lines) if line and not _SCAFFOLDING.match(line))
    for key in keys[-1:]:
        if key not in text:
            text = f"{key}: {text}"
    unknown = _UNKNOWN.search(message)
    suggestion = nearest(unknown["name"], valid) if unknown else None
    return f"{text}; did you mean '{suggestion}'?" if suggestion else text


def leave(message: str) -> NoReturn:
    """Ends the process with a user's mistake: one line, status 2, from one process of many."""
    if getattr(rank_zero_only, "rank", 0) in (None, 0):
        sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {message}\n")
    raise SystemExit(2)


class OneLineErrors(ArgumentParser):
    """A parser that refuses what it does not know in one line."""

    def valid_names(self) -> Iterator[str]:
        """Every name that a setting may have."""
        yield from (action.dest for action in self._actions if action.dest != argparse.SUPPRESS)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:  # jsonargparse tries the members of a union in turn
            super().error(message, ex)
        leave(one_line(message, self.valid_names()))
