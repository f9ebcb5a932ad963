"""A run's folder, which records all of a run, and what may change when the same run goes on.

runs/NAME/
    config.yaml         every setting, as it was resolved
    run.json            versions, data and tokenizer hashes, sizes, the W&B id
    tokenizer.json
    metrics.csv         every number that was logged
    summary.json        what came out, once the budget is used up
    checkpoints/
    wandb/
"""

import csv
import importlib.metadata
import json
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from common.errors import UserError
from common.files import write_whole
from training.storage.checkpoint import checkpoint_name, checkpoint_step, checkpoints_in, damage, newest_sound
from training.storage.old_names import renamed_info, renamed_metrics, renamed_settings

REPOSITORY = Path(__file__).parents[2]  # where the scripts and configs/ lie
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

# What a run may go on with otherwise than it began: how it is computed and shown, not what is computed.
FREE = (
    *(
        "config",
        "name",
        "runs",
        "resume",
        "branch_from",
        "compile",
        "gradient_checkpointing",
        "logging",
        "checkpoints",
        "validation",
    ),
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.deterministic"),
    *("data.micro_batch_size", "data.workers", "data.cache"),
)


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dictionaries under their dotted names."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _numbered(value: Any) -> Any:
    """The same, lists of dictionaries as dictionaries under their entries' numbers."""
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        value = {str(number): entry for number, entry in enumerate(value)}
    return {key: _numbered(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """`key: before -> now` for every setting that must not change and did; of a mixture's tasks by their numbers."""
    old, new = (dict(flat(_numbered(settings))) for settings in (before, now))
    keys = [key for key in {**old, **new} if not any(key == name or key.startswith(f"{name}.") for name in FREE)]
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def commit() -> str | None:
    """The checked-out commit of this project, where there is one; with a + where files differ from it."""
    try:
        described = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _read_settings(path: Path) -> dict[str, Any]:
    return renamed_settings(yaml.safe_load(path.read_text(encoding="utf-8")))


def _set(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that are set to something: a new one that is null is as good as one that there was not."""
    return {key: value for key, value in flat(config) if value is not None}


def lock_folder(folder: Path, kind: str) -> FileLock:
    """Makes the folder of a run or a study, and takes it for this process.

    Raises:
        UserError: where another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder} is in use by another process; give this {kind} another --name") from None
    return lock


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> "RunFolder":
        """The run that a path names: its folder, or one of the checkpoints in it."""
        return cls(path if checkpoint_step(path) is None else path.parent.parent)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    def lock(self) -> FileLock:
        """Takes the folder for this process (`lock_folder`)."""
        return lock_folder(self.path, "run")

    def set_aside(self) -> Path | None:
        """Moves what an earlier run left to NAME.1, NAME.2, ...; returns where it went."""
        if not self.is_run:
            return None
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.{number}")).exists():
            number += 1
        self.path.rename(aside)
        return aside

    @property
    def has_started(self) -> bool:
        """Whether a run got as far as its data, so that there is something to go on with."""
        return "data" in self.read_info()

    def check_same(self, config: dict[str, Any]) -> None:
        """Refuses to go on with a run of other settings; one that failed before it began may be set right.

        Raises:
            UserError: naming each setting with both values.
        """
        if not self.is_run or not self.has_started:
            return
        changed = differences(self.read_config(), config)
        if changed:
            raise UserError(
                f"{self.path} holds a run with other settings ({'; '.join(changed)}): give this one another --name, or "
                f"set the old one aside with --resume never"
            )

    @property
    def is_run(self) -> bool:
        """Whether the folder is a run's."""
        return (self.path / "config.yaml").is_file()

    def read_config(self) -> dict[str, Any]:
        """Every setting that `config.yaml` holds."""
        return _read_settings(self.path / "config.yaml")

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.yaml, or, for a later session that is computed otherwise, config-2.yaml and so on."""
        number, path = 1, self.path / "config.yaml"
        while path.exists() and self.has_started:
            if _set(_read_settings(path)) == _set(config):
                return
            number += 1
            path = self.path / f"config-{number}.yaml"
        write_whole(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def read_info(self) -> dict[str, Any]:
        """What `run.json` holds."""
        path = self.path / "run.json"
        return renamed_info(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def write_info(self, **info: Any) -> dict[str, Any]:
        """Adds to `run.json`; what is there of versions and the W&B id stays."""
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        fixed = {
            "wandb_id": secrets.token_hex(4),
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "versions": versions,
            "commit": commit(),
        }
        merged = {**fixed, **self.read_info(), **info}
        write_whole(self.path / "run.json", json.dumps(merged, indent=2, ensure_ascii=False))
        return merged

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes what came out, whole or not at all."""
        write_whole(self.path / "summary.json", json.dumps(summary, indent=2))

    def read_summary(self) -> dict[str, Any] | None:
        """What came out, if the run has come to its end.

        A process that was killed between its summary and its last checkpoint did not come to it.
        """
        path = self.path / "summary.json"
        if not path.exists():
            return None
        summary, found = renamed_metrics(json.loads(path.read_text(encoding="utf-8"))), checkpoints_in(self.checkpoints)
        return None if found and checkpoint_step(found[0]) != summary["steps"] else summary

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of `metrics.csv`, with every column in each; none where nothing was logged yet."""
        if not self.metrics.is_file():
            return []
        with self.metrics.open(newline="", encoding="utf-8") as file:
            return [renamed_metrics(row) for row in csv.DictReader(file)]

    def checkpoint(self, step: int | None = None) -> Path:
        """The newest sound checkpoint, or the one after `step` optimizer steps.

        Raises:
            UserError: where there is no such checkpoint, or it is damaged.
        """
        if not self.is_run:
            raise UserError(f"'{self.path}' is not a run: it has no config.yaml")
        if step is None:
            found = newest_sound(self.checkpoints, warn=partial(print, file=sys.stderr))
            if found is None:
                raise UserError(f"'{self.path}' has no checkpoint yet")
            return found
        path, there = self.checkpoints / checkpoint_name(step), checkpoints_in(self.checkpoints)
        if path not in there:
            steps = ", ".join(str(checkpoint_step(other)) for other in there)
            raise UserError(f"'{self.path}' has no checkpoint of step {step}; it has {steps or 'none'}")
        if name := damage(path):
            raise UserError(f"checkpoint {path}: {name} is damaged (its SHA-256 differs)")
        return path

    def checkpoint_to_resume(self, warn: Callable[[str], None]) -> Path | None:
        """The newest sound checkpoint; what a killed process left half written goes.

        Raises:
            UserError: where there are checkpoints and all are damaged.
        """
        for unfinished in self.checkpoints.glob(".*.writing"):
            shutil.rmtree(unfinished, ignore_errors=True)
        return newest_sound(self.checkpoints, warn)
