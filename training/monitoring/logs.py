"""Where numbers go: metrics.csv always, Weights & Biases where it is wanted."""

import csv
import hashlib
import json
import os
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from common.errors import UserError
from common.files import expanded, naming, written_whole
from training.monitoring.callbacks import RunCallback
from training.setup.settings import WandbMode
from training.step.module import ExactModule
from training.storage.metrics_file import parse_metrics
from training.storage.run_dir import RunFolder


def _write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with written_whole(path) as writing, writing.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def take_back(folder: RunFolder, names: Collection[str]) -> None:
    """Drops the rows of metrics.csv, and its columns, that hold these names.

    A process that was killed between logging them and the summary leaves them, and the file is again the one that
    summary.json has the hash of.
    """
    rows = parse_metrics(folder.metrics, folder.metrics.read_bytes() if folder.metrics.is_file() else b"")
    kept = [row for row in rows if not any(row.get(name) for name in names)]
    if len(kept) < len(rows):
        columns = [name for name in rows[0] if name not in names]
        _write_rows(folder.metrics, columns, [{name: row[name] for name in columns} for row in kept])


class MetricsCsv(Logger):
    """`metrics.csv` in the run folder: a row for each time something is logged, a column for each name.

    Rows are appended; a new name rewrites the file with one column more. A run that goes on from step n first drops
    the rows behind n, which it is about to write again.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder, self.path = folder, folder.metrics
        self.columns = list(next(iter(folder.read_metrics()), {}))

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def keep_until(self, step: int) -> None:
        """Drops the rows of later steps."""
        if self.columns:
            _write_rows(self.path, self.columns, self.folder.read_metrics(until=step))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Appends a row."""
        row = {"step": step, **metrics}
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            _write_rows(self.path, self.columns, [*self.folder.read_metrics(), row])
            return
        with naming(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder's config.yaml holds them."""


def logged_sha256(folder: RunFolder, step: int) -> str:
    """Hash of all that metrics.csv holds up to a step, however it is laid out in columns."""
    filled = [{name: value for name, value in row.items() if value} for row in folder.read_metrics(until=step)]
    return hashlib.sha256(json.dumps(filled, sort_keys=True).encode()).hexdigest()


class Logs(RunCallback):
    """Begins metrics.csv where the run goes on; each checkpoint has the hash of what was logged before it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.step, self.expected, self.is_first = folder, 0, "", True

    def state_dict(self) -> dict[str, Any]:
        """Of the first process alone, which writes checkpoints."""
        return {"logged_sha256": logged_sha256(self.folder, self.step)} if self.is_first else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.expected = state_dict["logged_sha256"]

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        """Drops the rows behind the checkpoint.

        Raises:
            UserError: where those before it are others than the run logged.
        """
        self.step, metrics, self.is_first = trainer.global_step, self.folder.metrics, trainer.is_global_zero
        is_checked = self.is_first and self.expected and metrics.exists()
        if is_checked and logged_sha256(self.folder, self.step) != self.expected:
            raise UserError(
                f"{metrics} is not what the run logged up to step {self.step} (its SHA-256 differs from that in the "
                f"checkpoint); restore it from a copy, or remove it: the run goes on without what it held"
            )
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                logger.keep_until(trainer.global_step)

    def step_ends(self, trainer: Trainer, module: ExactModule) -> None:
        self.step = trainer.global_step


def has_wandb_key() -> bool:
    """Whether a key for Weights & Biases is set, in the environment or in ~/.netrc."""
    netrc = expanded(os.environ.get("NETRC", "~/.netrc"))
    try:
        return bool(os.environ.get("WANDB_API_KEY")) or "api.wandb.ai" in netrc.read_text(encoding="utf-8")
    except OSError:
        return False


def wandb_mode(setting: WandbMode) -> Literal["online", "offline", "off"]:
    """`auto` decided: WANDB_MODE where it is set, else online with a key, else offline."""
    if setting != "auto":
        return setting
    named = os.environ.get("WANDB_MODE", "")
    if named in ("online", "offline"):
        return named  # pyright: ignore[reportReturnType]
    if named in ("disabled", "dryrun"):
        return "off" if named == "disabled" else "offline"
    return "online" if has_wandb_key() else "offline"
