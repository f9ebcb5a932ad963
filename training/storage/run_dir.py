"""A run's folder, which records all of a run, and what may change when the same run goes on.

runs/NAME/
    config.yaml         every setting, as it was resolved
    run.json            versions, data, sizes, the W&B id, sessions; hashes of config.yaml, tokenizer.json and itself
    tokenizer.json
    metrics.csv         every number that was logged
    summary.json        what came out, once the budget is used up; hashes of metrics.csv, predictions.jsonl and itself
    checkpoints/
    wandb/

What gives weights and scores their meaning is read through `RunFolder`, which compares it with what was recorded.
"""

import hashlib
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from common.errors import UserError
from common.files import read_sealed, sha256_of_file, write_sealed, write_whole
from training.machine.lock import lock_folder
from training.machine.provenance import changes, provenance, session
from training.storage.checkpoint import checkpoint_name, checkpoint_step, checkpoints_in, damage, newest_sound
from training.storage.config_file import NONE, RESTORE, changed_settings, differences, parse_settings
from training.storage.metrics_file import parse_metrics
from training.storage.old_names import renamed_info, renamed_metrics

_OF_SUMMARY = ("run", "sha256")  # what summary.json holds beside what came out
_warned: set[Path] = set()  # folders from before there were hashes, each of which is named once


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
        return "data" in self.read_info() or bool(checkpoints_in(self.checkpoints))

    def check_same(self, config: dict[str, Any], defaults: Mapping[str, Any] = NONE) -> None:
        """Refuses to go on with a run of other settings; one that failed before it began may be set right.

        Raises:
            UserError: naming each setting with both values.
        """
        if not self.is_run or not self.has_started:
            return
        if "data" not in self.read_info():
            raise UserError(f"{self.path / 'run.json'} is missing, without which the run cannot go on; {RESTORE}")
        changed = differences(self.read_config(), config, defaults)
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
        """Every setting that `config.yaml` holds.

        Raises:
            UserError: where it is none of a run, or another than the run recorded.
        """
        path = self.path / "config.yaml"
        return parse_settings(path, self._recorded(path))

    def write_config(self, config: dict[str, Any], defaults: Mapping[str, Any] = NONE) -> None:
        """Writes config.yaml, or, for a later session that is computed otherwise, config-2.yaml and so on."""
        number, path = 1, self.path / "config.yaml"
        while path.exists() and self.has_started:
            if not changed_settings(parse_settings(path, path.read_bytes()), config, defaults):
                return
            number += 1
            path = self.path / f"config-{number}.yaml"
        write_whole(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    @property
    def tokenizer(self) -> Path:
        """Its tokenizer.json.

        Raises:
            UserError: where it is another than the run recorded.
        """
        path = self.path / "tokenizer.json"
        if path.is_file():
            self._recorded(path)
        return path

    def _recorded(self, path: Path) -> bytes:
        """The content of a file of which run.json has the hash.

        Raises:
            UserError: where it is another than the run recorded.
        """
        info, content = self.read_info(), path.read_bytes()
        data = info.get("data", {})
        of_store = {path.name: data["sha256"].get(path.name)} if "recipe" in data else {}  # in every version
        expected = info.get("sha256", of_store).get(path.name)
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise UserError(
                f"{path} is not what the run was trained with (its SHA-256 differs from that in run.json), so that its "
                f"weights and scores would mean something else; {RESTORE}"
            )
        if "sha256" not in info and self.path not in _warned and checkpoints_in(self.checkpoints):
            _warned.add(self.path)
            print(
                f"{self.path} was made before hashes were recorded: its files are believed as they stand",
                file=sys.stderr,
            )
        return content

    def hashes(self) -> dict[str, str]:
        """What run.json records of the files that give the weights their meaning."""
        files = (self.path / name for name in ("config.yaml", "tokenizer.json"))
        return {file.name: sha256_of_file(file) for file in files}

    def read_info(self) -> dict[str, Any]:
        """What `run.json` holds; empty where there is none.

        Raises:
            UserError: where it is torn, or another than the run wrote.
        """
        path = self.path / "run.json"
        return renamed_info(read_sealed(path, remedy=RESTORE)[0]) if path.exists() else {}

    def write_info(self, **info: Any) -> dict[str, Any]:
        """Adds to `run.json`; what is there of versions and the W&B id stays."""
        merged = {"wandb_id": secrets.token_hex(4), **provenance(), **self.read_info(), **info}
        write_sealed(self.path / "run.json", merged)
        return merged

    def begin_session(self) -> str | None:
        """Records by what this session is computed; returns a line where it is other than in the one before."""
        info, now = self.read_info(), session()
        sessions = info.get("sessions", [])
        changed = changes(sessions[-1] if sessions else info, now) if "data" in info else []
        self.write_info(sessions=[*sessions, now])
        if not changed:
            return None
        return (
            f"{self.path} goes on with other code or libraries than before, as run.json records: {', '.join(changed)}"
        )

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes what came out, whole or not at all, with the hashes of the files beside it."""
        files = [path for path in (self.metrics, self.path / "predictions.jsonl") if path.is_file()]
        hashes = {path.name: sha256_of_file(path) for path in files}
        write_sealed(self.path / "summary.json", {**summary, "run": self.read_info().get("wandb_id"), "sha256": hashes})

    def _summary(self) -> dict[str, Any] | None:
        """All that summary.json holds, if the run has come to its end."""
        path, run = self.path / "summary.json", self.read_info().get("wandb_id")
        if not path.exists():
            return None
        remedy = "remove it, and the command that trained the run writes it again"
        summary, found = read_sealed(path, remedy=remedy)[0], checkpoints_in(self.checkpoints)
        if "steps" not in summary or summary.get("run", run) != run:
            raise UserError(f"{path} is that of another run; {remedy}")
        is_saved = checkpoint_step(found[0]) == summary["steps"] if found else self.read_info().get("complete", True)
        return renamed_metrics(summary) if is_saved else None

    def read_summary(self) -> dict[str, Any] | None:
        """What came out, if the run has come to its end.

        A process that was killed between its summary and its last checkpoint did not come to it.

        Raises:
            UserError: where it is torn, or another than the run wrote.
        """
        summary = self._summary()
        return summary and {name: value for name, value in summary.items() if name not in _OF_SUMMARY}

    def read_result(self, path: Path) -> bytes:
        """The content of a file that summary.json has the hash of.

        Raises:
            UserError: where the run has come to its end, and the file is another than it was then.
        """
        content = path.read_bytes() if path.is_file() else b""
        expected = ((self._summary() or {}).get("sha256") or {}).get(path.name)
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise UserError(f"{path} was changed since the run ended (its SHA-256 differs from that in summary.json); "
                             f"{RESTORE}")  # fmt: skip
        return content

    def check(self) -> None:
        """Raises UserError where a file that the run's meaning or its results are read from is damaged."""
        if self.is_run:
            self._recorded(self.path / "config.yaml")
        self.read_metrics()

    def read_metrics(self, until: float = float("inf")) -> list[dict[str, str]]:
        """The rows of `metrics.csv` up to a step (`parse_metrics`); none where nothing was logged yet.

        Raises:
            UserError: where it is no table of numbers, or another than the run wrote.
        """
        return parse_metrics(self.metrics, self.read_result(self.metrics), until)

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
        """The newest sound checkpoint before the end of the run; what a killed process left half written goes.

        The one at the end is not gone on from: a run that lost its summary does its last steps again.

        Raises:
            UserError: where there are checkpoints and all are damaged.
        """
        for unfinished in self.checkpoints.glob(".*.writing"):
            shutil.rmtree(unfinished, ignore_errors=True)
        return newest_sound(self.checkpoints, warn, before=self.read_info().get("total_steps"))
