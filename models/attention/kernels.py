"""From a mask to what a kernel takes, and the kernels of attention.

Shapes: B batch, T queries, S keys, H query heads, K key and value heads, G = H / K, C width of a head.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.masks import HIDDEN, Mask, dense_bias, visible_keys

# In bf16 on a CPU, batched matmuls beat the fused kernel's backward pass fourfold at 128 keys and break even near 512.
LONGEST_KEYS_FOR_MATMULS = 512
HIDDEN_IN_FLOAT16 = -3e4  # its least number is -65504; a row of infinite ones would be NaN


class KernelMask(NamedTuple):
    """A mask as kernels take it: `bias`, added to the scores and broadcast to [B, H, T, S], or SDPA's causal flag."""

    bias: Tensor | None = None
    is_causal: bool = False


def prepare(mask: Mask, num_queries: int, num_keys: int, *, like: Tensor) -> KernelMask:
    """The mask of all layers of a stack: the causal flag on CUDA where it is the whole mask, else the dense form.

    On a CPU the flag is not used: the matrix products take the dense form alone. `like` has the device and precision
    of the states.
    """
    is_causal_alone = mask.is_causal and all(value is None for value in mask[1:])
    if is_causal_alone and like.is_cuda and num_queries == num_keys:
        return KernelMask(is_causal=True)
    return KernelMask(dense_bias(mask, num_queries, num_keys, like=like))


def attend(
    query_BHTC: Tensor, key_BKSC: Tensor, value_BKSC: Tensor, mask: KernelMask, *, scale: float, dropout: float = 0.0
) -> Tensor:
    """[B, H, T, C]: softmax(scale · query keyᵀ + bias) value; query head h uses key head ⌊h / G⌋."""
    B, H, T, C = query_BHTC.shape
    K, S = key_BKSC.shape[1:3]
    bias = mask.bias
    if bias is not None and query_BHTC.dtype == torch.float16:
        bias = bias.clamp(min=HIDDEN_IN_FLOAT16)
    bias = None if bias is None else bias.to(query_BHTC.dtype)
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


class Kernel(nn.Module):
    """`attend` as a module of each attention, so that a hook sees what it is given and what it returns."""

    def forward(
        self, query_BHTC: Tensor, key_BKSC: Tensor, value_BKSC: Tensor, mask: KernelMask, scale: float, dropout: float
    ) -> Tensor:
        return attend(query_BHTC, key_BKSC, value_BKSC, mask, scale=scale, dropout=dropout)


def attention_weights(query_BHTC: Tensor, key_BKSC: Tensor, mask: KernelMask, *, scale: float) -> Tensor:
    """[B, H, T, S], the weights by which `attend` mixes values, before dropout, by the plain formula.

    The sum over keys is 1, and hidden keys have exactly 0; a query that sees none, which only padding can be, has 0
    everywhere. In float32 at least, whatever the precision of the kernel.
    """
    wide = torch.float64 if query_BHTC.dtype == torch.float64 else torch.float32
    (H, T), (K, S) = query_BHTC.shape[1:3], key_BKSC.shape[1:3]
    with torch.autocast(query_BHTC.device.type, enabled=False):
        key_BHSC = key_BKSC.to(wide).repeat_interleave(H // K, dim=1)
        scores_BHTS = scale * (query_BHTC.to(wide) @ key_BHSC.mT)
        if mask.is_causal:
            visible = visible_keys(Mask(is_causal=True), T, S, device=scores_BHTS.device)
        else:
            visible = None if mask.bias is None else mask.bias > HIDDEN / 2
            scores_BHTS = scores_BHTS if mask.bias is None else scores_BHTS + mask.bias.to(wide)
        if visible is None:
            return scores_BHTS.softmax(dim=-1)
        return torch.where(visible, scores_BHTS, HIDDEN).softmax(dim=-1) * visible
