"""Where numbers go: metrics.csv always, Weights & Biases where it is wanted."""

import csv
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from common.files import naming, written_whole
from training.setup.settings import WandbMode
from training.storage.run_dir import RunFolder


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

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with written_whole(self.path) as writing, writing.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)

    @rank_zero_only
    def keep_until(self, step: int) -> None:
        """Drops the rows of later steps."""
        if self.columns:
            self._write([row for row in self.folder.read_metrics() if int(row["step"]) <= step])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Appends a row."""
        row = {"step": step, **metrics}
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            self._write([*self.folder.read_metrics(), row])
            return
        with naming(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder's config.yaml holds them."""


def has_wandb_key() -> bool:
    """Whether a key for Weights & Biases is set, in the environment or in ~/.netrc."""
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
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
