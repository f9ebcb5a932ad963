"""Tiny pretrained runs of the four objectives, and tiny tasks to take them to."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from finetuning.export import export_tuned
from finetuning.grid import fine_tune
from finetuning.load import FineTunedRun
from tests.finetuning.export.pipelines import Export
from tests.finetuning.made_tasks import TASKS, write_tasks
from tests.finetuning.opened import learn_by_heart, opened
from tests.helpers import OBJECTIVES, ROOT, TINY, train_in_process

Command = Callable[..., list[str]]

# Steps of milliseconds, and no dropout, so that little is learned fast.
SMALL = (
    *("--logging.wandb", "off", "--budget.steps", "4", "--budget.epochs", "null", "--data.batch_size", "8"),
    *("--logging.every_steps", "2", "--tuning.dropout", "0", "--trainer.precision", "32-true"),
)


@pytest.fixture(scope="session")
def pretrained(
    corpus_file: Path, cache: Path, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A run of two steps for each objective."""
    runs = tmp_path_factory.mktemp("pretrained")
    where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(runs)]
    for objective in OBJECTIVES:
        config = ["--config", str(ROOT / f"configs/{objective}.yaml"), "--name", objective]
        assert train_in_process([*config, *TINY, *where, "--budget.steps", "2"]) == 0
    return {objective: runs / objective for objective in OBJECTIVES}


@pytest.fixture(scope="session")
def task_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny tasks' files."""
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(folder)
    return folder


def _commands(pretrained: dict[str, Path], task_files: Path, folder: Path) -> Command:
    def command(task: str, objective: str, *more: str) -> list[str]:
        config = folder / f"{task}.yaml"
        config.write_text(json.dumps({"task": TASKS[task](task_files)}), encoding="utf-8")
        where = ["--checkpoint", str(pretrained[objective]), "--runs", str(folder / "runs"), "--name", "tuned"]
        return ["--config", str(config), *where, *SMALL, *more]

    return command


@pytest.fixture
def tiny_task(pretrained: dict[str, Path], task_files: Path, tmp_path: Path) -> Command:
    """The command line of a fine-tuning run of seconds: `tiny_task("classification", "masked_lm", *more)`."""
    return _commands(pretrained, task_files, tmp_path)


@pytest.fixture(scope="session")
def tuned(pretrained: dict[str, Path], task_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the tiny classification."""
    command = _commands(pretrained, task_files, tmp_path_factory.mktemp("tuned"))
    return fine_tune(command("classification", "masked_lm")).folder


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`saved("bart")` is a folder that transformers saved; `"bert wordpiece"` has BERT's kind of tokenizer."""
    from tests.finetuning.export.saved import save_random, save_tokenizer  # slow to import

    home = tmp_path_factory.mktemp("saved")

    def folder(name: str) -> Path:
        if not (home / name).exists():
            preset, _, kind = name.partition(" ")
            save_tokenizer(kind, home / "tokenizer.json")
            save_random(preset, home / name, home / "tokenizer.json")
        return home / name

    return folder


@pytest.fixture
def exported(tiny_task: Command, saved: Callable[[str], Path], tmp_path: Path) -> Export:
    """A model for that task over a saved one, and its folder for transformers."""

    def make(task: str, name: str, *more: str) -> tuple[FineTunedRun, Path]:
        command = tiny_task(task, "causal_lm", *more)
        command[command.index("--checkpoint") + 1] = str(saved(name))
        module, data = opened(command)
        learn_by_heart(module, data, 24, 30)  # so that answers differ
        tuned = FineTunedRun(folder=tmp_path, checkpoint=tmp_path, module=module.requires_grad_(False))
        export_tuned(tuned, tmp_path / "exported")
        return tuned, tmp_path / "exported"

    return make
