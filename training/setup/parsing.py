"""The parser of every script: a user's mistake in one line."""

import argparse
import importlib
import inspect
import itertools
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, get_args, get_origin

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, get_loader, set_loader

from common.errors import UserError
from training.script.endings import leave
from training.script.help_text import HelpText
from training.script.messages import one_line
from training.setup.command_line import keep_schema
from training.storage.yaml_text import YamlRefused, check_yaml, load

_PARSERS = ("jsonargparse", "yaml")  # whose own errors are about what the user wrote


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what it was raised in place of, down to the first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def is_users(error: BaseException) -> bool:
    """Whether a value that the user wrote is at the bottom of an error: a UserError, or a parser's own."""
    causes = list(_causes(error))
    frames = traceback.extract_tb(causes[-1].__traceback__)
    is_parsers = bool(frames) and Path(frames[-1].filename).parent.name in _PARSERS
    return is_parsers or any(isinstance(cause, UserError) for cause in causes)


@contextmanager
def refusing(prefix: str = "", valid: Iterable[str] = ()) -> Iterator[None]:
    """Turns what jsonargparse refuses, in its several lines, into a UserError of one line.

    Args:
        prefix: stands before the line.
        valid: names that a setting may have.

    Raises:
        UserError: where the user's value is at the bottom of it; an exception of ours keeps its kind.
    """
    try:
        yield
    except (ArgumentError, ValueError, TypeError, OverflowError) as error:
        if not is_users(error) or (type(error) is UserError and not prefix):
            raise
        raise UserError(f"{prefix}{one_line(str(error), valid)}") from error


def load_yaml(text: str) -> Any:
    """YAML as jsonargparse reads it, of settings and of their values.

    Raises:
        yaml.YAMLError: also for what `check_yaml` refuses.
    """
    check_yaml(text)
    try:
        return _LOAD_YAML(text)
    except ValueError as error:  # a number of thousands of digits, a date that there is not
        raise YamlRefused(str(error)) from error


_LOAD_YAML = get_loader("yaml")
set_loader("yaml", load_yaml, exceptions=(yaml.YAMLError, ValueError))


def subclasses(cls: type) -> Iterator[type]:
    """Every subclass that is imported."""
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def settings_of_class(cls: type) -> Iterator[str]:
    """The names that the constructors of a class take."""
    for parent in cls.__mro__:
        if "__init__" in vars(parent):
            yield from (name for name in inspect.signature(parent.__init__).parameters if name != "self")


def _holds_settings(hint: Any) -> bool:
    """Whether a value of a type can have settings by name: an object of a class, a dictionary, or anything."""
    if get_origin(hint) is dict or hint in (dict, Any):
        return True
    if kinds := get_args(hint):
        return any(map(_holds_settings, kinds))
    return inspect.isclass(hint) and hint.__module__ not in ("builtins", "pathlib")


class OneLineErrors(ArgumentParser):
    """A parser that refuses what it does not know in one line.

    Attributes:
        describes_script: whether it is the whole command line of its script, so that `command_line.py` may keep it.
        other_flags: flags of its script that another parser takes.
    """

    is_described: ClassVar[bool] = False
    describes_script: bool = True
    other_flags: tuple[str, ...] = ()
    _file: Any = None  # that is being read

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": HelpText, **kwargs})

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

    def holders(self) -> Iterator[str]:
        """Every setting behind whose name and a dot others may stand, groups apart."""
        yield from (action.dest for action in self._actions if _holds_settings(getattr(action, "_typehint", None)))

    def _check_flags(self, arguments: Sequence[str]) -> None:
        """Refuses `--setting.name` where a setting is a number, a text or a list: jsonargparse takes it for a pair."""
        settings = {action.dest for action in self._actions if hasattr(action, "_typehint")} - set(self.holders())
        for argument in itertools.takewhile(lambda argument: argument != "--", arguments):
            flag = argument.partition("=")[0]
            setting, _, name = flag.removeprefix("--").rpartition(".")
            if flag.startswith("--") and setting in settings and name:
                self.error(f"unrecognized arguments: {flag}")

    def describe(self) -> None:
        """Keeps what the command line may hold for the next call, where this is the script's own: a process's first."""
        if self.describes_script and not OneLineErrors.is_described:
            OneLineErrors.is_described = True
            keep_schema(self)

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:
        """The settings of a command line.

        Raises:
            UserError: for a value that a type, or a loader of files, refuses with an error of its own.
        """
        self.describe()
        given = args[0] if args else kwargs.get("args")
        self._check_flags(sys.argv[1:] if given is None else given)
        with refusing(valid=self.valid_names()):
            return super().parse_args(*args, **kwargs)

    def instantiate(self, *args: Any, **kwargs: Any) -> Namespace:
        """The objects that settings describe.

        Raises:
            UserError: for a value that a constructor refuses.
        """
        with refusing(valid=self.valid_names()):
            return super().instantiate(*args, **kwargs)

    def class_settings(self) -> dict[str, type]:
        """The settings whose value is an object of some subclass, by their names."""
        return {}

    def import_classes(self) -> None:
        """Imports every module of the packages of `class_settings`, so that all of their subclasses are known."""
        for base in self.class_settings().values():
            package = importlib.import_module(base.__module__.split(".")[0])
            for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                importlib.import_module(found.name)

    def settings_of(self, base: type) -> dict[str, list[str]]:
        """The settings of every subclass that is imported, by its dotted path."""
        return {f"{cls.__module__}.{cls.__name__}": sorted(set(settings_of_class(cls))) for cls in subclasses(base)}

    def choices(self) -> dict[str, Sequence[str]]:
        """Every name on the command line, with its values where they are a closed list."""
        hints = {action.dest: getattr(action, "_typehint", None) for action in self._actions}
        return {name: get_args(hint) if get_origin(hint) is Literal else () for name, hint in hints.items()}

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:  # jsonargparse tries the members of a union in turn
            super().error(message, ex)
        line = one_line(message, self.valid_names(), self.choices())
        leave(f"{self._file}: {line}" if self._file else line)


def _defaults_in(parser: ArgumentParser) -> dict[str, Any]:
    """The defaults of a parser as config.yaml writes settings, without those of the configs that lie under it."""
    below, parser.default_config_files = parser.default_config_files, []
    try:
        defaults = parser.get_defaults()
    finally:
        parser.default_config_files = below
    return load(parser.dump(defaults, skip_unset=False, skip_validation=True, format="yaml")) or {}


def _defaults_of_class(class_path: str) -> dict[str, Any]:
    parser = ArgumentParser(exit_on_error=False)
    made_by = pkgutil.resolve_name(class_path)  # a class, or a function that returns an object of one
    add = parser.add_class_arguments if isinstance(made_by, type) else parser.add_function_arguments
    add(made_by, fail_untyped=False)
    return _defaults_in(parser)


def _named_classes(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The dotted path of each `init_args` in a config, in lists by numbers; and the class that takes them."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        yield from _named_classes(value, f"{path}{key}.")
    if isinstance(tree, dict) and "class_path" in tree and "init_args" in tree:
        yield f"{path}init_args", tree["class_path"]


def setting_defaults(parser: ArgumentParser, config: dict[str, Any]) -> dict[str, Any]:
    """The default of every setting that a run has by the signatures of today, nested or under dotted names.

    Args:
        parser: of the run, which knows the groups of settings.
        config: every setting of the run, which names the classes of its objective or its tasks.
    """
    return _defaults_in(parser) | {path: _defaults_of_class(class_path) for path, class_path in _named_classes(config)}


BUDGETS = ("raw_tokens", "steps", "flops", "target_tokens", "epochs", "minutes")


def one_budget(arguments: Sequence[str]) -> list[str]:
    """The command line, with the other budgets taken back where it sets one."""
    named = {argument.split("=")[0].removeprefix("--budget.") for argument in arguments if "--budget." in argument}
    chosen = [name for name in BUDGETS if name in named]
    unset = [f"--budget.{name}=null" for name in BUDGETS if len(chosen) == 1 and name not in chosen]
    return [*arguments, *unset]
