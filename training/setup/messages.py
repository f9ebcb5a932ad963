"""A user's mistake in one line: jsonargparse's message without its scaffolding, and the nearest valid name."""

import argparse
import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, Namespace, get_loader, set_loader

from common.errors import UserError
from training.setup.endings import leave
from training.setup.refusals import refusing
from training.storage.yaml_text import check_yaml

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


def load_yaml(text: str) -> Any:
    """YAML as jsonargparse reads it, of settings and of their values.

    Raises:
        yaml.YAMLError: also for what `check_yaml` refuses.
    """
    check_yaml(text)
    return _LOAD_YAML(text)


_LOAD_YAML = get_loader("yaml")
set_loader("yaml", load_yaml, exceptions=(yaml.YAMLError, ValueError))


class OneLineErrors(ArgumentParser):
    """A parser that refuses what it does not know in one line."""

    _file: Any = None  # that is being read

    def valid_names(self) -> Iterator[str]:
        """Every name that a setting may have."""
        yield from (action.dest for action in self._actions if action.dest != argparse.SUPPRESS)

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """The settings of a file's text; a value where a group of settings stands is refused, not passed over."""
        try:
            tree = load_yaml(content)
        except (yaml.YAMLError, ValueError):  # the parser names the mistake
            tree = None
        given = tree if isinstance(tree, dict) else {}
        for name in [name for name in self.groups or {} if not isinstance(given.get(name, {}), dict)]:
            within = [setting for setting in self.valid_names() if setting.startswith(f"{name}.")]
            self.error(f"{name} = {given[name]} must be settings by name: {', '.join(within)}")
        return super().parse_string(content, *args, **kwargs)

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> Namespace:
        """The settings of a file, which messages name."""
        self._file = cfg_path
        try:
            return super().parse_path(cfg_path, *args, **kwargs)
        except UnicodeDecodeError as error:
            raise UserError(f"{cfg_path} is no text in UTF-8 ({error.reason} at byte {error.start})") from error
        finally:
            self._file = None

    def instantiate(self, *args: Any, **kwargs: Any) -> Namespace:
        """The objects that settings describe.

        Raises:
            UserError: for a value that a constructor refuses.
        """
        with refusing(valid=self.valid_names()):
            return super().instantiate(*args, **kwargs)

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:
        """The settings of a command line.

        Raises:
            UserError: for a value that a type, or a loader of files, refuses with an error of its own.
        """
        with refusing(valid=self.valid_names()):
            return super().parse_args(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:  # jsonargparse tries the members of a union in turn
            super().error(message, ex)
        line = one_line(message, self.valid_names())
        leave(f"{self._file}: {line}" if self._file else line)
