"""Attention with all that decides who sees whom, smallest part first.

Shapes: B batch, T queries, S keys, D width, H query heads, K key and value heads, G = H / K, C width of a head.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.cache import KeysAndValues
from models.presets import TransformerConfig

# In bf16 on a CPU, batched matmuls beat the fused kernel's backward pass fourfold at 128 keys and break even near 512.
LONGEST_KEYS_FOR_MATMULS = 512
HIDDEN = -1e30  # a score that no key survives, yet finite in every precision


class Mask(NamedTuple):
    """Who sees whom: `bias`, added to the scores and broadcast to [B, H, T, S], or none; causal beside that."""

    bias: Tensor | None = None
    is_causal: bool = False


def positions_of(documents_BT: Tensor) -> Tensor:
    """int64[B, T], places counted anew from every change of document."""
    places_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    begins_BT = F.pad(documents_BT[:, 1:] != documents_BT[:, :-1], (1, 0), value=True)
    return places_T - torch.where(begins_BT, places_T, 0).cummax(dim=1).values


def visible_keys(
    num_keys: int,
    *,
    key_starts_B: Tensor | None = None,
    key_lengths_B: Tensor | None = None,
    query_documents_BT: Tensor | None = None,
    key_documents_BS: Tensor | None = None,
) -> Tensor | None:
    """bool[B, 1, 1 or T, S], which keys a query may see by padding and documents; None where it may see all.

    A position of document 0 is seen from every document and sees only others of document 0.
    """
    visible: Tensor | None = None
    if key_lengths_B is not None:
        visible = (torch.arange(num_keys, device=key_lengths_B.device) < key_lengths_B[:, None])[:, None, None, :]
    if key_starts_B is not None:
        begun = (torch.arange(num_keys, device=key_starts_B.device) >= key_starts_B[:, None])[:, None, None, :]
        visible = begun if visible is None else visible & begun
    if query_documents_BT is not None and key_documents_BS is not None:
        keys_B11S = key_documents_BS[:, None, None, :]
        same = (query_documents_BT[:, None, :, None] == keys_B11S) | (keys_B11S == 0)
        visible = same if visible is None else visible & same
    return visible


def make_mask(visible: Tensor | None, relative_1HTS: Tensor | None, *, causal_length: int | None, like: Tensor) -> Mask:
    """The mask of all layers of a stack.

    A hidden key's score is finite: a query that sees none, which only padding can be, gives numbers that nobody reads
    instead of NaN.

    Args:
        visible: of `visible_keys`.
        relative_1HTS: T5's bias.
        causal_length: T of a self-attention that must not look ahead; None where it may.
        like: a tensor of the device and precision wanted.
    """
    if visible is None and relative_1HTS is None and (causal_length is None or like.is_cuda):
        return Mask(is_causal=causal_length is not None)
    if causal_length is not None:
        past = torch.ones(causal_length, causal_length, dtype=torch.bool, device=like.device).tril()
        visible = past if visible is None else visible & past
    bias = torch.zeros((), dtype=like.dtype, device=like.device) if relative_1HTS is None else relative_1HTS
    if visible is not None:
        bias = torch.where(visible, bias, HIDDEN)
    return Mask(bias)


def relative_buckets(distances: Tensor, *, bidirectional: bool, num_buckets: int = 32, longest: int = 128) -> Tensor:
    """int64[...], T5's bucket of each distance key - query (Raffel et al. 2020, 2.1; Mesh TensorFlow).

    Half of the buckets are for exact distances, half for ranges that grow up to `longest`. A bidirectional stack
    keeps half of each for keys ahead; a causal one has none ahead.
    """
    offset = torch.zeros_like(distances)
    if bidirectional:
        num_buckets //= 2
        offset = (distances > 0).long() * num_buckets
        distances = distances.abs()
    else:
        distances = (-distances).clamp(min=0)
    exact = num_buckets // 2
    ratio = (distances.clamp(min=1).float() / exact).log() / math.log(longest / exact)
    ranged = (exact + (ratio * (num_buckets - exact)).long()).clamp(max=num_buckets - 1)
    return offset + torch.where(distances < exact, distances, ranged)


def rotary_angles(positions: Tensor, head_width: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines [..., T, C] of rotary positions (Su et al. 2021), halves side by side as Llama has them."""
    exponents = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width
    angles = positions[..., None].float() * (1.0 / base**exponents)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(states_BHTC: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """States turned by their positions' angles."""
    first, second = states_BHTC.chunk(2, dim=-1)
    return states_BHTC * cosines + torch.cat([-second, first], dim=-1) * sines


def attend(
    query_BHTC: Tensor, key_BKSC: Tensor, value_BKSC: Tensor, mask: Mask, *, scale: float, dropout: float = 0.0
) -> Tensor:
    """[B, H, T, C]: softmax(scale · query keyᵀ + bias) value; query head h uses key head ⌊h / G⌋."""
    B, H, T, C = query_BHTC.shape
    K, S = key_BKSC.shape[1:3]
    bias = None if mask.bias is None else mask.bias.to(query_BHTC.dtype)
    if query_BHTC.is_cpu and query_BHTC.dtype == torch.bfloat16 and S <= LONGEST_KEYS_FOR_MATMULS:
        grouped_BKRC = (query_BHTC * scale).reshape(B, K, -1, C)  # R = G · T: the queries of one key head
        scores_BHTS = (grouped_BKRC @ key_BKSC.transpose(-1, -2)).view(B, H, T, S)
        weights_BHTS = (scores_BHTS if bias is None else scores_BHTS + bias).softmax(dim=-1)
        weights_BHTS = F.dropout(weights_BHTS, dropout, training=dropout > 0)
        return (weights_BHTS.view(B, K, -1, S) @ value_BKSC).view(B, H, T, C)
    return F.scaled_dot_product_attention(
        query_BHTC,
        key_BKSC,
        value_BKSC,
        attn_mask=bias,
        is_causal=mask.is_causal,
        scale=scale,
        dropout_p=dropout,
        enable_gqa=H != K,
    )


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
        self.output = nn.Linear(inner, config.width, bias=parts.biases)

    def _heads(self, states: Tensor) -> Tensor:
        """[B, length, heads · C] -> [B, heads, length, C]."""
        return states.unflatten(-1, (-1, self.head_width)).transpose(1, 2)

    def forward(
        self,
        states_BTD: Tensor,
        mask: Mask,
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
            heads = self._heads(self.query_key_value(states_BTD))
            query_BHTC, key_BKSC, value_BKSC = heads.split([self.query_heads, self.key_heads, self.key_heads], dim=1)
        if angles is not None:
            cosines, sines = (angle.to(query_BHTC.dtype) for angle in angles)
            query_BHTC, key_BKSC = rotate(query_BHTC, cosines, sines), rotate(key_BKSC, cosines, sines)
        if cache is not None and not self.is_cross:
            key_BKSC, value_BKSC = cache.append(key_BKSC, value_BKSC)
        dropout = self.dropout if self.training else 0.0
        mixed_BHTC = attend(query_BHTC, key_BKSC, value_BKSC, mask, scale=self.scale, dropout=dropout)
        return self.output(mixed_BHTC.transpose(1, 2).flatten(-2))
