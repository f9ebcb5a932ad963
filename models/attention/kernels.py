"""From a mask to what a kernel takes, and the kernels of attention.

Shapes: B batch, T queries, S keys, H query heads, K key and value heads, G = H / K, C width of a head.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from models.attention.blocks import block_mask
from models.attention.masks import HIDDEN, Mask, dense_bias
from models.body import AttentionKernel

# In bf16 on a CPU, batched matmuls beat the fused kernel's backward pass fourfold at 128 keys and break even near 512.
LONGEST_KEYS_FOR_MATMULS = 512
# On a CPU causal queries are computed in parts, of which all but the last leave keys out: 0.62 of the products. In bf16
# and float32 attention takes 0.75 to 0.8 of its time at 512 queries, 0.85 to 0.9 at 256, and at 128 what it took.
PARTS, LEAST_IN_PARTS = 4, 256
FLEX_KERNELS = 32
HIDDEN_IN_FLOAT16 = -3e4  # its least number is -65504; a row of infinite ones would be NaN


class FlexMask(NamedTuple):
    """A mask as FlexAttention takes it.

    Attributes:
        mask: what is meant.
        blocks: of keys that each block of queries sees.
    """

    mask: Mask
    blocks: BlockMask


class KernelMask(NamedTuple):
    """A mask as kernels take it.

    Attributes:
        bias: added to the scores and broadcast to [B, H, T, S].
        is_causal: SDPA's flag, which stands for the whole mask.
        flex: FlexAttention's form, which stands for the whole mask.
        hides_later: whether the bias hides, whatever else, all keys behind each query.
    """

    bias: Tensor | None = None
    is_causal: bool = False
    flex: FlexMask | None = None
    hides_later: bool = False

    def of_queries(self, first: int, end: int, num_keys: int) -> "KernelMask":
        """The same of some queries and of the first keys, which are all that these see."""
        assert self.bias is not None
        return KernelMask(self.bias[..., first:end, :num_keys])

    def dense(self, num_queries: int, num_keys: int, *, like: Tensor) -> Tensor | None:
        """What is added to the scores, whatever the kernel: numbers that broadcast to [B, H, T, S], or none."""
        if self.flex is None and not self.is_causal:
            return self.bias
        mask = Mask(is_causal=True) if self.flex is None else self.flex.mask
        return dense_bias(mask, num_queries, num_keys, like=like)


def prepare(
    mask: Mask, num_queries: int, num_keys: int, *, like: Tensor, kernel: AttentionKernel = "dense"
) -> KernelMask:
    """The mask of all layers of a stack: the causal flag on CUDA where it is the whole mask, else what `kernel` takes.

    On a CPU the flag is not used: the matrix products take the dense form alone. `like` has the device and precision
    of the states. A single query, as generation has it, is computed under the dense form.
    """
    is_plain = all(value is None for value in mask[1:])
    if is_plain and mask.is_causal and like.is_cuda and num_queries == num_keys:
        return KernelMask(is_causal=True)
    if kernel == "dense" or num_queries == 1 or (is_plain and not mask.is_causal):
        hides_later = mask.is_causal and mask.prefixes_BS is None and num_queries > 1
        return KernelMask(dense_bias(mask, num_queries, num_keys, like=like), hides_later=hides_later)
    return KernelMask(flex=FlexMask(mask, block_mask(mask, num_queries, num_keys, device=like.device)))


@cache
def _compiled_flex() -> Callable[..., Any]:
    """FlexAttention as one kernel; the uncompiled one makes all scores, as a formula does.

    A run needs one for each kind of mask, for training and validation, and for fixed and varying lengths, which are
    more than torch compiles by default before it gives up.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, FLEX_KERNELS)
    return torch.compile(flex_attention)


def _attend_by_blocks(
    query_BHTC: Tensor, key_BKSC: Tensor, value_BKSC: Tensor, mask: FlexMask, *, scale: float
) -> Tensor:
    """[B, H, T, C]; the bias of the mask is added to each score where the kernel computes it, and gets a gradient."""
    bias_1HTS = mask.mask.bias_1HTS

    def with_bias(score: Tensor, row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        assert bias_1HTS is not None
        return score + bias_1HTS[0, head, query, key]

    attention = _compiled_flex() if query_BHTC.is_cuda and not torch.compiler.is_compiling() else flex_attention
    return attention(
        query_BHTC,
        key_BKSC,
        value_BKSC,
        score_mod=None if bias_1HTS is None else with_bias,
        block_mask=mask.blocks,
        scale=scale,
        enable_gqa=query_BHTC.shape[1] != key_BKSC.shape[1],
    )


def _in_parts(mask: KernelMask, query_BHTC: Tensor) -> bool:
    """Whether queries are computed in parts, each with the keys that it may see."""
    is_uncompiled_on_cpu = query_BHTC.is_cpu and not torch.compiler.is_compiling()
    return mask.hides_later and is_uncompiled_on_cpu and query_BHTC.shape[2] >= LEAST_IN_PARTS


def _attend_in_parts(
    query_BHTC: Tensor, key_BKSC: Tensor, value_BKSC: Tensor, mask: KernelMask, *, scale: float, dropout: float
) -> Tensor:
    """[B, H, T, C]; the queries stand at the last T of the S positions."""
    T, S = query_BHTC.shape[2], key_BKSC.shape[2]
    mixed, first = list[Tensor](), 0
    for rows_BHtC in query_BHTC.tensor_split(PARTS, dim=2):
        end = first + rows_BHtC.shape[2]
        seen = S - T + end
        keys_BKsC, values_BKsC = key_BKSC[:, :, :seen], value_BKSC[:, :, :seen]
        of_rows = mask.of_queries(first, end, seen)
        mixed.append(attend(rows_BHtC, keys_BKsC, values_BKsC, of_rows, scale=scale, dropout=dropout))
        first = end
    return torch.cat(mixed, dim=2)


def attend(
    query_BHTC: Tensor, key_BKSC: Tensor, value_BKSC: Tensor, mask: KernelMask, *, scale: float, dropout: float = 0.0
) -> Tensor:
    """[B, H, T, C]: softmax(scale · query keyᵀ + bias) value; query head h uses key head ⌊h / G⌋."""
    B, H, T, C = query_BHTC.shape
    K, S = key_BKSC.shape[1:3]
    if _in_parts(mask, query_BHTC):
        return _attend_in_parts(query_BHTC, key_BKSC, value_BKSC, mask, scale=scale, dropout=dropout)
    if mask.flex is not None:
        assert dropout == 0.0, "FlexAttention has no dropout"
        return _attend_by_blocks(query_BHTC, key_BKSC, value_BKSC, mask.flex, scale=scale)
    bias = mask.bias
    if bias is not None and query_BHTC.dtype == torch.float16:
        bias = bias.clamp(min=HIDDEN_IN_FLOAT16)
    bias = None if bias is None else bias.to(query_BHTC.dtype)
    is_short = query_BHTC.dtype == torch.bfloat16 and S <= LONGEST_KEYS_FOR_MATMULS
    is_learned = bias is not None and bias.requires_grad  # torch would multiply, too, and look for empty rows besides
    if query_BHTC.is_cpu and (is_short or is_learned):
        scaled_BHTC = query_BHTC if scale == 1.0 else query_BHTC * scale
        grouped_BKRC = scaled_BHTC.reshape(B, K, -1, C)  # R = G · T: the queries of one key head
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
        bias = mask.dense(T, S, like=scores_BHTS)
        if bias is None:
            return scores_BHTS.softmax(dim=-1)
        scores_BHTS, visible = scores_BHTS + bias.to(wide), bias > HIDDEN / 2
        return torch.where(visible, scores_BHTS, HIDDEN).softmax(dim=-1) * visible
