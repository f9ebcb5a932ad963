"""The rows of a task on their way into the model: read once, encoded once, in batches of like length."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from common.errors import UserError
from common.ranges import check_ranges, count
from data.stream.loader import ENDLESS, StepLoader
from data.stream.sharding import MicroBatchSize, ShardedData, fixed
from finetuning.core.base import FineTuning
from finetuning.core.splits import chosen
from finetuning.core.task import Task
from finetuning.data.batch import InOrder, Order, TaskCollator, TaskExample
from finetuning.data.labels import Split
from finetuning.data.rows import DataWarnings


@dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """How rows are read.

    Args:
        batch_size: rows an optimizer step, over all devices.
        micro_batch_size: rows a device computes at once; by default its whole share of the batch. `auto` begins with
            that, and where a step is out of memory it is repeated, and the run goes on, with half as many.
        max_length: positions of the longest text; by default what the body was pretrained with.
        workers: processes that prepare batches for each device.

    Raises:
        UserError: where a value is impossible.
    """

    batch_size: int = 32
    micro_batch_size: MicroBatchSize = None
    max_length: int | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("batch_size", "micro_batch_size", "max_length"), count(1 << 24))
        values = {**vars(self), "micro_batch_size": fixed(self.micro_batch_size)}
        check_ranges("data.", {**sizes, "workers": count(256, low=0)}, values)


class _AllOnce(Order):
    """Every example once, the short ones first."""

    def _batches(self, epoch: int) -> list[np.ndarray]:
        order = np.argsort(self.lengths, kind="stable")
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]


class Validated(NamedTuple):
    """The rows that are evaluated while training, and their examples."""

    rows: list[Any]
    examples: list[TaskExample]


def rows_line(rows: Mapping[Split, Sequence[Any]]) -> str:
    """How many rows each split has, for the user."""
    return "rows: " + ", ".join(f"{len(of_split):,} {split}" for split, of_split in rows.items())


class TaskData(ShardedData):
    """What a fine-tuning run reads.

    Args:
        task: which rows.
        reading: how.
        folder: where the tokenizer lies.
        seed: decides the order.
    """

    unit, lengths = "rows", "data.max_length"

    def __init__(self, task: Task, reading: ReadingSettings, *, folder: Path, seed: int) -> None:
        super().__init__()
        self.task, self.reading, self.folder, self.seed = task, reading, folder, seed
        self.batch_size, self.micro_batch_size = reading.batch_size, fixed(reading.micro_batch_size)
        self.is_auto = reading.micro_batch_size == "auto"
        self.rows: dict[Split, list[Any]] = {}
        self.examples: dict[Split, list[TaskExample]] = {}
        self.validated = Validated([], [])
        self.warnings = DataWarnings()
        self.loader = None

    @property
    def module(self) -> FineTuning:
        assert self.trainer is not None
        return cast(FineTuning, self.trainer.lightning_module)

    def setup(self, stage: str) -> None:
        """Reads and encodes every split, and prints the data warnings.

        Raises:
            UserError: where a split cannot serve the task.
        """
        if not self.rows:
            self.open(self.module)

    def open(self, module: FineTuning) -> None:
        """Reads and encodes every split for a module."""
        self.rows = self.task.splits(self.warnings)
        module.learn_labels(self.rows["train"])
        for split, rows in self.rows.items():
            self.examples[split] = module.examples(rows, self.warnings)
            if not self.examples[split]:
                raise UserError(f"task.{split}: none of its {len(rows)} rows can be used")
        self.validated = Validated(self.rows["development"], self.examples["development"])
        most, all_rows = self.task.validation_rows, self.rows["development"]
        if most is not None and len(all_rows) > most:
            sample = chosen(self.task, all_rows, most)
            self.validated = Validated(sample, module.examples(sample, DataWarnings()))
            share = f"{most:,} of {len(all_rows):,} development rows"
            rank_zero_info(f"[data] evaluated while training: {share}; at the end all of them")
        labels = f"; labels: {', '.join(module.labels)}" if module.labels else ""
        rank_zero_info(f"[data] {rows_line(self.rows)}{labels}")
        for line in self.warnings.lines():
            rank_zero_info(f"[data] warning: {line}")

    @cached_property
    def order(self) -> Order:
        """Which training examples stand in which optimizer step."""
        return self.task.order(self.rows["train"], self.examples["train"], batch_size=self.batch_size, seed=self.seed)

    @cached_property
    def mean_lengths(self) -> tuple[float, float, float]:
        """Mean positions of encoder and decoder, and labels, of a training example."""
        found = [
            (
                0 if example.encoder_ids is None else len(example.encoder_ids),
                0 if example.decoder_ids is None else len(example.decoder_ids),
                sum(len(labels) for labels in example.labels.values()),
            )
            for example in self.examples["train"]
        ]
        encoder, decoder, targets = np.mean(found, axis=0).tolist()
        return encoder, decoder, targets

    def train_dataloader(self) -> StepLoader:
        """Micro-batches without end, from the optimizer step on that the trainer has reached."""
        assert self.trainer is not None
        sharding = self.sharding_here()
        self.loader = StepLoader(
            InOrder(self.examples["train"], self.order),
            sharding.steps(self.trainer.global_step),
            TaskCollator(micro_batch_size=sharding.micro_batch_size, pad=self.module.start.vocabulary.pad),
            length=ENDLESS,
            num_workers=self.reading.workers,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )
        return self.loader

    def val_dataloader(self) -> StepLoader:
        """What of the development split is evaluated while training, as many batches in every process."""
        here, examples = self.sharding_here(), self.validated.examples
        sharding = replace(here, batch_size=here.micro_batch_size * here.world)
        lengths = np.array([len(example) for example in examples])
        order = _AllOnce(lengths, batch_size=sharding.batch_size, seed=0)
        collator = TaskCollator(micro_batch_size=sharding.micro_batch_size, pad=self.module.start.vocabulary.pad)
        steps = [sharding.positions(step) for step in range(order.steps_per_epoch)]
        return StepLoader(InOrder(examples, order), steps, collator, length=len(steps))

    def describe(self) -> dict[str, Any]:
        """What a run folder keeps of its data: hashes, sizes, labels and warnings."""
        hashes = {
            split: hashlib.sha256("\0".join(map(repr, rows)).encode("utf-8", "replace")).hexdigest()
            for split, rows in self.rows.items()
        }
        return {
            "store": self.task.name,
            "sha256": hashes,
            "rows": {split: len(rows) for split, rows in self.rows.items()},
            **self.module.recorded(),
            "warnings": self.warnings.lines(),
        }

    def windows_sha256(self, steps: int) -> str:
        """Hash of which rows that many optimizer steps read, in order."""
        digest = hashlib.sha256()
        for step in range(steps):
            digest.update(self.order(step).astype("<i8").tobytes())
        return digest.hexdigest()
