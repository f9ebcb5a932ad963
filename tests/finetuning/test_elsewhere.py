"""How texts are framed, fine-tuning over several processes, and what W&B is told."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from finetuning.body.body import start_from, template_of, template_of_preset
from finetuning.grid import fine_tune
from objectives.weights.load import load_run
from tests.helpers import OBJECTIVES, ROOT, weights_of
from training.monitoring.wandb_logger import make_wandb_logger

Command = Callable[..., list[str]]


def test_a_run_is_framed_as_its_objective_frames_a_document(pretrained: dict[str, Path]) -> None:
    for objective in OBJECTIVES:
        run = load_run(pretrained[objective])
        ids = {name: getattr(run.vocabulary, name) for name in ("bos", "eos", "cls", "sep", "pad")}
        template = template_of(run.objective, run.vocabulary)
        found = [template.before, template.behind, template.start, template.target_before, template.target_behind]
        expected: dict[str, list[list[str]]] = {
            "masked_lm": [["cls"], ["sep"], [], [], []],
            "causal_lm": [["eos"], ["eos"], [], [], ["eos"]],
            "denoising": [["bos"], ["eos"], ["eos"], ["bos"], ["eos"]],
            "span_corruption": [[], ["eos"], ["pad"], [], ["eos"]],
        }
        assert found == [tuple(ids[name] for name in names) for names in expected[objective]]
        families: Any = {"masked_lm": "bert", "causal_lm": "gpt2", "denoising": "bart", "span_corruption": "t5"}
        assert template_of_preset(families[objective], run.network.body.num_blocks, run.vocabulary) == template


def test_two_texts_are_parted_and_distinguished(pretrained: dict[str, Path]) -> None:
    start, _ = start_from(str(pretrained["masked_lm"]))
    ids, segments = start.template.around([300, 301], [302])
    vocabulary = start.vocabulary
    assert ids.tolist() == [vocabulary.cls, 300, 301, vocabulary.sep, 302, vocabulary.sep]
    assert segments.tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.slow
def test_two_processes_come_to_what_one_comes_to(tiny_task: Command, tmp_path: Path) -> None:
    """64 rows less 3, so that the last batch of an epoch does not fill both."""
    exact = ("--trainer.precision", "64-true", "--budget.steps", "9", "--task.train_rows", "61")
    one = fine_tune(tiny_task("entities", "masked_lm", *exact, "--name", "one"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(ROOT / "finetune.py"), *tiny_task("entities", "masked_lm", *exact, "--name", "two")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    weights, other = weights_of(one.folder), weights_of(tmp_path / "runs/two")
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-9, atol=1e-12)
    two = fine_tune(tiny_task("entities", "masked_lm", *exact, "--name", "two"))
    assert two.scores == pytest.approx(one.scores)


@pytest.mark.slow
def test_wandb_has_the_task_and_what_it_began_with(tiny_task: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}

    def logger(folder: Path, settings: Any, **named: Any) -> Any:
        logged.update(named)
        return make_wandb_logger(folder, settings, **named)

    monkeypatch.setattr("training.session.make_wandb_logger", logger)
    tuned = fine_tune([*tiny_task("classification", "masked_lm", "--budget.steps", "1"), "--logging.wandb", "offline"])
    assert logged["job_type"] == "finetune"
    assert logged["tags"] == ["tiny", "masked_lm", "lab"]
    config = yaml.safe_load((tuned.folder / "config.yaml").read_text(encoding="utf-8"))
    assert logged["config"]["start"]["wandb_id"] == config["start"]["wandb_id"]
    assert config["start"]["wandb_id"]
