"""The lowest versions that pyproject.toml allows, one a line, for pip: `make test-lowest` tests with them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_BOUND = re.compile(r"(?P<package>[\w-]+(\[[\w,-]+\])?)>=(?P<version>[\w.]+)")


def requirements(groups: dict[str, list[Any]], name: str) -> Iterator[str]:
    """The requirements of a group, those of the groups that it includes among them."""
    for entry in groups[name]:
        if isinstance(entry, dict):
            yield from requirements(groups, entry["include-group"])
        else:
            yield entry


def lowest(groups: dict[str, list[Any]], name: str) -> list[str]:
    """The packages of a group that have a lower bound, at that version."""
    found = (_BOUND.match(requirement) for requirement in requirements(groups, name))
    return [f"{bound['package']}=={bound['version']}" for bound in found if bound]


if __name__ == "__main__":
    print("\n".join(lowest(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["dependency-groups"], "dev")))
