"""Where numbers go: metrics.csv always, Weights & Biases where it is wanted."""

import csv
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from common.files import written_whole
from training.setup.settings import LoggingSettings, WandbMode
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
        with self.path.open("a", newline="", encoding="utf-8") as file:
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


class TokenAxisLogger(WandbLogger):
    """Weights & Biases, with every number drawn over raw tokens.

    Names are defined one by one: Lightning defines `*` over its own step, and which of two patterns wins is not
    documented.
    """

    _defined: frozenset[str] = frozenset()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs numbers, among them `raw_tokens`."""
        for name in sorted(metrics.keys() - self._defined):
            self.experiment.define_metric(name, step_metric=None if name == "raw_tokens" else "raw_tokens")
        self._defined |= metrics.keys()
        super().log_metrics(metrics, step)


def make_wandb_logger(
    folder: Path,
    settings: LoggingSettings,
    *,
    mode: Literal["online", "offline"],
    run_id: str,
    job_type: str,
    tags: Sequence[str],
    config: dict[str, Any],
) -> TokenAxisLogger:
    """A logger of the run in `folder`, which goes on under its id.

    With `settings.private` no command line, git remote, machine or package list is sent; environment variables never
    are.
    """
    import wandb  # slow to import, and not needed with --logging.wandb off

    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))  # where artifacts wait, instead of the home folder
    private = settings.private
    logger = TokenAxisLogger(
        project=settings.project,
        name=folder.name,
        id=run_id,
        save_dir=folder,
        resume="allow",
        mode=mode,
        group=settings.group,
        job_type=job_type,
        tags=[*tags, *settings.tags],
        settings=wandb.Settings(
            console="off", disable_git=private, x_disable_meta=private, x_save_requirements=not private, save_code=False
        ),
        config=config,
    )
    logger._wandb_init.pop("anonymous", None)  # wandb 0.31 warns of it, and a later one may refuse it
    return logger


def log_artifact(logger: WandbLogger, folder: Path, checkpoint: Path) -> None:
    """Sends what came of a run: the weights of its last checkpoint, its tokenizer and its settings."""
    import wandb

    artifact = wandb.Artifact(f"{folder.name}-weights", type="model")
    for path in (checkpoint / "weights.safetensors", folder / "tokenizer.json", folder / "config.yaml"):
        artifact.add_file(str(path))
    logger.experiment.log_artifact(artifact)


def finish(logger: WandbLogger, *, failed: bool) -> None:
    """Closes the W&B run, so that all of it is on the disk or sent."""
    logger.experiment.finish(exit_code=int(failed))
