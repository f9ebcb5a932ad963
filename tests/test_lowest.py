"""The lower bounds of pyproject.toml, which `make test-lowest` installs."""

import re
import tomllib

from packaging.version import Version

from tests.lowest import PROJECT, lowest, requirements

GROUPS = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["dependency-groups"]
TESTED = re.findall(r"^([\w-]+)==([\w.]+)", (PROJECT.parent / "constraints.txt").read_text(encoding="utf-8"), re.M)


def test_every_package_of_a_run_has_a_lower_bound() -> None:
    assert len(lowest(GROUPS, "run")) == len(list(requirements(GROUPS, "run")))


def test_no_lower_bound_is_above_the_version_that_is_tested() -> None:
    tested = {name.lower().replace("_", "-"): Version(version) for name, version in TESTED}
    for bound in lowest(GROUPS, "dev"):
        name, version = bound.split("==")
        name = name.split("[")[0].lower().replace("_", "-")
        assert Version(version) <= tested[name], name
