"""Scores of fine-tuned runs: what a run writes is what grids and studies read."""

import json
from pathlib import Path

import yaml

from training.storage.run_dir import RunFolder
from training.storage.scores import FineTuningResult, read_scores, write_predictions, write_scores


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    settings = {"optimizer": {"learning_rate": 1e-5}, "seed": 3}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run = RunFolder(tmp_path)
    assert read_scores(run) is None
    run.write_summary({"steps": 8})
    assert read_scores(run) is None
    scores = {"development/loss": 2.5, "test/chrf": 0.25, "test/rougeL": 0.5}
    write_scores(run, metric="loss", scores=scores)
    assert read_scores(run) == FineTuningResult(
        folder=tmp_path, learning_rate=1e-5, seed=3, metric="loss", lower_is_better=("loss",), scores=scores
    )
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["steps"] == 8


def test_the_rows_of_a_metric_are_those_that_have_a_part_in_it(tmp_path: Path) -> None:
    result = FineTuningResult(folder=tmp_path, learning_rate=1e-3, seed=0, metric="chrf", scores={"test/chrf": 0.5})
    write_predictions(RunFolder(tmp_path), [{"text": "강", "scores": {"rougeL": score}} for score in (0.5, 1.0)])
    assert result.rows("rougeL").tolist() == [0.5, 1.0]
    assert result.rows("chrf").tolist() == []
    assert "강" in (tmp_path / "predictions.jsonl").read_text(encoding="utf-8")
