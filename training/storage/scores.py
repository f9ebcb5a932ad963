"""The scores of a fine-tuned run, as its folder keeps them: written by the run, read by grids and by studies.

runs/NAME/
    summary.json         `metric`, `lower_is_better` and `scores` beside what every run has there
    predictions.jsonl    a line a row of the reported split
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from common.files import written_whole
from training.storage.run_dir import RunFolder

PREDICTIONS = "predictions.jsonl"
LOWER_IS_BETTER = ("loss", "bits_per_byte")


@dataclass(frozen=True, kw_only=True)
class FineTuningResult:
    """The scores of a fine-tuned run's best weights.

    Attributes:
        folder: of the run.
        learning_rate, seed: its settings.
        metric: by which its best weights were chosen.
        lower_is_better: those of its metrics of which a lower value is better.
        scores: by split and metric, such as `test/accuracy`.
    """

    folder: Path
    learning_rate: float
    seed: int
    metric: str
    lower_is_better: tuple[str, ...] = ()
    scores: dict[str, float]

    def sign(self, metric: str) -> int:
        """1 where a higher value is better, else -1."""
        return -1 if metric in self.lower_is_better else 1

    @property
    def chosen(self) -> float:
        """The score that chooses among runs, of the development split: higher is better."""
        return self.sign(self.metric) * self.scores[f"development/{self.metric}"]

    @property
    def reported(self) -> tuple[str, str]:
        """The split that is reported, and the task's own metric: the first that was measured, where a loss chose."""
        split = "test" if any(name.startswith("test/") for name in self.scores) else "development"
        metrics = [name.partition("/")[2] for name in self.scores if name.startswith(f"{split}/")]
        return split, self.metric if self.metric in metrics and self.metric != "loss" else metrics[0]

    def parts(self, metric: str) -> list[str]:
        """What the reported split's metric is also known of, such as `source over 20`: `test/chrf/source over 20`."""
        above = f"{self.reported[0]}/{metric}/"
        return [name.removeprefix(above) for name in self.scores if name.startswith(above)]

    def rows(self, metric: str) -> np.ndarray:
        """float64[rows], the part of each reported row in a metric that is a mean of rows; empty for another."""
        content = RunFolder(self.folder).read_result(self.folder / PREDICTIONS)
        lines = [json.loads(line)["scores"] for line in content.splitlines()]
        return np.array([line[metric] for line in lines if metric in line], dtype=np.float64)


def write_scores(run: RunFolder, *, metric: str, scores: Mapping[str, float]) -> None:
    """Adds to the summary of a run what `read_scores` reads."""
    lower = [name for name in LOWER_IS_BETTER if any(key.endswith(f"/{name}") for key in scores)]
    summary = run.read_summary() or {}
    run.write_summary({**summary, "metric": metric, "lower_is_better": lower, "scores": dict(scores)})


def read_scores(run: RunFolder) -> FineTuningResult | None:
    """The result of a fine-tuned run that came to its end; None where it has no scores yet."""
    summary = run.read_summary() or {}
    if "scores" not in summary:
        return None
    config = run.read_config()
    return FineTuningResult(
        folder=run.path,
        learning_rate=config["optimizer"]["learning_rate"],
        seed=config["seed"],
        metric=summary["metric"],
        lower_is_better=tuple(summary["lower_is_better"]),
        scores=summary["scores"],
    )


def write_predictions(run: RunFolder, lines: Iterable[Mapping[str, Any]]) -> None:
    """Writes predictions.jsonl; in each line `scores` has the row's part in every metric that is a mean of rows."""
    with written_whole(run.path / PREDICTIONS) as writing, writing.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def read_predictions(run: RunFolder, most: int) -> list[dict[str, Any]]:
    """The first lines of predictions.jsonl, at most so many."""
    with (run.path / PREDICTIONS).open(encoding="utf-8") as file:
        return [json.loads(line) for line in islice(file, most)]
