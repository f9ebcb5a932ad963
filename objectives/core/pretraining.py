"""The LightningModule that trains any objective: it builds the network, and hands loss terms to the exact step."""

import math
from contextlib import ExitStack
from functools import cached_property
from typing import Any, cast

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn
from torch.distributed.fsdp import fully_shard

from common.errors import UserError
from data.stream.windows import Windows
from data.tokens.tokenizer import Vocabulary
from models.attention.choice import measured, preferring, shapes_of, why_not_flex
from models.bodies.make import BodyConfig, make_body
from models.presets import TransformerConfig
from models.transformer.accounting import count_parameters
from models.transformer.stack import Block
from objectives.core.base import FLOPS_OF_A_STEP, Objective
from objectives.core.chunks import positions_at_once
from objectives.core.compiled import CompiledLosses
from objectives.core.frozen import check_positions, load_frozen, plan_of
from objectives.core.network import MAIN, BodyPlan, Network, compiled_layers_of
from objectives.core.predictions import term_of
from objectives.start.warm_start import begin_with, check_fits
from training.optimizers.optim import OptimizerConfig
from training.step.budget import Budget, StepCost
from training.step.compilation import CompiledLayers
from training.step.kernels import AttentionSeconds
from training.step.micro import at_once
from training.step.module import ExactModule
from training.step.terms import Term


class Pretraining(ExactModule):
    """Trains an objective over the shared Transformer.

    Args:
        objective: makes examples of text, and loss terms of examples.
        body: shape of the shared Transformer.
        optimizer, budget: as every trained module takes them.
        seed: decides initial weights and dropout.

    Raises:
        UserError: where the objective cannot use a body of this shape.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        body: BodyConfig,
        optimizer: OptimizerConfig,
        budget: Budget,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer=optimizer, budget=budget, seed=seed)
        objective.check_budget(budget)
        self.objective, self.config = objective, body
        self.trained = objective.bodies(body)
        self.num_blocks = self.trained[MAIN].num_blocks
        self.network: Network | None = None
        self._losses: CompiledLosses | None = None
        self._preference = ExitStack()
        self.at_unigram_entropy = objective.at_unigram_entropy

    # --- before anything is built ---

    @cached_property
    def _beside(self) -> tuple[dict[str, BodyPlan], dict[str, dict[str, str]]]:
        """The frozen bodies by role, and where their weights come from; read where something needs them first."""
        found = self.objective.frozen(self.config).items()
        origins = {role: {"origin": one.origin, "sha256": one.sha256} for role, one in found}
        return {role: plan_of(one) for role, one in found}, origins

    @property
    def frozen(self) -> dict[str, dict[str, str]]:
        return self._beside[1]

    def longest_window(self, positions: int) -> int:
        """The most raw tokens whose window fits into that many positions; 0 where none does."""
        window = 2 * positions
        while window and max(self.objective.max_lengths(window)[:2]) > positions:
            window -= 1
        return window

    def check_window(self, window: int) -> None:
        """Raises UserError where a window of that many raw tokens is longer than the positions there are."""
        self.objective.check_window(window)
        limit, needed = self.config.max_positions, max(self.objective.max_lengths(window)[:2])
        if limit is not None and needed > limit:
            raise UserError(
                f"data.window = {window} raw tokens make {needed} positions, but body.max_positions = {limit}; "
                f"the longest window that fits is {self.longest_window(limit)}"
            )
        for role, plan in self._beside[0].items():
            check_positions(role, plan, window=window, needed=needed)

    def check_memory(self, window: int, micro_batch_size: int, available: int) -> None:
        """Raises UserError where the states that a step keeps for its backward pass cannot fit into so many bytes.

        Counted is the least of them: one state a position and block, in two bytes a number.
        """
        encoder, decoder, _ = self.objective.max_lengths(window)
        states = encoder * self.num_blocks[0] + decoder * self.num_blocks[1]
        needed = 2 * micro_batch_size * self.config.width * states
        if needed > available:
            raise UserError(
                f"data.window = {window} with {micro_batch_size} windows at once takes {needed / 1e9:,.0f} GB at the "
                f"very least, and there are {available / 1e9:,.0f} GB: choose a smaller data.window or "
                f"data.micro_batch_size"
            )

    def check_initial_weights(self) -> None:
        """Raises UserError where the weights to begin with cannot be read, or do not fit."""
        initial = self.objective.initial_weights(self.num_blocks)
        if initial is not None:
            check_fits(initial, self.config, self.num_blocks)

    # --- the network ---

    def build(self, *, vocab_size: int, window: int) -> Network:
        """Makes the network, with initial weights."""
        self.check_window(window)
        self.network = Network(
            self.trained | self._beside[0],
            self.objective.heads(self.config),
            vocab_size=vocab_size,
            max_positions=max(self.objective.max_lengths(window)[:2]),
            seed=self.seed,
        )
        for role, weights in self.objective.frozen(self.config).items():
            load_frozen(self.network.role(role), weights, role=role)
        for body in self.network.bodies:
            body.checkpoint_gradients(self.checkpoint_gradients)
            body.use_attention(self.kernels.attention)
            body.positions_at_once = positions_at_once(self.kernels.logits_at_once, vocab_size)
        return self.network

    def blank_network(self, vocab_size: int) -> nn.Module:
        """The bodies on the meta device: the sizes of what a step multiplies by, without numbers."""
        with torch.device("meta"):
            bodies = [
                make_body(plan.config, num_blocks=plan.num_blocks, vocab_size=vocab_size, max_positions=1)
                for plan in self.trained.values()
            ]
        return nn.ModuleList(bodies)

    def attention_seconds(self, device: torch.device, dtype: torch.dtype, data: Any) -> AttentionSeconds:
        """Those of all Transformers, measured on CUDA; elsewhere there is no choice."""
        if device.type != "cuda":
            return AttentionSeconds({}, {})
        objective, sides = self.objective, self.objective.decoder_attention
        shapes, with_flex = [], dtype != torch.float64
        for plan in (self.trained | self._beside[0]).values():
            if isinstance(plan.config, TransformerConfig):
                with_flex = with_flex and not why_not_flex(plan.config)
                shapes += shapes_of(
                    plan.config,
                    plan.num_blocks,
                    rows=at_once(data.micro_batch_size, data.batch_size),
                    lengths=objective.max_lengths(data.window)[:2],
                    is_causal=objective.uses_decoder and sides != "bidirectional",
                    has_documents=objective.keep_documents_apart,
                    has_prefix=sides == "prefix",
                )
        masked, plain = measured(tuple(shapes), device=device, dtype=dtype, with_flex=with_flex)
        return AttentionSeconds({**masked}, {**plain})

    @property
    def built(self) -> Network:
        """The network, once it is built."""
        assert self.network is not None
        return self.network

    def terms(self, batch: Any, *, count_correct: bool) -> dict[str, Term]:
        """The loss terms of a batch."""
        if self.training:
            for name, values in self.objective.measures(batch).items():
                self.measure(name, values)
        predictions = self.objective.predictions(self.built, batch)
        if self._losses is not None:
            predictions = {name: self._losses.of(one) for name, one in predictions.items()}
        return {name: term_of(one, count_correct=count_correct) for name, one in predictions.items()}

    @property
    def beside_loss(self) -> tuple[str, ...]:
        return self.objective.beside_loss

    def validation_cost(self) -> float:
        results = self.validation_results.items()
        return sum(self.objective.validation_weight(term) * result.loss for term, result in results)

    def check_branch(self, step: int, *, parent_steps: int, total_steps: int) -> None:
        self.objective.check_branch(step, parent_steps=parent_steps, total_steps=total_steps)

    @property
    def num_parameters(self) -> int:
        """Those that checkpoints hold: a frozen body is no part of the model."""
        return count_parameters(self, without=self.built.frozen)

    @property
    def compiled_layers(self) -> CompiledLayers:
        """Those of every body that is trained."""
        num_stacks = sum(1 for plan in self.trained.values() for blocks in plan.num_blocks if blocks)
        return compiled_layers_of(self.config, num_stacks)

    def compile_steps(self, windows: Windows, vocabulary: Vocabulary) -> None:
        """Compiles steps over these windows; `begin_compiling` comes first."""
        encoder, decoder = self.objective.fixed_lengths(windows, vocabulary)
        for body in self.built.bodies:
            body.compile_layers(encoder=encoder, decoder=decoder)
            body.compiles_losses = True
        self._losses = CompiledLosses()

    # --- Lightning's hooks ---

    @property
    def data(self) -> Any:
        """The run's DataModule."""
        return cast(Any, self.trainer).datamodule

    def configure_model(self) -> None:
        """Makes the network once the vocabulary is known; shards it where the strategy is FSDP2."""
        if self.network is None:
            network = self.build(vocab_size=self.data.vocabulary.size, window=self.data.window)
            is_new = self.trainer.ckpt_path is None  # a checkpoint holds every weight that is trained
            initial = self.objective.initial_weights(self.num_blocks) if is_new else None
            if initial is not None:
                report = begin_with(network, initial, self.config, self.num_blocks)
                self.initialized_from = {"origin": report.origin, "sha256": report.sha256}
                rank_zero_info(str(report))
        self._preference.enter_context(preferring(self.kernels.plain))
        if self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            for module in self.built.modules():
                if isinstance(module, Block):
                    fully_shard(module, mesh=mesh)
            for module in self.built.children():
                fully_shard(module, mesh=mesh)
        if self.compiles:
            self.compile_steps(self.data.training_windows, self.data.vocabulary)

    def teardown(self, stage: str) -> None:
        self._preference.close()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the counts; checkpoints of the first edition hold the network's parameters without its name."""
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["state_dict"].items()
        checkpoint["state_dict"] = {f"network.{name.removeprefix('network.')}": tensor for name, tensor in state}

    def measure_validation(self) -> dict[str, float]:
        """Bits per byte, where the objective gives the text a likelihood (`likelihood_term`)."""
        term = self.objective.likelihood_term
        if term is None:
            return {}
        store = self.data.held_out_windows.store
        bits_per_token = self.validation_results[term].loss / math.log(2)
        return {"bits_per_byte": bits_per_token * len(store.tokens) / store.num_bytes}

    # --- what it costs ---

    @cached_property
    def mean_lengths(self) -> tuple[float, float, float]:
        """Mean positions of encoder and decoder, and targets, of a window."""
        return self.objective.mean_lengths(self.data.training_windows, self.data.vocabulary)

    @cached_property
    def flops_per_window(self) -> float:
        """Floating-point operations of a forward pass over one window."""
        return self.objective.flops_per_window(self.built, self.data.training_windows, self.data.vocabulary)

    def references(self) -> dict[str, float]:
        """The loss of an untrained model, and what token frequencies alone can reach on the held-out text."""
        store = self.data.held_out_windows.store
        return {"ln_vocabulary": math.log(self.built.body.vocab_size), "unigram_entropy": store.unigram_entropy}

    def step_cost(self) -> StepCost:
        """What an optimizer step takes: raw tokens, labels of the token term, floating-point operations."""
        windows: Windows = self.data.training_windows
        batch_size: int = self.data.batch_size
        return StepCost(
            raw_tokens=batch_size * windows.num_tokens / len(windows),
            target_tokens=batch_size * self.mean_lengths[2],
            flops=FLOPS_OF_A_STEP * batch_size * self.flops_per_window,
            epochs=batch_size / len(windows),
        )
