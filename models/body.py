"""What every body offers: generation speaks to this, whatever lies behind it.

Shapes: B batch, S encoder positions, T decoder positions, D width, V vocabulary, N labelled positions.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError

# What computes attention under a mask that is more than the causal one: SDPA, which takes it as a dense tensor, or
# FlexAttention, which compiles it and skips what it hides.
AttentionKernel = Literal["dense", "flex"]


class Inputs(NamedTuple):
    """What a body reads.

    Lengths are None where no row is padded, documents where they are not kept apart, and the decoder's starts where no
    row is padded on the left.

    Attributes:
        is_causal: whether a position of the sole or the last stack sees only itself and those before; by default a
            decoder's does and an encoder's does not.
        prefixes: [B, positions], of the sole or the last stack, the number of the prefix that each position belongs to,
            0 for none; positions of one prefix see each other though the stack is causal. With a cache, of those
            that are read first.
    """

    encoder_ids_BS: Tensor | None = None
    encoder_lengths_B: Tensor | None = None
    encoder_documents_BS: Tensor | None = None
    segments_BS: Tensor | None = None
    decoder_ids_BT: Tensor | None = None
    decoder_lengths_B: Tensor | None = None
    decoder_documents_BT: Tensor | None = None
    decoder_starts_B: Tensor | None = None
    is_causal: bool | None = None
    prefixes: Tensor | None = None


class OutputLayer(NamedTuple):
    """The last layer of a head and what it is applied to: logits are features · weightᵀ + bias."""

    features_NE: Tensor
    weight_VE: Tensor
    bias_V: Tensor | None

    def logits(self) -> Tensor:
        """[N, V]."""
        return F.linear(self.features_NE, self.weight_VE, self.bias_V)


class Cache(Protocol):
    """What a decoder keeps of the positions that it has read, so that each is computed once.

    Attributes:
        length: how many they are.
    """

    length: int

    def select(self, rows_B: Tensor) -> None:
        """Puts other rows in the places of these, all of which look at the same encoder's states as before."""


class Body(nn.Module, ABC):
    """An encoder, a decoder, or both, with logits over a vocabulary.

    Attributes:
        vocab_size: V.
        num_blocks: of encoder and decoder.
        reads_segments: whether an encoder's positions have token types.
        has_position_table: whether a sequence can be no longer than a table of positions.
        positions_at_once: how many positions a loss in training takes the logits of at once; None for all.
        compiles_losses: whether what such a loss computes of these logits is compiled.
        initial_bound: weights are drawn uniformly from this bound on both sides of 0, where there is one.
    """

    vocab_size: int
    num_blocks: tuple[int, int]
    reads_segments: bool = False
    has_position_table: bool = False
    positions_at_once: int | None = None
    compiles_losses: bool = False
    initial_bound: float | None = None

    @property
    def has_encoder(self) -> bool:
        return self.stacks[0] is not None

    @property
    def has_decoder(self) -> bool:
        return self.stacks[1] is not None

    @abstractmethod
    def encode(self, inputs: Inputs) -> Tensor:
        """[B, S, D], the encoder's states."""

    @abstractmethod
    def decode(self, inputs: Inputs, memory_BSD: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """[B, T, D], the decoder's states; it looks at the encoder's where there is one, and behind what is cached."""

    @abstractmethod
    def logits(self, states_ND: Tensor) -> Tensor:
        """[N, V]."""

    def output_layer(self, states_ND: Tensor) -> OutputLayer | None:
        """The last layer of `logits`, before it is applied; None where logits are made otherwise."""
        return None

    @abstractmethod
    def new_cache(self, capacity: int) -> Cache:
        """An empty cache of the decoder, for that many positions at most."""

    def compile_generation(self) -> None:
        """Compiles each step of generation, for one shape: caches are static from then on.

        Raises:
            UserError: where this body generates nothing by steps of one shape.
        """
        raise UserError(f"--compile: {type(self).__name__} has no decoder with a static cache; leave it out")

    @abstractmethod
    def flops(self, *, encoder: float, decoder: float, targets: float) -> float:
        """Floating-point operations of a forward pass over one row.

        Args:
            encoder: positions of the encoder.
            decoder: positions of the decoder.
            targets: positions at which the head computes logits.
        """

    @property
    def why_not_exported(self) -> str:
        """Why no class of transformers is this body; "" where one is."""
        return ""

    @property
    def embeddings(self) -> Any:
        """What another body of this class can hold in place of embeddings of its own."""
        raise UserError(f"{type(self).__name__} cannot share its embeddings")

    @property
    def stacks(self) -> tuple[nn.Module | None, nn.Module | None]:
        """The modules of encoder and decoder."""
        return getattr(self, "encoder", None), getattr(self, "decoder", None)

    def finish_initialisation(self) -> None:
        """Sets the first values that are neither drawn nor 0 nor 1, once all others are there."""

    def drop_head(self) -> None:
        """Leaves out the head over the vocabulary, for a body that predicts no tokens."""
        raise UserError(f"{type(self).__name__} cannot be had without its head over the vocabulary")

    def checkpoint_gradients(self, is_on: bool) -> None:
        """Computes each layer twice, to save memory.

        Raises:
            UserError: where this body cannot.
        """
        if is_on:
            raise UserError(f"gradient_checkpointing = true: {type(self).__name__} keeps all states; leave it out")

    def compile_layers(self, *, encoder: int | None, decoder: int | None) -> None:
        """Compiles one layer of each kind, for training alone: whatever has no gradient is computed as it is.

        What is compiled follows from these lengths and from nothing that came before, so that a run that goes on
        computes with the same kernels. A body whose layers are kernels of their own already compiles nothing.

        Args:
            encoder: positions of each of its rows, where all have as many; others are computed as they are. None where
                lengths vary: what is compiled takes any.
            decoder: likewise.
        """

    def use_attention(self, kernel: AttentionKernel) -> None:
        """Computes attention under masks by that kernel; the numbers are the same but for rounding.

        Raises:
            UserError: where a body of this shape cannot.
        """

    @abstractmethod
    def layers(self) -> list[list[nn.Module]]:
        """The modules of each layer from the head down, for learning rates by layer; the last are the embeddings."""

    def forward(self, inputs: Inputs) -> Tensor:
        """[B, length, D], the states of the last stack; the head is for labelled positions alone (`logits`).

        It is a third of a small model's work, and 85 % of a masked LM's positions have no label.
        """
        memory_BSD = self.encode(inputs) if self.has_encoder else None
        states = self.decode(inputs, memory_BSD) if self.has_decoder else memory_BSD
        assert states is not None
        return states
