"""The exact step: a LightningModule whose gradient does not depend on how a batch is split.

Lightning averages the losses of micro-batches and of devices; where they hold unequal numbers of labels, a mean of
means is not the mean (pytorch-lightning #20350). Here every loss term is a sum, divided by its divisor (the number of
its labels, unless an objective has another) in the whole optimizer step, over all micro-batches and devices.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
import torch.distributed
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from training.optimizers.averaging import WeightAverage
from training.optimizers.optim import OptimizerConfig, gradient_norm, learning_rate_factor, make_optimizer
from training.optimizers.scaling import LossScale
from training.step.budget import Budget, Progress, StepCost
from training.step.compilation import CompiledLayers
from training.step.kernels import HasKernels
from training.step.micro import Request, StepBatch
from training.step.stops import Diverged
from training.step.terms import Sums, Term
from training.step.validation import ValidatedSteps


class ExactModule(ValidatedSteps, HasKernels, ABC):
    """Trains by the exact step.

    Args:
        optimizer: how weights are updated.
        budget: how long the run lasts.
        seed: decides dropout, anew for every micro-batch, so that a resumed run draws what it would have drawn.
    """

    def __init__(self, *, optimizer: OptimizerConfig, budget: Budget, seed: int) -> None:
        super().__init__(seed)
        self.optimizer_config, self.budget = optimizer, budget
        self.checkpoint_gradients = self.compiles = False  # how the model is computed, once it is made
        self.progress: Progress | None = None
        self.training_sums, self.training_measures = Sums(), Sums()
        self.raw_tokens = self.target_tokens = 0  # consumed so far, by all processes
        self.gradient_norm = self.learning_rate = self.flops_per_step = math.nan
        self.requests: set[Request] = set()  # of this process
        self.agreed: set[Request] = set()  # of any process, as of the beginning of the step
        self.at_unigram_entropy = ""  # what it means for this model that its loss is there
        self.initialized_from: dict[str, str] = {}  # origin and SHA-256 of weights that were trained before
        self._saved_average: tuple[dict[str, Tensor], int] | None = None  # of the checkpoint that the run goes on from
        self._seconds_before = 0.0
        self._step = torch.zeros(0, device="cpu")  # what the processes agreed on for the step, see _agree
        self._step_losses: list[Tensor] = []
        self._step_indices: list[int] = []
        self._sums_before: tuple[Sums, Sums] | None = None  # those of training, at the beginning of the step
        self.loss_scale: LossScale | None = None  # of a run in float16

    @abstractmethod
    def step_cost(self) -> StepCost:
        """What an optimizer step takes of each measure of a budget."""

    @property
    def frozen(self) -> Mapping[str, dict[str, str]]:
        """Origin and SHA-256 of the weights of the bodies that no checkpoint holds, by role."""
        return {}

    @property
    def num_parameters(self) -> int:
        """Parameters of the model that is trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def compiled_layers(self) -> CompiledLayers:
        """What `--compile true` compiles."""
        return CompiledLayers(kinds=1, preset=None)

    def references(self) -> dict[str, float]:
        """Numbers to read a loss by, logged beside it."""
        return {}

    def check_branch(self, step: int, *, parent_steps: int, total_steps: int) -> None:
        """Raises UserError where a run of `total_steps` has not come to `step` as one of `parent_steps` has."""

    def make_optimizer(self) -> Optimizer:
        """The optimizer of what is trained; a group's learning rate is the greatest that it comes to."""
        return make_optimizer(self, self.optimizer_config)

    def learning_rate_factor(self, group: dict[str, Any], step: int, total: float) -> float:
        """The share of its greatest learning rate that a group has in update number `step` (from 0) of `total`."""
        return learning_rate_factor(self.optimizer_config, step, total)

    def measure(self, name: str, values: Tensor) -> None:
        """Logs the mean of some numbers over the training steps between two logs."""
        if self.training:
            total = values.sum().float()
            self.training_measures.add({name: Term(total, total, len(values), len(values))})

    # --- the step ---

    @cached_property
    def _all_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())  # the same in every step; to find them takes longer than to clip a few

    def on_train_start(self) -> None:
        assert self.progress is not None
        if (decay := self.optimizer_config.ema_decay) is not None:
            self.average = WeightAverage(self, decay)
            if self._saved_average is not None:
                self.average.load(*self._saved_average)
        self.progress.start(self._seconds_before)
        if self.trainer.precision == "16-mixed" and self.loss_scale is None:
            self.loss_scale = LossScale()

    def _agree(self, batch: StepBatch) -> None:
        """Adds up over all processes: divisors, target and raw tokens, seconds (of the first) and requests."""
        assert self.progress is not None
        seconds = self.progress.elapsed if self.trainer.is_global_zero else 0.0
        requests = [float(request in self.requests) for request in Request]
        numbers = [*batch.step_divisors.values(), batch.step_target_tokens, batch.step_raw_tokens, seconds, *requests]
        self._step = torch.tensor(numbers, dtype=torch.float64, device="cpu")
        if self.trainer.world_size > 1:  # a kind of device of which a run can have several has float64
            self._step = self._step.to(self.device)
            torch.distributed.all_reduce(self._step)

    def on_train_batch_start(self, batch: StepBatch, batch_idx: int) -> None:
        """Agrees on the step at its first micro-batch."""
        micro = batch_idx % self.accumulated
        if micro == 0:
            self._agree(batch)
            self._sums_before = None
            self.begin_step()
        self.draw_dropout(micro)

    def begin_step(self) -> None:
        self._step_losses, self._step_indices = [], []
        if self.sizes is not None:
            before = self._sums_before or (self.training_sums, self.training_measures)
            self.training_sums, self.training_measures = before
            self._sums_before = self.training_sums.copy(), self.training_measures.copy()

    def loss_of(self, batch: StepBatch) -> Tensor:
        """The part of the step's loss that a micro-batch adds, times their number and the devices'.

        The gradient's is divided by the number of micro-batches, as Lightning does it, and averaged over devices; both
        are undone here.
        """
        self._step_indices += batch.indices
        terms = self.terms(batch, count_correct=False)
        self.training_sums.add(terms)
        divisors = torch.where(self._step > 0, self._step, 1.0)  # a term without labels has a sum of 0
        totals = dict(zip(batch.step_divisors, divisors, strict=False))
        sums = {name: term.minimised_sum for name, term in terms.items()}
        loss = torch.stack([value / totals[name].to(value.dtype) for name, value in sums.items()]).sum()
        self._step_losses.append(loss.detach())
        scale = 1.0 if self.loss_scale is None else self.loss_scale.scale
        return loss * (self.accumulated * self.trainer.world_size * scale)

    def configure_gradient_clipping(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        """Measures the gradient, refuses one that is not finite, and clips it; all before the update.

        In float16, one that overflowed under its scale is dropped instead, and so is the update.

        Raises:
            Diverged: where loss or gradient is infinite or not a number.
        """
        parameters = [parameter for parameter in self._all_parameters if parameter.grad is not None]
        if self.loss_scale is not None:
            self.loss_scale.undo(parameters)
        norm = gradient_norm(parameters)
        loss = torch.stack(self._step_losses).sum()
        self.gradient_norm, loss = torch.stack([norm, loss]).tolist()  # the one wait for the device
        target_tokens, raw_tokens, seconds, *requests = self._step[-3 - len(Request) :].tolist()
        is_taken = self.loss_scale is None or not math.isfinite(loss) or self.loss_scale.take(self.gradient_norm)
        if is_taken and not (math.isfinite(self.gradient_norm) and math.isfinite(loss)):
            raise Diverged(
                f"step {self.global_step}: loss {loss:g}, gradient norm {self.gradient_norm:g}; stopped before the "
                f"update. Windows of the step here: {self._step_indices}. The last checkpoint is intact; a lower "
                f"--optimizer.learning_rate or a longer --optimizer.warmup is the usual remedy"
            )
        self.learning_rate = max(group["lr"] for group in optimizer.param_groups)
        assert self.progress is not None
        self.progress.agreed_seconds = seconds
        self.raw_tokens += int(raw_tokens)
        self.target_tokens += int(target_tokens)
        self.agreed = {request for request in Request if requests[request]}
        if not is_taken:
            optimizer.zero_grad(set_to_none=True)  # without gradients an optimizer changes nothing
        elif self.optimizer_config.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.optimizer_config.max_grad_norm, norm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The update, and that of the weights' average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update()

    # --- optimizer ---

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, with a learning rate that follows from the step and the budget."""
        cost = self.step_cost()
        self.flops_per_step, total_steps = cost.flops, self.budget.total_steps(cost)
        self.progress = progress = Progress(total_steps=total_steps, seconds=self.budget.seconds)
        config = self.optimizer_config
        if total_steps is not None:
            config.check_warmup(total_steps)
        optimizer = self.make_optimizer()
        schedule = LambdaLR(
            optimizer,
            [
                lambda step, group=group: self.learning_rate_factor(group, step, progress.total(step))
                for group in optimizer.param_groups
            ],
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- resuming ---

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert self.progress is not None
        checkpoint["progress"] = {
            "seconds": self.progress.elapsed,
            "raw_tokens": self.raw_tokens,
            "target_tokens": self.target_tokens,
            "sums": [sums.totals() for sums in (self.training_sums, self.training_measures)],
            "loss_scale": None if self.loss_scale is None else self.loss_scale.state(),
        }
        if self.average is not None:
            self.average.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up the counts; micro-batches are counted from the optimizer step, which is all a position follows from.

        So a run may go on with another number of micro-batches, and Lightning neither skips nor repeats anything,
        wherever in its loops the checkpoint was written.
        """
        progress = checkpoint["progress"]
        if "average" in checkpoint:
            self._saved_average = checkpoint["state_dict"], checkpoint["average"]["updates"]
            checkpoint["state_dict"] = checkpoint["average"]["trained"]
        if scale := progress.get("loss_scale"):
            self.loss_scale = LossScale(**scale)
        self._seconds_before = float(progress["seconds"])
        self.raw_tokens, self.target_tokens = int(progress["raw_tokens"]), int(progress["target_tokens"])
        if self.trainer.is_global_zero:  # the others' part is in what the first one takes up
            for sums, totals in zip((self.training_sums, self.training_measures), progress["sums"], strict=True):
                sums.restore(totals)
        loop = checkpoint["loops"]["fit_loop"]
        batches = checkpoint["global_step"] * self.accumulated
        for part in ("total", "current"):
            counters = loop["epoch_loop.batch_progress"][part]
            counters.update(dict.fromkeys(counters, batches))
        loop["epoch_loop.batch_progress"]["is_last_batch"] = False
