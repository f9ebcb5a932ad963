"""YAML that would take all memory or the process with it, or that hides a mistake, is refused with its line."""

from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from tests.helpers import ROOT
from training.storage.yaml_text import check_yaml, read_yaml

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)
REFUSED = {
    "a key that stands twice": ("data:\n  window: 32\n  seed: 1\n  window: 64\n", "'window' stands twice .* line 2"),
    "a key that stands twice on top": ("seed: 1\nseed: 2\n", "'seed' stands twice"),
    "a key that stands twice in a list": ("arms: [{a: 1, a: 2}]", "'a' stands twice"),
    "aliases that multiply": (BOMB, r"line \d+ stands for more than 100,000 values"),
    "an alias of itself": ("a: &a [*a]", "holds itself by an alias"),
    "lists in lists": ("a: " + "[" * 200_000, "nested more than 100 levels deep"),
    "lists in lists without brackets": ("- " * 200_000 + "x", "nested more than 100 levels deep"),
    "a NUL in a value": ('a: "x\\0y"', "holds a NUL character"),
    "a NUL in a key": ('"x\\0y": 1', "holds a NUL character"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_with_its_line(kind: str) -> None:
    text, expected = REFUSED[kind]
    with pytest.raises(UserError, match=expected) as refused:
        check_yaml(text)
    assert isinstance(refused.value, yaml.YAMLError)  # which readers of files know, and add the file's name


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_accepted(path: Path) -> None:
    check_yaml(path.read_text(encoding="utf-8"))


def test_aliases_and_merged_blocks_may_be_used() -> None:
    check_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: [*a, *a]\n")
    check_yaml("")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[1]", "must hold settings, and holds list"),
        (b"", "must hold settings, and holds NoneType"),
        (b"a: 2001-99-99", "is no YAML of settings"),
        (b"a: !!python/object/apply:os.getcwd []", "is no YAML of settings"),
        (b"a: [1", "is no YAML of settings"),
        (b"\xff\xfe\x00", "is no YAML of settings"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"config.yaml {expected}"):
        read_yaml(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file '.*config.yaml'"):
        read_yaml(tmp_path / "config.yaml")
