"""A step that is out of memory is no end of a run whose `data.micro_batch_size` is `auto`: it is repeated in smaller
micro-batches, from the same state.
"""

import gc
from abc import ABC, abstractmethod
from typing import Any, Protocol, cast

import lightning
import torch
import torch.distributed
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from common.errors import MachineError, lack_of_memory
from training.step.micro import FoundSizes, StepBatch, dropout_seed, seed_dropout


class StepData(Protocol):
    """What a step that is repeated needs of the data."""

    unit: str
    lengths: str
    batch_size: int

    def micro_batches(self, world: int) -> int: ...
    def limit_micro_batches(self, at_most: int, world: int) -> int: ...
    def split_from(self, step: int) -> list[Any]: ...


class RepeatedSteps(lightning.LightningModule, ABC):
    """Computes a step's gradient a micro-batch at a time, and anew in smaller ones where it is out of memory.

    A step that is repeated begins from the same state: of what a failed try computed, nothing is left. Every process
    takes the same size, since one that fails makes all repeat the step.

    Attributes:
        sizes: the rows of a micro-batch that were found to fit; None where the setting names a number, and out of
            memory ends the run.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.sizes: FoundSizes | None = None
        self._lack = ""  # of memory, in the step that is being computed
        self._loss: Tensor | None = None  # of a micro-batch, with its graph

    @abstractmethod
    def begin_step(self) -> None:
        """Forgets what was computed of a step, and of one that was computed before in part."""

    @abstractmethod
    def loss_of(self, batch: Any) -> Tensor:
        """The part of the step's loss that a micro-batch adds, times `accumulated`."""

    @abstractmethod
    def validate(self, batch: Any) -> None:
        """Adds a batch to the validation, all of it or nothing."""

    @property
    def accumulated(self) -> int:
        """Micro-batches that this process computes in a step."""
        return self.trainer.accumulate_grad_batches

    @property
    def step_data(self) -> StepData:
        return cast(Any, self.trainer).datamodule

    def _lack_of(self, error: Exception) -> str:
        """What was out of memory, where the step is repeated; empty where the exception ends the run."""
        return "" if self.sizes is None else lack_of_memory(error)

    # --- a micro-batch ---

    def draw_dropout(self, micro: int) -> None:
        """From the place of a micro-batch alone: the step, its number in it, and the device."""
        place = {"step": self.global_step, "micro": micro, "accumulated": self.accumulated}
        rank, world = self.trainer.global_rank, self.trainer.world_size
        seed_dropout(dropout_seed(self.seed, **place, rank=rank, world=world), self.device)

    def training_step(self, batch: StepBatch, batch_idx: int) -> Tensor:
        """The loss of a micro-batch. Lightning is given the number alone, and so holds no graph of a failed pass."""
        if not self._lack and not self.is_found_smaller():
            try:
                self._loss = self.loss_of(batch)
                return self._loss.detach()
            except Exception as error:
                self._lack = self._lack_of(error)
                if not self._lack:
                    raise
        return torch.zeros((), device=self.device)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Adds to the gradients, as Lightning would: of the loss divided by the number of micro-batches."""
        graph, self._loss = self._loss, None
        if graph is None:
            return
        try:
            (graph / self.accumulated).backward()
        except Exception as error:
            self._lack = self._lack_of(error)
            if not self._lack:
                raise

    # --- a step ---

    def is_found_smaller(self) -> bool:
        """Whether the run once found that micro-batches must be smaller from this step on."""
        size = None if self.sizes is None else self.sizes.get(self.global_step)
        return size is not None and size < self._rows

    @property
    def _rows(self) -> int:
        """Of a micro-batch."""
        world = self.trainer.world_size
        return self.step_data.batch_size // (world * self.step_data.micro_batches(world))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Completes the gradient: the step is repeated until it fits, and gradients are averaged over devices.

        Raises:
            MachineError: where a single row does not fit.
        """
        if self.sizes is None:
            return
        if self.trainer.world_size == 1:
            while self._lacks_memory:
                self._repeat(optimizer)
            return
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        while True:
            lacks, *has_gradient = self._of_all([self._lacks_memory, *(p.grad is not None for p in trained)])
            if not lacks:
                break
            self._repeat(optimizer)
        self._average_gradients([p for p, has in zip(trained, has_gradient, strict=True) if has])

    @property
    def _lacks_memory(self) -> bool:
        """Whether this process has to compute the step in smaller micro-batches."""
        return bool(self._lack) or self.is_found_smaller()

    def _of_all(self, flags: list[bool]) -> list[bool]:
        """Whether each holds in any process."""
        found = torch.tensor(flags, dtype=torch.int32, device=self.device)
        torch.distributed.all_reduce(found)
        return [bool(number) for number in found.tolist()]

    def _average_gradients(self, parameters: list[Tensor]) -> None:
        """Over all processes; one whose rows have no part in a parameter's gradient adds nothing to it."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
        torch._foreach_div_(gradients, self.trainer.world_size)  # pyright: ignore[reportPrivateImportUsage]
        works = [torch.distributed.all_reduce(gradient, async_op=True) for gradient in gradients]
        for work in works:
            cast(Any, work).wait()

    def _shrink(self) -> None:
        """Takes the next smaller micro-batches, or those that the run once found here.

        Raises:
            MachineError: where a micro-batch is a single row.
        """
        assert self.sizes is not None
        data, step, rows = self.step_data, self.global_step, self._rows
        if self.is_found_smaller():
            data.limit_micro_batches(self.sizes[step], self.trainer.world_size)
            return
        lack = f" ({self._lack})" if self._lack else ""
        if rows == 1:
            raise MachineError(
                f"out of memory{lack} with data.micro_batch_size = auto, which has come to 1 of the {data.unit}: lower "
                f"{data.lengths} or the body's size, or set gradient_checkpointing"
            )
        size = data.limit_micro_batches(rows // 2, self.trainer.world_size)
        self.sizes.find(step, size)
        rank_zero_info(
            f"[machine] step {step + 1:,} is out of memory with {rows:,} {data.unit} at once{lack}: "
            f"data.micro_batch_size auto is {size:,} from here"
        )

    def _repeat(self, optimizer: Optimizer) -> None:
        """The step anew, in smaller micro-batches."""
        trainer = self.trainer
        optimizer.zero_grad(set_to_none=True)
        self._shrink()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        batches = self.step_data.split_from(self.global_step)
        self._count_in(len(batches))
        self._lack = ""
        self.begin_step()
        for micro, batch in enumerate(batches):
            here = trainer.strategy.batch_to_device(batch)
            self.draw_dropout(micro)
            with trainer.precision_plugin.train_step_context():
                loss = self.training_step(here, micro)
            self.backward(loss)

    def _count_in(self, accumulated: int) -> None:
        """Has Lightning count this step and those before it in so many micro-batches each.

        It does so up to the last one of this step, which it has begun and not ended; the next validation reads the
        loader of today's micro-batches.
        """
        trainer, before = self.trainer, self.accumulated
        trainer.accumulate_grad_batches = accumulated
        trainer.val_check_interval = cast(int, trainer.val_check_interval) // before * accumulated
        trainer.val_check_batch = trainer.val_check_interval
        loop = cast(Any, trainer.fit_loop.epoch_loop)
        ready = (self.global_step + 1) * accumulated
        for part in (loop.batch_progress.total, loop.batch_progress.current):
            part.ready = part.started = ready
            part.processed = part.completed = ready - 1
        loop.val_loop._combined_loader = None

    # --- validation ---

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Adds the terms up; the means are exact however the windows are split."""
        if self.sizes is None:
            self.validate(batch)
        else:
            self._validate(batch, cast(Any, self.trainer).val_dataloaders.steps[batch_idx])

    def _validate(self, batch: Any, positions: list[int]) -> None:
        """Adds a batch, in halves where it is out of memory; other processes need not do likewise.

        Raises:
            MachineError: where a single row does not fit.
        """
        try:
            self.validate(batch)
            return
        except Exception as error:
            lack = self._lack_of(error)
            if not lack:
                raise
        if len(positions) == 1:
            raise MachineError(
                f"out of memory ({lack}) where 1 of the {self.step_data.unit} is validated: lower "
                f"{self.step_data.lengths} or the body's size"
            )
        loader, half = cast(Any, self.trainer).val_dataloaders, len(positions) // 2
        for part in (positions[:half], positions[half:]):
            (batch,) = loader.micro_batches(part, len(part))
            self._validate(self.trainer.strategy.batch_to_device(batch), part)
