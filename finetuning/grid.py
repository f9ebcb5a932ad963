"""One fine-tuning run from a command line, and a grid of them: learning rates by seeds."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from rich.table import Table
from rich.text import Text

from common.errors import UserError
from common.ranges import LEARNING_RATE, SEED, check_ranges
from finetuning.cli import FineTuningCLI
from finetuning.core.base import FineTuning
from finetuning.datamodule import TaskData
from finetuning.export import export_readiness
from finetuning.load import best_checkpoint, load_fine_tuned, prediction_lines, predictions_of
from training.monitoring.callbacks import RunCallback
from training.monitoring.logs import MetricsCsv, take_back
from training.monitoring.next_command import print_readiness
from training.monitoring.wandb_run import log_predictions
from training.script.messages import one_line
from training.session import train
from training.setup.settings import Precision
from training.storage.checkpoint import load_weights
from training.storage.run_dir import RunFolder
from training.storage.scores import FineTuningResult, read_predictions, read_scores, write_predictions, write_scores

ROWS_OF_THE_TABLE = 200  # of predictions, in W&B


def score(
    module: FineTuning,
    data: TaskData,
    folder: RunFolder,
    log: Callable[[dict[str, float]], None],
) -> None:
    """Scores a run's best weights, which the module loads: writes predictions.jsonl of the reported split, and scores.

    `log` is given them before the summary is written, which has the hashes of all files beside it.
    """
    load_weights(module, best_checkpoint(folder))
    module.eval()
    found = {}
    if module.selects_by_loss:  # generation is slow, and chooses nothing
        found["development/loss"] = module.best_cost
    for split in ("development", "test"):
        if split not in data.rows or (split == "development" and module.selects_by_loss and "test" in data.rows):
            continue
        rows = data.rows[split]
        predictions = predictions_of(module, rows, batch_size=data.micro_batch_size or data.batch_size)
        scores = module.measure_predictions(rows, predictions)
        found |= {f"{split}/{name}": value.value for name, value in scores.items()}
        write_predictions(folder, prediction_lines(module, rows, predictions, scores))
    log(found)
    write_scores(folder, metric=module.metric_of(found), scores=found)


class ScoreCallback(RunCallback):
    """Scores the best weights when a run has come to its end.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.folder.read_summary() is not None:
            module, data = cast(FineTuning, pl_module), cast(TaskData, cast(Any, trainer).datamodule)

            def log(scores: dict[str, float]) -> None:
                for logger in trainer.loggers:
                    logger.log_metrics({"raw_tokens": module.raw_tokens, **scores}, step=trainer.global_step)
                    if isinstance(logger, WandbLogger):
                        log_predictions(logger, read_predictions(self.folder, ROWS_OF_THE_TABLE))

            score(module, data, self.folder, log)
        trainer.strategy.barrier()  # the other processes read what this one writes


def fine_tune(arguments: Sequence[str], *, suffix: str = "", precision: Precision | None = None) -> FineTuningResult:
    """Fine-tunes to the end of the budget, from where the run stopped if it did, and scores the best weights.

    Args:
        arguments: the command line.
        suffix: goes behind the name of the run.
        precision: what `trainer.precision = auto` is, where another run of the same grid has decided it.

    Raises:
        RunStopped: where it stopped before that.
        UserError: where the run cannot begin.
    """
    cli = FineTuningCLI(arguments, suffix=suffix, precision=precision)
    folder = RunFolder(cli.folder)
    print_readiness(folder.path, export_readiness(cast(FineTuning, cli.model)))
    train(cli, [ScoreCallback(folder)])
    result = read_scores(folder)
    if result is None:  # the process ended between the last step and the scores
        data = TaskData(
            cli.config_init["task"], cli.config_init["data"], folder=folder.path, seed=cli.config.seed
        )  # fmt: skip
        data.open(cast(FineTuning, cli.model))
        tuned = load_fine_tuned(folder.path)
        summary = folder.read_summary()
        assert summary is not None

        def log(scores: dict[str, float]) -> None:
            take_back(folder, scores)
            MetricsCsv(folder).log_metrics({"raw_tokens": summary["raw_tokens"], **scores}, step=summary["steps"])

        score(tuned.module, data, folder, log)
        result = read_scores(folder)
    assert result is not None
    return result


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Learning rates by seeds.

    Args:
        learning_rates: each is tried with every seed; null for the one of the settings.
        seeds: each is tried with every learning rate.
        arguments: of all the runs.
    """

    learning_rates: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    arguments: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_ranges("grid.", {"learning_rates": LEARNING_RATE, "seeds": SEED}, vars(self))
        for name, values in {"learning_rates": self.learning_rates or (1.0,), "seeds": self.seeds}.items():
            if not values or len(set(values)) < len(values):
                raise UserError(f"grid.{name} = {list(values)} must be different numbers, at least one")

    def run(self) -> Iterator[FineTuningResult]:
        """Every run of the grid, in the precision of the first; those that have come to their end are only read."""
        precision: Precision | None = None
        for rate in self.learning_rates or (None,):
            setting = [] if rate is None else [f"--optimizer.learning_rate={rate}"]
            for seed in self.seeds:
                suffix = "" if rate is None else f"-lr{rate:g}"
                named = [*self.arguments, *setting, f"--seed={seed}"]
                result = fine_tune(_without_name(named, seed), suffix=suffix, precision=precision)
                precision = RunFolder(result.folder).read_config()["trainer"]["precision"]
                yield result


def _without_name(arguments: list[str], seed: int) -> list[str]:
    """A name that was given is that of the grid: the seed goes behind it."""
    for place, argument in enumerate(arguments):
        if argument == "--name" and place + 1 < len(arguments):
            return [*arguments[: place + 1], f"{arguments[place + 1]}-s{seed}", *arguments[place + 2 :]]
        if argument.startswith("--name="):
            return [*arguments[:place], f"{argument}-s{seed}", *arguments[place + 1 :]]
    return arguments


def grid_of(arguments: Sequence[str]) -> Grid | None:
    """The grid that a command line declares, if it does.

    Raises:
        UserError: where its settings are none.
    """
    own: list[str] = []
    rest: list[str] = []
    for place, argument in enumerate(arguments):
        is_value = place > 0 and arguments[place - 1].startswith("--grid.") and "=" not in arguments[place - 1]
        (own if argument.startswith("--grid.") or is_value else rest).append(argument)
    if not own:
        return None
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--grid.learning_rates", type=tuple[float, ...] | None, default=None)
    parser.add_argument("--grid.seeds", type=tuple[int, ...], default=(0,))
    try:
        settings = parser.parse_args(own).grid
    except ArgumentError as error:
        reason = one_line(str(error))
        raise UserError(f"{reason}; a grid is --grid.learning_rates [1e-4,3e-4] --grid.seeds [0,1,2]") from error
    return Grid(learning_rates=settings.learning_rates, seeds=settings.seeds, arguments=tuple(rest))


def spread(values: Sequence[float]) -> str:
    """`0.812 [0.805, 0.820]`: the median, the least and the greatest."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.median(values):.4f} [{min(values):.4f}, {max(values):.4f}]"


def example_for(run: Path) -> list[str | Path]:
    """The arguments of predict.py for a run: a text where its task takes one, else a file of objects."""
    task = RunFolder(run).read_config()["task"]["init_args"]
    takes_one_text = len(task.get("texts") or [""]) == 1 and "question" not in task
    return [run, *(["It was a pleasure ."] if takes_one_text else ["--file", "inputs.jsonl"])]


def best_of(runs: Sequence[FineTuningResult]) -> FineTuningResult:
    """The run of the learning rate that the development split chose, with its median seed or the next better one."""
    by_rate: dict[float, list[FineTuningResult]] = {}
    for run in runs:
        by_rate.setdefault(run.learning_rate, []).append(run)
    best = max(by_rate.values(), key=lambda found: statistics.median(run.chosen for run in found))
    return sorted(best, key=lambda run: run.chosen)[len(best) // 2]


def table_of(runs: Sequence[FineTuningResult]) -> Table:
    """Median and spread over the seeds of each learning rate; the best one, by the development split, is marked."""
    by_rate: dict[float, list[FineTuningResult]] = {}
    for run in runs:
        by_rate.setdefault(run.learning_rate, []).append(run)
    best = best_of(runs).learning_rate
    metrics = [name for name in runs[0].scores if name.split("/", 1)[1] == runs[0].metric or name.startswith("test/")]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("learning rate", "seeds", *metrics):
        table.add_column(heading, justify="right", overflow="fold")
    for rate, found in by_rate.items():
        cells = [spread([run.scores[name] for run in found]) for name in metrics]
        table.add_row(f"{rate:g}{' *' if rate == best else ''}", str(len(found)), *cells)
    chosen = f"* chosen by {runs[0].metric} of the development split; median [least, greatest] over the seeds"
    table.caption = Text(chosen)  # in which brackets are no markup
    return table
