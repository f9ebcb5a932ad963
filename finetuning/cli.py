"""From a command line to a fine-tuning run: the settings of every run, and a task, a checkpoint and how it is tuned."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from lightning.pytorch.cli import LightningArgumentParser

from common.errors import UserError
from common.repository import REPOSITORY
from finetuning.body.body import run_of, start_from
from finetuning.body.tuning import Tuning
from finetuning.core.base import FineTuning
from finetuning.core.task import Task
from finetuning.datamodule import ReadingSettings, TaskData
from training.script.endings import leave
from training.setup.cli import RunCLI
from training.setup.precision import Product, products_of
from training.setup.run_parser import Parser
from training.setup.settings import GROUPS, Precision
from training.step.micro import at_once
from training.storage.run_dir import RunFolder

BASE = REPOSITORY / "configs/tasks/base.yaml"


class FineTuningParser(Parser):
    """Knows the settings of every kind of task."""

    other_flags = ("--grid.learning_rates", "--grid.seeds", "--dry-run")

    def valid_names(self) -> Iterator[str]:
        yield from super().valid_names()
        for settings in self.settings_of(Task).values():
            yield from (f"task.{name}" for name in settings)

    def class_settings(self) -> dict[str, type]:
        return {"task": Task}

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if "required" in message and "task" in message:
            leave("which task? Name its config, such as --config configs/tasks/sst2.yaml")
        if "required" in message and "checkpoint" in message:
            leave("which checkpoint? Name a run, such as --checkpoint runs/masked_lm-s0")
        super().error(message, ex)


class FineTuningCLI(RunCLI):
    """Parses, checks and builds module, data and Trainer. The checkpoint is read, the task's rows are not yet.

    Args:
        arguments: the command line, without the program's name.
        suffix: goes behind the name of the run.
        precision: what `trainer.precision = auto` is, where another run of the same grid has decided it.
    """

    job_type = "finetune"
    parser_of_runs: type[Parser] = FineTuningParser
    is_named = False  # whether `name` is the folder's already

    def __init__(self, arguments: Sequence[str], *, suffix: str = "", precision: Precision | None = None) -> None:
        self.suffix = suffix
        super().__init__(FineTuning, TaskData, Tuning, defaults=BASE, arguments=arguments, precision=precision)

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--checkpoint", type=str, required=True, help="a run, one of its checkpoints, or what transformers saved"
        )
        parser.add_subclass_arguments(Task, "task", required=True)
        parser.add_class_arguments(Tuning, "tuning")
        parser.add_class_arguments(ReadingSettings, "data")
        for name, settings in GROUPS.items():
            parser.add_class_arguments(settings, name)

    def instantiate_classes(self) -> None:
        """Builds everything.

        Raises:
            UserError: where the checkpoint cannot be read, or the task makes no sense with it.
        """
        self.config_init = self.parser.instantiate(self.config)
        settings = self.config_init
        task, reading, tuning = settings["task"], settings["data"], settings["tuning"]
        self.start, pretrained = start_from(self.config.checkpoint)
        self.model = task.module(
            task=task,
            tuning=tuning,
            start=self.start,
            pretrained=pretrained,
            max_length=reading.max_length or self.start.max_positions,
            optimizer=settings["optimizer"],
            budget=settings["budget"],
            seed=self.config.seed,
        )
        self.datamodule = TaskData(task, reading, folder=self.start.tokenizer_file.parent, seed=self.config.seed)
        info = run.read_info() if (run := run_of(self.config.checkpoint)) else {}
        self.origin = {"sha256": pretrained.sha256, "wandb_id": info.get("wandb_id")}
        self.trainer = self.instantiate_trainer()
        if self.trainer_settings.strategy == "fsdp":
            raise UserError("trainer.strategy = fsdp: fine-tuning copies the model to every device; choose ddp")

    def products(self) -> Counter[Product]:
        """The matrix products of a micro-batch of the longest texts."""
        reading, module = self.config.data, cast(FineTuning, self.model)
        rows = at_once(reading.micro_batch_size, reading.batch_size) * module.max_length
        with torch.device("meta"):
            body = module.build_body()
        return products_of(body, rows=rows, vocab_size=None if body.head is None else self.start.vocabulary.size)

    def resolved_config(self) -> dict[str, Any]:
        """Every setting, and what the body was like: enough to make it anew without its own folder."""
        return {**super().resolved_config(), "start": {**self.start.describe(), **self.origin}}

    @property
    def tags(self) -> list[str]:
        """The task, the checkpoint, and the preset."""
        return [self.objective_name, Path(self.config.checkpoint).name, getattr(self.start.body, "preset", "recurrent")]

    @property
    def begins_with(self) -> Path | None:
        return Path(self.config.checkpoint)

    @property
    def objective_name(self) -> str:
        """The task's name."""
        return self.config_init["task"].name

    @property
    def folder(self) -> Path:
        """The run's folder: `--name`, or the task, the checkpoint, and the seed."""
        if not self.is_named:
            home = RunFolder.of(Path(self.config.checkpoint)).path
            scratch = "-from_scratch" if self.config.tuning.from_scratch else ""
            named = f"{self.objective_name}-{home.name}{scratch}-s{self.config.seed}"
            named = named if self.config.name is None else self.config.name
            self.config.name, self.is_named = f"{named}{self.suffix}", True
        return super().folder
