"""A run in Weights & Biases: its numbers over raw tokens, its metadata, its weights, and where these came from."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from training.monitoring.callbacks import RunCallback
from training.monitoring.wandb_logger import warn
from training.step.budget import quantity
from training.step.module import ExactModule
from training.storage.checkpoint import checkpoint_step
from training.storage.run_dir import RunFolder
from training.storage.scores import LOWER_IS_BETTER

LONGEST_ARTIFACT = 100
FILES_OF_A_RUN = ("tokenizer.json", "config.yaml")


def artifact_name(name: str, suffix: str) -> str:
    """A name that W&B takes for an artifact; one that had to be changed ends with a hash, so that no two meet."""
    legal = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")[:LONGEST_ARTIFACT]
    if legal != name:
        legal = "-".join(part for part in (legal, sha256(name.encode()).hexdigest()[:8]) if part)
    return f"{legal}-{suffix}"


def as_numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run with its budgets as numbers, so that W&B can sort and plot by them."""
    budget = {
        name: value if value is None else quantity(value, f"budget.{name}")
        for name, value in config.get("budget", {}).items()
    }
    return {**config, "budget": budget}


def _model_artifact(run: RunFolder, checkpoint: Path, metadata: Mapping[str, Any]) -> Any:
    """The weights of a checkpoint, with what is needed to read them; the same files are the same version in W&B."""
    import wandb

    artifact = wandb.Artifact(artifact_name(run.path.name, "weights"), type="model", metadata=dict(metadata))
    files = [checkpoint / "weights.safetensors", *(run.path / name for name in FILES_OF_A_RUN)]
    for path in files:
        if path.is_file():
            artifact.add_file(str(path), policy="immutable")  # no second copy on the disk
    return artifact


def _metadata(run: RunFolder, checkpoint: Path) -> dict[str, Any]:
    info, summary = run.read_info(), run.read_summary() or {}
    is_last = summary.get("steps") == checkpoint_step(checkpoint)
    numbers = {key: value for key, value in summary.items() if is_last and key.startswith("validation/")}
    return {
        "run": run.path.name,
        "step": checkpoint_step(checkpoint),
        "parameters": info.get("parameters"),
        **numbers,
        **summary.get("scores", {}),
    }


def log_weights(logger: WandbLogger, run: RunFolder, *, newest: Path, best: Path | None, scores_best: bool) -> None:
    """Sends what came of a run: the weights that are scored as `latest`, those that validated best as `best`.

    Whatever W&B refuses is a warning: the weights lie in the run's folder.

    Args:
        logger: of the run.
        run: its folder.
        newest: its last checkpoint.
        best: the one that validated best.
        scores_best: whether that one is scored, as fine-tuning does, and not the last.
    """
    scored = best if scores_best and best is not None else newest
    versions = {scored: ["latest", "best"] if best in (None, scored) else ["latest"]}
    if best is not None and best != scored:
        versions = {best: ["best"], **versions}  # the later version is W&B's own `latest`
    for checkpoint, aliases in versions.items():
        try:
            artifact = _model_artifact(run, checkpoint, _metadata(run, checkpoint))
            logger.experiment.log_artifact(artifact, aliases=aliases)
        except Exception as error:  # wandb raises ValueError, TypeError, CommError and others
            warn(f"the weights were not sent ({' '.join(str(error).split())}); they lie in {checkpoint}")


class WandbRun(RunCallback):
    """Keeps W&B's id in run.json, and sends metadata, the best of each validation metric, and the run's origin.

    Args:
        folder: of the run.
        origin: the run or checkpoint that this one begins with, where it does.
    """

    def __init__(self, folder: RunFolder, origin: Path | None = None) -> None:
        self.folder, self.origin = folder, origin
        self.best: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = dict(state_dict["best"])

    @staticmethod
    def _logger(trainer: Trainer) -> WandbLogger | None:
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        return loggers[0] if loggers and trainer.is_global_zero else None

    def _try(self, what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # wandb raises ValueError, TypeError, CommError and others
            warn(f"{what} ({' '.join(str(error).split())})")

    def run_starts(self, trainer: Trainer, module: ExactModule) -> None:
        if (logger := self._logger(trainer)) is None:
            return
        run, info = logger.experiment, self.folder.read_info()
        if isinstance(run.id, str) and run.id != info.get("wandb_id"):
            self.folder.write_info(wandb_id=run.id)
        data = info.get("data", {})
        hashes = data.get("sha256")
        numbers = {
            "parameters": info.get("parameters"),
            "total_steps": info.get("total_steps"),
            "flops_per_step": info.get("flops_per_step"),
            "vocab_size": getattr(getattr(cast(Any, trainer).datamodule, "vocabulary", None), "size", None),
            "data_sha256": hashes,
            "tokenizer_sha256": hashes.get("tokenizer.json") if isinstance(hashes, Mapping) else None,
            "initialized_from": info.get("initialized_from"),
        }
        run.config.update({name: value for name, value in numbers.items() if value is not None}, allow_val_change=True)
        origin = self.origin and RunFolder.of(self.origin)
        if origin and origin.is_run:
            name = artifact_name(origin.path.name, "weights")
            run.config.update({"initialized_from_artifact": name}, allow_val_change=True)
            if not run.settings._offline:
                checkpoint = self.origin if self.origin != origin.path else origin.checkpoint()
                used = _model_artifact(origin, cast(Path, checkpoint), _metadata(origin, cast(Path, checkpoint)))
                self._try("the weights that this run began with were not linked", lambda: run.use_artifact(used))

    def validation_ends(self, trainer: Trainer, module: ExactModule) -> None:
        for name, value in module.validation_numbers.items():
            last = name.rsplit("/", 1)[-1]
            is_loss = last == "loss" or name.removeprefix("validation/") in module.validation_results
            better = min if is_loss or last in LOWER_IS_BETTER else max
            self.best[name] = better(self.best.get(name, value), value)
        if (logger := self._logger(trainer)) is not None:
            logger.experiment.summary.update({f"best/{name}": value for name, value in self.best.items()})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logger, summary = self._logger(trainer), self.folder.read_summary()
        if logger is not None and summary is not None:
            speed = {name: value for name, value in summary.items() if name.startswith("speed/")}
            logger.experiment.summary.update({**speed, "seconds": summary["seconds"]})


def log_predictions(logger: WandbLogger, lines: Sequence[Mapping[str, Any]], name: str = "predictions") -> None:
    """Sends rows as a table: a column a field, nested values as JSON."""
    import wandb

    columns: list[Any] = list(dict.fromkeys(column for line in lines for column in line))
    plain = (int, float, str, bool, type(None))
    rows: list[Any] = [
        [
            value if isinstance(value := line.get(column), plain) else json.dumps(value, ensure_ascii=False)
            for column in columns
        ]
        for line in lines
    ]
    logger.experiment.log({name: wandb.Table(columns=columns, data=rows, allow_mixed_types=True)})


def finish(logger: WandbLogger, *, failed: bool) -> None:
    """Closes the W&B run, so that all of it is on the disk or sent."""
    logger.experiment.finish(exit_code=int(failed))
