"""The attention module: projections, rotary positions, cached keys and values, around a kernel.

Shapes: B batch, T queries, S keys, D width, H query heads, K key and value heads, C width of a head.
"""

from torch import Tensor, nn

from models.attention.cache import KeysAndValues
from models.attention.kernels import Kernel, KernelMask
from models.attention.positions import rotate
from models.presets import TransformerConfig


class Attention(nn.Module):
    """Multi-head attention, grouped-query or multi-query where there are fewer key and value heads.

    A self-attention projects queries, keys and values by one matrix, a cross-attention keys and values by one.
    """

    def __init__(self, config: TransformerConfig, *, is_cross: bool = False) -> None:
        super().__init__()
        parts = config.parts
        self.query_heads, self.key_heads, self.head_width = (
            config.num_heads,
            config.key_value_heads,
            config.width_of_head,
        )
        self.scale = self.head_width**-0.5 if parts.scaled_scores else 1.0
        self.dropout = config.dropout * parts.attention_dropout
        self.is_cross = is_cross
        inner, key_value = self.query_heads * self.head_width, 2 * self.key_heads * self.head_width
        if is_cross:
            self.query = nn.Linear(config.width, inner, bias=parts.biases)
            self.key_value = nn.Linear(config.width, key_value, bias=parts.biases)
        else:
            self.query_key_value = nn.Linear(config.width, inner + key_value, bias=parts.biases)
        self.kernel = Kernel()
        self.output = nn.Linear(inner, config.width, bias=parts.biases)

    def _heads(self, states: Tensor) -> Tensor:
        """[B, length, heads · C] -> [B, heads, length, C]."""
        return states.unflatten(-1, (-1, self.head_width)).transpose(1, 2)

    def forward(
        self,
        states_BTD: Tensor,
        mask: KernelMask,
        *,
        memory_BSD: Tensor | None = None,
        angles: tuple[Tensor, Tensor] | None = None,
        cache: KeysAndValues | None = None,
    ) -> Tensor:
        """[B, T, D]. `memory_BSD` is what a cross-attention looks at, `angles` the rotary positions."""
        if self.is_cross:
            query_BHTC = self._heads(self.query(states_BTD))
            if cache is not None and cache.length:  # the memory does not grow
                key_BKSC, value_BKSC = cache.read()
            else:
                key_BKSC, value_BKSC = self._heads(self.key_value(memory_BSD)).split(self.key_heads, dim=1)
                if cache is not None:
                    cache.append(key_BKSC, value_BKSC)
        else:
            heads_BTNC = self.query_key_value(states_BTD).unflatten(-1, (-1, self.head_width))
            H, K = self.query_heads, self.key_heads
            if angles is None:  # parts of one tensor, whose gradients are joined at once
                query_BHTC, key_BKSC, value_BKSC = heads_BTNC.transpose(1, 2).split([H, K, K], dim=1)
            else:
                turned_BTNC, value_BSKC = heads_BTNC.split([H + K, K], dim=2)
                turned_BTNC = rotate(turned_BTNC, *(angle.to(turned_BTNC.dtype) for angle in angles))
                query_BHTC, key_BKSC = turned_BTNC.transpose(1, 2).split([H, K], dim=1)
                value_BKSC = value_BSKC.transpose(1, 2)
            if cache is not None:
                key_BKSC, value_BKSC = cache.append(key_BKSC, value_BKSC)
        dropout = self.dropout if self.training else 0.0
        mixed_BHTC = self.kernel(query_BHTC, key_BKSC, value_BKSC, mask, self.scale, dropout)
        return self.output(mixed_BHTC.transpose(1, 2).flatten(-2))
