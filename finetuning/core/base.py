"""What every head shares, so that a task's file holds nothing but its head.

Shapes: B batch, N labelled positions, D width.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch.optim import Optimizer

from common.errors import UserError
from data.stream.batch import Batch
from finetuning.body.body import Start, make_body
from finetuning.body.tuning import Tuning, frozen, is_unfrozen, layer_groups
from finetuning.core.definition import HeadDefinition
from finetuning.core.task import Task
from finetuning.data.batch import TaskExample, collate
from models.transformer.initialisation import initialise_children
from models.transformer.transformer import Transformer
from objectives.core.network import compiled_layers_of
from objectives.start.pretrained import Pretrained
from objectives.start.warm_start import Report, begin_with
from training.machine.ranks import of_all_processes
from training.optimizers.optim import OptimizerConfig, make_optimizer
from training.step.budget import Budget, StepCost
from training.step.compilation import CompiledLayers
from training.step.module import ExactModule
from training.step.terms import Term

ROWS_AT_ONCE = 64  # in evaluation, by default
FLOPS_OF_A_STEP = 3  # over those of a forward pass, as in pretraining


class FineTuning(HeadDefinition, ExactModule):
    """A head over a pretrained body, for one kind of task: a subclass defines what `HeadDefinition` lists.

    Args:
        task: which rows, and what to predict from them.
        tuning: which parts are trained, and how.
        start: the body's shape and its tokenizer.
        pretrained: the body's weights; None where a checkpoint will bring them.
        max_length: positions of the longest input.
        optimizer, budget, seed: as in pretraining.

    Raises:
        UserError: where the task makes no sense with this body or these settings.
    """

    def __init__(
        self,
        *,
        task: Task,
        tuning: Tuning,
        start: Start,
        pretrained: Pretrained | None = None,
        max_length: int,
        optimizer: OptimizerConfig,
        budget: Budget,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer=optimizer, budget=budget, seed=seed)
        self.task, self.tuning, self.start, self.pretrained = task, tuning, start, pretrained
        self.max_length = max_length
        self.body: Transformer | None = None
        self.report: Report | None = None
        self.labels: list[str] = []
        self.collected: dict[int, Any] = {}
        self.best_cost, self.best_step, self.stale = math.inf, -1, 0
        if max_length > start.max_positions and start.is_limited:
            raise UserError(
                f"data.max_length = {max_length} positions, and the model has a table of {start.max_positions}"
            )
        if tuning.attention == "bidirectional" and start.has_encoder:
            raise UserError("tuning.attention = bidirectional lifts a causal mask, and this model's encoder has none")
        if tuning.pooling != "auto" and not self.pools:
            raise UserError(f"tuning.pooling = {tuning.pooling}: this kind of task reads every state by itself")
        if tuning.class_weights != "none" and not self.knows_classes:
            raise UserError(f"tuning.class_weights = {tuning.class_weights}: this kind of task has no classes")
        if tuning.label_smoothing and not self.smooths:
            raise UserError(f"tuning.label_smoothing = {tuning.label_smoothing}: places in a text are not alike")
        self.check()

    def build_body(self) -> Transformer:
        """The part of the body that is needed: by default the input's one stack, without the vocabulary's head."""
        return make_body(self.start, dropout=self.tuning.dropout, decoder=not self.start.has_encoder, head=False)

    @property
    def is_causal(self) -> bool | None:
        """`Inputs.is_causal` of the body: None is its own kind."""
        return False if self.tuning.attention == "bidirectional" else None

    def terms(self, batch: Batch, *, count_correct: bool) -> dict[str, Term]:
        return self.terms_of(self.scores(batch), batch, count_correct=count_correct)

    def build(self) -> None:
        """Makes body and head: the head's weights are the seed's, the body's the pretrained ones or the seed's."""
        self.body = self.build_body()
        self.build_heads()
        initialise_children(self, self.seed)
        if self.pretrained is not None and not self.tuning.from_scratch:
            shape, blocks = self.start.body, self.start.num_blocks
            kept = (
                blocks[0] if self.body.encoder is not None else 0,
                blocks[1] if self.body.decoder is not None else 0,
            )
            self.report = begin_with(self, replace(self.pretrained, num_blocks=kept), shape, kept)
        if self.tuning.freeze:
            self.body.requires_grad_(False)
            if self.body.head is not None:
                self.body.head.requires_grad_(True)

    @torch.inference_mode()
    def predict(self, examples: Sequence[TaskExample], *, batch_size: int) -> Iterator[tuple[int, Any]]:
        """The outputs of examples with their numbers, texts of similar length together; in evaluation mode."""
        assert not self.training
        order = sorted(range(len(examples)), key=lambda index: len(examples[index]))
        for start in range(0, len(order), batch_size):
            numbers = order[start : start + batch_size]
            batch = collate([examples[number] for number in numbers], pad=self.start.vocabulary.pad).to(self.device)
            yield from zip(numbers, self.outputs(self.scores(batch), batch), strict=True)

    # --- Lightning's hooks ---

    @property
    def data(self) -> Any:
        """The run's TaskData."""
        return cast(Any, self.trainer).datamodule

    @property
    def compiled_layers(self) -> CompiledLayers:
        return compiled_layers_of(self.start.body, 1)

    def configure_model(self) -> None:
        if self.body is None:
            self.build()
        assert self.body is not None
        self.body.checkpoint_gradients(self.checkpoint_gradients)
        self.body.use_attention(self.kernels.attention)
        if self.compiles:
            self.body.compile_layers(encoder=None, decoder=None)

    def make_optimizer(self) -> Optimizer:
        assert self.body is not None
        if self.tuning.freeze:
            return make_optimizer(self, self.optimizer_config)
        groups = layer_groups(self, self.body, self.optimizer_config, self.tuning)
        return make_optimizer(self, self.optimizer_config, groups)

    def _epochs(self, step: int) -> float:
        return step / self.data.order.steps_per_epoch

    def learning_rate_factor(self, group: dict[str, Any], step: int, total: float) -> float:
        if not is_unfrozen(group.get("depth", 0), self._epochs(step), self.tuning.unfreeze_every):
            return 0.0
        return super().learning_rate_factor(group, step, total)

    def configure_gradient_clipping(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        """Drops the gradients of layers that are still frozen, so that they neither move nor count in the norm."""
        if self.tuning.unfreeze_every is not None:
            for parameter in frozen(optimizer.param_groups, self._epochs(self.global_step), self.tuning):
                parameter.grad = None
        super().configure_gradient_clipping(optimizer, *args, **kwargs)

    def step_cost(self) -> StepCost:
        assert self.body is not None
        rows = self.data.batch_size
        encoder, decoder, targets = self.data.mean_lengths
        flops = self.body.flops(encoder=encoder, decoder=decoder, targets=targets)
        return StepCost(
            raw_tokens=rows * (encoder + decoder),
            target_tokens=rows * targets,
            flops=FLOPS_OF_A_STEP * rows * flops,
            epochs=1 / self.data.order.steps_per_epoch,
        )

    def validate(self, batch: Batch) -> None:
        scores = self.scores(batch)
        terms = self.terms_of(scores, batch, count_correct=True)
        if not self.selects_by_loss:
            found = zip(batch.indices, self.outputs(scores, batch), strict=True)
            self.collected |= {index: output for index, output in found if index >= 0}
        self.validation_sums.add(terms)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        cost = self.validation_cost()
        if cost < self.best_cost:
            self.best_cost, self.best_step, self.stale = cost, self.global_step, 0
        else:
            self.stale += 1
        if self.tuning.patience is not None and self.stale >= self.tuning.patience:
            self.trainer.should_stop = True

    def measure_validation(self) -> dict[str, float]:
        """The task's metrics, where they are what the weights are chosen by."""
        if self.selects_by_loss:
            return {}
        everything, self.collected = of_all_processes(self.collected), {}
        rows, examples = self.data.validated
        outputs = [everything[index] for index in range(len(examples))]
        scores = self.measure_predictions(rows, self.decode_predictions(rows, examples, outputs))
        return {name: score.value for name, score in scores.items()}

    def metric_of(self, found: Iterable[str]) -> str:
        """The metric that chooses the best weights: the task's, or the first of those found (`test/accuracy`)."""
        if self.selects_by_loss:
            return "loss"
        return self.task.metric or next((name.rsplit("/", 1)[-1] for name in found), "loss")

    def headline_metrics(self) -> dict[str, float]:
        """The metric that chooses the best weights."""
        chosen = self.metric_of(self.validation_metrics)
        return {name: value for name, value in self.validation_metrics.items() if name == chosen}

    def validation_cost(self) -> float:
        if self.selects_by_loss:
            return super().validation_cost()
        value = self.validation_metrics[self.metric_of(self.validation_metrics)]
        return math.inf if math.isnan(value) else -value

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["tuning"] = {"best_cost": self.best_cost, "best_step": self.best_step, "stale": self.stale}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        kept = checkpoint["tuning"]
        self.best_cost, self.best_step, self.stale = kept["best_cost"], kept["best_step"], kept["stale"]
