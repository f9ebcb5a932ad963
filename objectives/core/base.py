"""The abstract objective: all that the four have in common, so that the only thing that differs is the objective."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.distributed.fsdp import fully_shard

from data.store.tokenizer import Vocabulary
from data.stream.batch import IGNORE, Batch, Corruption, MaxLengths
from data.stream.order import Purpose, generator
from data.stream.windows import Windows
from models.body import Inputs
from models.presets import TransformerConfig
from models.transformer.accounting import forward_flops
from models.transformer.initialisation import initialise_children
from models.transformer.transformer import Block, Transformer
from objectives.core.prompts import Generation, Prompts
from objectives.core.scorer import Scorer
from objectives.start.pretrained import open_pretrained
from objectives.start.warm_start import begin_with, check_fits
from training.step.budget import StepCost
from training.step.module import ExactModule
from training.step.terms import Term

MEASURED_WINDOWS = 64  # from which the mean lengths are taken that FLOPs are counted with
FLOPS_OF_A_STEP = 3  # over those of a forward pass: the backward pass has two products for each of its one


def check_between_0_and_1(**rates: float) -> None:
    """Raises ValueError where a rate that must hide something, and not all, does not."""
    for name, rate in rates.items():
        if not 0 < rate < 1:
            raise ValueError(f"model.init_args.{name} = {rate} must lie between 0 and 1, both excluded")


def check_share(**rates: float) -> None:
    """Raises ValueError where a rate lies outside [0, 1]."""
    for name, rate in rates.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"model.init_args.{name} = {rate} must lie in [0, 1]")


class Prediction(NamedTuple):
    """What the model says of one loss term: logits [N, classes], held against the labels ids_N."""

    logits: Tensor
    ids_N: Tensor


def term_of(prediction: Prediction, *, z_loss: float, count_correct: bool) -> Term:
    """Cross entropy in nats, summed in float32 at least; minimised with `z_loss` · (log Z)² (Mesh TensorFlow)."""
    logits, ids_N = prediction
    logits = logits.float() if logits.dtype != torch.float64 else logits
    entropy = F.cross_entropy(logits, ids_N, reduction="sum")
    minimised = entropy + z_loss * logits.logsumexp(dim=-1).square().sum() if z_loss else entropy
    correct = (logits.argmax(dim=-1) == ids_N).sum().to(entropy.dtype) if count_correct else None
    return Term(entropy, minimised, len(ids_N), correct)


class SpecialTokenTemplate(NamedTuple):
    """Special tokens, by role, before and behind a text alone that is read, and with which a decoder beside begins."""

    before: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    decoder_start: str | None = None


class Objective(ExactModule):
    """A pretraining objective over the shared Transformer.

    A subclass says which stacks it needs, what it does to a window (`corruption`) and how long the result is
    (`extent`). It may add heads and loss terms.

    Args:
        body: shape of the shared Transformer.
        z_loss: weight of (log Z)², which keeps logits small; T5 was trained with 1e-4.
        init_from: what the run begins with in place of random weights: a folder of a run, of one of its checkpoints,
            or of transformers' save_pretrained, or a name on the Hugging Face hub. Its tokenizer comes along.
        seed: decides initial weights and dropout.
        shared: what every trained module takes: `optimizer` and `budget`.

    Raises:
        ValueError: where a value is impossible.
    """

    uses_encoder: ClassVar[bool]
    uses_decoder: ClassVar[bool]
    template: ClassVar[SpecialTokenTemplate] = SpecialTokenTemplate()  # as in training
    token_term: ClassVar[str]  # the loss term whose labels are tokens, said by the Transformer's head

    def __init__(
        self,
        *,
        body: TransformerConfig,
        z_loss: float = 0.0,
        init_from: str | None = None,
        seed: int = 0,
        **shared: Any,
    ) -> None:
        super().__init__(seed=seed, **shared)
        if not z_loss >= 0:
            raise ValueError(f"model.init_args.z_loss = {z_loss} must not be negative")
        self.config, self.z_loss, self.init_from = body, z_loss, init_from
        self.num_blocks = body.num_blocks(encoder=self.uses_encoder, decoder=self.uses_decoder)
        self.keep_documents_apart = body.document_masking
        self.body: Transformer | None = None
        self._term_of = term_of

    # --- what an objective says of itself ---

    @abstractmethod
    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        """The pure function from a window and random numbers to an example."""

    @abstractmethod
    def max_lengths(self, window: int) -> MaxLengths:
        """Positions and targets, at most, of a window of that many raw tokens."""

    def nominal_rates(self, window: int) -> dict[str, float]:
        """What the settings say of the rates that objectives/inspection/rates.py measures."""
        return {"targets per raw token": self.max_lengths(window).targets / window}

    def check_data(self, windows: Windows) -> None:
        """Raises ValueError where the text cannot serve this objective."""

    def build_heads(self) -> None:
        """Adds modules beside the Transformer."""

    def predictions(self, batch: Batch) -> dict[str, Prediction]:
        """What the model says of each loss term."""
        logits, _ = self.run_transformer(batch)
        return {self.token_term: Prediction(logits, batch.labels[self.token_term].ids_N)}

    def answer(self, questions: Prompts) -> Iterator[Generation]:
        """What the model says to texts of a user's, asked as it was asked in training.

        Raises:
            ValueError: where a text cannot be asked so, or this objective has no question for a user to ask.
        """
        raise ValueError(f"{type(self).__name__} answers no texts: it has no method `answer`")

    def scorers(self, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """Ways to ask how likely a text is, by name: first the one that minimal pairs are to be judged by.

        Raises:
            ValueError: where this objective does not say how.
        """
        raise ValueError(f"{type(self).__name__} scores no texts: it has no method `scorers`")

    # --- what follows from it ---

    def longest_window(self, positions: int) -> int:
        """The most raw tokens whose window fits into that many positions; 0 where none does."""
        window = 2 * positions
        while window and max(self.max_lengths(window)[:2]) > positions:
            window -= 1
        return window

    def check_window(self, window: int) -> None:
        """Raises ValueError where a window of that many raw tokens is longer than the positions there are."""
        limit, needed = self.config.max_positions, max(self.max_lengths(window)[:2])
        if limit is not None and needed > limit:
            raise ValueError(
                f"data.window = {window} raw tokens make {needed} positions, but body.max_positions = {limit}; "
                f"the longest window that fits is {self.longest_window(limit)}"
            )

    def check_init_from(self) -> None:
        """Raises ValueError where the weights to begin with cannot be read, or do not fit."""
        if self.init_from is not None:
            check_fits(open_pretrained(self.init_from), self.config, self.num_blocks)

    def build(self, *, vocab_size: int, window: int) -> None:
        """Makes the Transformer and the heads, with initial weights."""
        self.check_window(window)
        self.body = Transformer(
            self.config,
            num_blocks=self.num_blocks,
            vocab_size=vocab_size,
            max_positions=self.config.max_positions or max(self.max_lengths(window)[:2]),
        )
        self.build_heads()
        initialise_children(self, self.seed)
        for stack in (self.body.encoder, self.body.decoder):
            if stack is not None:
                stack.checkpoint_gradients = self.checkpoint_gradients

    def run_transformer(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [N, V] at the labels of `token_term`, and all states [B, length, D] of the stack that predicts."""
        assert self.body is not None
        inputs = Inputs(
            encoder_ids_BS=batch.encoder_ids_BS,
            encoder_lengths_B=batch.encoder_lengths_B,
            encoder_documents_BS=batch.encoder_documents_BS,
            segments_BS=batch.segments_BS if self.config.parts.num_segments else None,
            decoder_ids_BT=batch.decoder_ids_BT,
            decoder_lengths_B=batch.decoder_lengths_B,
            decoder_documents_BT=batch.decoder_documents_BT,
            is_causal=self.uses_decoder,  # a member of a schedule may run on the other kind of stack
        )
        return self.body(inputs, batch.labels[self.token_term].positions_N)

    def terms(self, batch: Batch, *, count_correct: bool) -> dict[str, Term]:
        """The loss terms of a batch."""
        return {
            name: self._term_of(prediction, z_loss=self.z_loss, count_correct=count_correct)
            for name, prediction in self.predictions(batch).items()
        }

    # --- Lightning's hooks ---

    @property
    def data(self) -> Any:
        """The run's DataModule."""
        return cast(Any, self.trainer).datamodule

    def configure_model(self) -> None:
        """Makes the model once the vocabulary is known; shards it where the strategy asks for that (FSDP2)."""
        if self.body is None:
            self.build(vocab_size=self.data.vocabulary.size, window=self.data.window)
            if self.init_from is not None and self.trainer.ckpt_path is None:  # a checkpoint holds every weight
                report = begin_with(self, open_pretrained(self.init_from), self.config, self.num_blocks)
                self.initialized_from = {"origin": report.origin, "sha256": report.sha256}
                rank_zero_info(str(report))
        assert self.body is not None
        if self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            for module in self.body.modules():
                if isinstance(module, Block):
                    fully_shard(module, mesh=mesh)
            for module in self.children():
                fully_shard(module, mesh=mesh)
        if self.compiles:
            self.body.compile()
            self._term_of = torch.compile(term_of)

    @cached_property
    def mean_lengths(self) -> tuple[float, float, float]:
        """Mean positions of encoder and decoder, and targets, of a window, measured on the first of them."""
        return self.measured_mean_lengths(self.data.training_windows, self.data.vocabulary)

    def measured_mean_lengths(self, windows: Windows, vocabulary: Vocabulary) -> tuple[float, float, float]:
        """`mean_extent` of these windows."""
        corrupt, sample = self.corruption(vocabulary), range(min(MEASURED_WINDOWS, len(windows)))
        examples = [
            corrupt(windows[index], generator(0, Purpose.DISPLAY, 0, index), windows) for index in sample
        ]  # fmt: skip
        lengths = [
            (_length(e.encoder_ids), _length(e.decoder_ids), int((e.labels[self.token_term] != IGNORE).sum()))
            for e in examples
        ]
        encoder, decoder, targets = np.mean(lengths, axis=0).tolist()
        return encoder, decoder, targets

    def flops_per_window(self) -> float:
        """Floating-point operations of a forward pass over one window."""
        assert self.body is not None
        encoder, decoder, targets = self.mean_lengths
        return forward_flops(self.body, encoder=encoder, decoder=decoder, targets=targets)

    def references(self) -> dict[str, float]:
        """Where an untrained model stands, and what token frequencies alone can reach on the held-out text."""
        assert self.body is not None
        store = self.data.held_out_windows.store
        return {"ln_vocabulary": math.log(self.body.vocab_size), "unigram_entropy": store.unigram_entropy}

    def step_cost(self) -> StepCost:
        """What an optimizer step takes: raw tokens, labels of `token_term`, floating-point operations."""
        windows: Windows = self.data.training_windows
        batch_size: int = self.data.batch_size
        return StepCost(
            raw_tokens=batch_size * windows.num_tokens / len(windows),
            target_tokens=batch_size * self.mean_lengths[2],
            flops=FLOPS_OF_A_STEP * batch_size * self.flops_per_window(),
            epochs=batch_size / len(windows),
        )


def _length(ids: np.ndarray | None) -> int:
    return 0 if ids is None else len(ids)
