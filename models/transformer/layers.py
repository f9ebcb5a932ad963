"""The parts of the Transformer beside attention and norms: positions, feed-forward, head.

Shapes: B batch, T positions, D width, E width of the embeddings, F feed-forward width, V vocabulary, N positions of all
rows, or the labelled ones.
"""

import torch
from torch import Tensor, nn

from models.body import OutputLayer
from models.presets import TransformerConfig
from models.transformer.activations import ACTIVATIONS
from models.transformer.norms import make_norm

EMBEDDING_STD = 0.02  # of every preset but T5's; see models/transformer/initialisation.py


def sinusoids(length: int, width: int) -> Tensor:
    """[length, width], the positions of Vaswani et al. 2017 (3.5), as large as the embeddings they are added to.

    Computed on the CPU, so that they are the same on every machine.
    """
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device="cpu") / width)
    angles = torch.arange(length, device="cpu")[:, None] * rates
    return EMBEDDING_STD * torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


class FeedForward(nn.Module):
    """D -> F -> D. A gated one (Shazeer 2020) has the gate and what it lets through in one matrix, in that order."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        parts, inner = config.parts, config.width_of_feed_forward
        self.activate, self.gated = ACTIVATIONS[parts.activation], parts.gated
        self.up = nn.Linear(config.width, inner * (1 + parts.gated), bias=parts.biases)
        self.down = nn.Linear(inner, config.width, bias=parts.biases)
        self.dropout = nn.Dropout(config.dropout * parts.inner_dropout)

    def forward(self, states_BTD: Tensor) -> Tensor:
        # Where its values change their shape, a compiled step keeps a ReLU's signs as well, and they are slow to write.
        up = self.up(states_BTD.flatten(0, -2))
        if self.gated:
            gate, linear = up.chunk(2, dim=-1)
            inner_NF = self.activate(gate) * linear
        else:
            inner_NF = self.activate(up)
        return self.down(self.dropout(inner_NF)).view(states_BTD.shape)


class Head(nn.Module):
    """From states to the last layer of logits over the vocabulary, the token embeddings where it is tied to them.

    A tied one works at the width of the embeddings: its transform projects to it, or a projection where there is none.
    """

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        super().__init__()
        parts = config.parts
        width = config.width_of_embeddings if parts.tied else config.width
        self.scale = width**-0.5 if parts.scaled_logits else None
        self.activate = ACTIVATIONS[parts.activation]
        self.transform = nn.Linear(config.width, width) if parts.head_transform else None
        self.norm = make_norm(parts, width) if parts.head_transform else None
        needs_projection = width != config.width and not parts.head_transform
        self.projection = nn.Linear(config.width, width, bias=parts.biases) if needs_projection else None
        self.weight = None if parts.tied else nn.Parameter(torch.empty(vocab_size, width))
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if parts.head_bias else None

    def forward(self, states_ND: Tensor, embeddings_VE: Tensor) -> OutputLayer:
        if self.transform is not None and self.norm is not None:
            states_ND = self.norm(self.activate(self.transform(states_ND)))
        if self.projection is not None:
            states_ND = self.projection(states_ND)
        if self.scale is not None:
            states_ND = states_ND * self.scale
        return OutputLayer(states_ND, embeddings_VE if self.weight is None else self.weight, self.bias)
