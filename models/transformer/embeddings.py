"""What stands before the Blocks of a stack, and how two bodies share it.

Shapes: B batch, T positions, E width of the embeddings, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.presets import TransformerConfig
from models.transformer.layers import sinusoids
from models.transformer.norms import make_norm


class Embeddings(nn.Module):
    """Tables of positions and segments, norm and dropout: what a stack adds to its embedded tokens."""

    def __init__(self, config: TransformerConfig, *, max_positions: int, has_segments: bool) -> None:
        super().__init__()
        parts, width = config.parts, config.width_of_embeddings
        self.positions = parts.positions
        if parts.positions == "learned":
            self.position_table = nn.Embedding(max_positions, width)
        elif parts.positions == "sinusoidal":
            self.sinusoid_table: Tensor
            self.register_buffer("sinusoid_table", torch.empty(max_positions, width), persistent=False)
            self.sinusoid_table.copy_(sinusoids(max_positions, width))
        if has_segments:
            self.segment_table = nn.Embedding(parts.num_segments, width)
        self.norm = make_norm(parts, width) if parts.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens_BTE: Tensor, positions: Tensor, segments_BT: Tensor | None = None) -> Tensor:
        """[B, T, E], from embedded tokens at positions int64[T] or [B, T]."""
        if self.positions == "learned":
            tokens_BTE = tokens_BTE + self.position_table(positions)
        elif self.positions == "sinusoidal":
            tokens_BTE = tokens_BTE + self.sinusoid_table[positions]
        if segments_BT is not None:
            tokens_BTE = tokens_BTE + self.segment_table(segments_BT)
        return self.dropout(self.norm(tokens_BTE))


class SharedEmbeddings(NamedTuple):
    """The modules of a body's embeddings, for another body to hold as well; a stack that it lacks has none."""

    token_table: nn.Embedding  # [V, E]
    encoder: Embeddings | None = None
    decoder: Embeddings | None = None
