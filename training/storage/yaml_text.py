"""YAML as settings are written in it: no key twice, no depth and no aliases that take all memory, no NUL."""

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError

DEEPEST, MOST = 100, 100_000  # levels, and values with those that aliases repeat: a study has about 5 and 500
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlRefused(UserError, yaml.YAMLError):
    """YAML that can be parsed, and is refused; a YAMLError too, so that whoever reads a file adds its name."""


def _too_deep(line: int) -> YamlRefused:
    return YamlRefused(f"line {line} is nested more than {DEEPEST} levels deep")


def _events(text: str) -> Iterator[yaml.Event]:
    """Those of the parser, which from PyYAML 6.0.4 on has a limit of its own, and meets it before its first event."""
    try:
        yield from yaml.parse(text, _Loader)
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in str(error.problem) and error.problem_mark is not None:
            raise _too_deep(error.problem_mark.line + 1) from None
        raise


def _check_events(text: str) -> None:
    """Refuses depth and NUL; in events, for nodes are made by recursion, which ends the process far down."""
    depth = 0
    for event in _events(text):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1
        if depth > DEEPEST:
            raise _too_deep(line)
        if isinstance(event, yaml.ScalarEvent) and "\0" in event.value:
            raise YamlRefused(f"line {line} holds a NUL character, which no name and no path may have")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    for child in node.value if isinstance(node, yaml.CollectionNode) else []:
        yield from child if isinstance(child, tuple) else (child,)


def _key(node: yaml.Node) -> Hashable:
    return (node.tag, node.value) if isinstance(node, yaml.ScalarNode) else id(node)


def _check_keys(node: yaml.MappingNode) -> None:
    own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]  # `<<` takes up another block
    found: set[Hashable] = set()
    for key in own:
        if _key(key) in found:
            line = node.start_mark.line + 1
            raise YamlRefused(
                f"'{key.value}' stands twice in the block that begins in line {line}: give each its own name"
            )
        found.add(_key(key))


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Values below a node, those of aliases as often as they are repeated; checks the keys of each block once."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise YamlRefused(f"line {node.start_mark.line + 1} holds itself by an alias")
        return sizes[id(node)]
    sizes[id(node)] = 0  # while it is counted
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
    size = 1 + sum(_size(child, sizes) for child in _children(node))
    if size > MOST:
        raise YamlRefused(f"line {node.start_mark.line + 1} stands for more than {MOST:,} values, with its aliases")
    sizes[id(node)] = size
    return size


def check_yaml(text: str) -> None:
    """Refuses a key that stands twice in a block, a NUL, and what would take all memory or stack.

    Raises:
        YamlRefused: naming the line.
        yaml.YAMLError: where the text is no YAML.
    """
    _check_events(text)
    if (node := yaml.compose(text, _Loader)) is not None:
        _size(node, {})


def load(text: str) -> Any:
    """What YAML stands for, as `yaml.safe_load` has it and ten times as fast where PyYAML has its parser in C."""
    return yaml.load(text, _Loader)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        UserError: where it is not there, or holds none.
        OSError: where it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        found = load(text)
    except FileNotFoundError:
        raise UserError(f"there is no file '{path}'") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no such date
        raise UserError(f"{path} is no YAML of settings: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} must hold settings, and holds {type(found).__name__}")
    return found
