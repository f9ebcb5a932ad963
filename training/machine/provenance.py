"""What a session of a run is computed by: the code, the libraries, Python and the machine."""

import importlib.metadata
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from typing import Any

from common.repository import REPOSITORY, sha256_of_files, source_files

PACKAGES = (
    "torch",
    "lightning",
    "datasets",
    "tokenizers",
    "wandb",
    "jsonargparse",
    "safetensors",
    "sentencex",
    "numpy",
)


@cache
def commit() -> str | None:
    """The checked-out commit of this project, where there is one; with a + where files differ from it."""
    try:
        described = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def versions() -> dict[str, str]:
    """Of the libraries that compute a run: those that this process has loaded."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


@cache
def code_sha256() -> str:
    """Hash of all that computes a run.

    A process computes by the code that it has loaded, so both this and the commit are read once.
    """
    return sha256_of_files(source_files())


def provenance() -> dict[str, Any]:
    """Python, platform, versions of libraries, commit and hash of the code, of this process."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": dict(versions()),
        "commit": commit(),
        "code_sha256": code_sha256(),
    }


def session() -> dict[str, Any]:
    """What run.json keeps of a session: when it began, and its provenance."""
    return {"began": datetime.now(UTC).isoformat(timespec="seconds"), **provenance()}


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """`torch 2.12.0 -> 2.13.0` for each part of a session's provenance that is another than in the one before.

    What the one before did not record is left out.
    """
    old = {**before, **before.get("versions", {})}
    new = {**now, **now["versions"]}
    found = [
        f"{name} {old[name]} -> {new[name]}"
        for name in ("python", "platform", *PACKAGES)
        if old.get(name) is not None and old[name] != new[name]
    ]
    key = "code_sha256" if "code_sha256" in old else "commit"  # which earlier versions recorded alone
    if old.get(key) is not None and old[key] != new[key]:
        label = "commit" if None not in (old["commit"], new["commit"]) and old["commit"] != new["commit"] else key
        found.append(f"code {old[label]:.12} -> {new[label] or 'unknown':.12}")
    return found
