"""Which kernel computes a run's attention fastest, measured over the shapes and masks that it will have.

On a CPU and in float64 there is nothing to choose: torch trains by FlexAttention on GPUs alone.
"""

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.attention.kernels import attend, prepare
from models.attention.masks import Mask
from models.body import AttentionKernel
from models.presets import TransformerConfig

PlainKernel = Literal["torch", "cudnn"]  # what SDPA tries first: what torch would, or cuDNN
LEAST_HEAD_WIDTH = 16  # of FlexAttention
PASSES = 5  # of which the fastest counts


class AttentionShape(NamedTuple):
    """One attention of a run: its sizes, and what its masks hide."""

    rows: int
    query_heads: int
    key_heads: int
    head_width: int
    queries: int
    keys: int
    layers: int
    is_causal: bool = False
    has_documents: bool = False
    has_prefix: bool = False
    is_padded: bool = False
    has_bias: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the causal flag, or no mask, is all there is."""
        return not (self.has_documents or self.has_prefix or self.is_padded or self.has_bias)

    def mask(self, device: torch.device) -> Mask:
        """A mask of the kind: three documents a row, a prefix of a quarter, a tenth of the keys padding."""
        keys_S = torch.arange(self.keys, device=device)
        documents_BS = (1 + 3 * keys_S // self.keys).expand(self.rows, -1)
        queries_T = torch.arange(self.queries, device=device)
        bias = torch.zeros(1, self.query_heads, self.queries, self.keys, device=device, requires_grad=True)
        return Mask(
            is_causal=self.is_causal,
            prefixes_BS=(keys_S < self.keys // 4).long().expand(self.rows, -1) if self.has_prefix else None,
            key_lengths_B=torch.full((self.rows,), math.ceil(0.9 * self.keys), device=device)
            if self.is_padded
            else None,
            query_documents_BT=(1 + 3 * queries_T // self.queries).expand(self.rows, -1)
            if self.has_documents
            else None,
            key_documents_BS=documents_BS if self.has_documents else None,
            bias_1HTS=bias if self.has_bias else None,
        )


def shapes_of(
    config: TransformerConfig,
    num_blocks: tuple[int, int],
    *,
    rows: int,
    lengths: tuple[int, int],
    is_causal: bool,
    has_documents: bool,
    has_prefix: bool,
) -> list[AttentionShape]:
    """The attentions of a Transformer over rows of these lengths of encoder and decoder.

    Rows of an encoder beside a decoder are padded, as what they are made of varies in length.
    """
    (encoder, decoder), (source, target) = num_blocks, lengths
    has_bias, is_pair = config.parts.positions == "relative", encoder > 0 and decoder > 0
    sizes = (rows, config.num_heads, config.key_value_heads, config.width_of_head)
    found = []
    if encoder:
        found.append(
            AttentionShape(
                *sizes, source, source, encoder,
                is_causal=is_causal and not decoder, has_documents=has_documents, is_padded=is_pair, has_bias=has_bias,
            )
        )  # fmt: skip
    if decoder:
        found.append(
            AttentionShape(
                *sizes, target, target, decoder,
                is_causal=is_causal or is_pair, has_documents=has_documents, has_prefix=has_prefix, has_bias=has_bias,
            )
        )  # fmt: skip
    if is_pair:
        found.append(
            AttentionShape(*sizes, target, source, decoder, has_documents=has_documents, is_padded=True)
        )  # fmt: skip
    return found


def why_not_flex(config: TransformerConfig) -> str:
    """What keeps FlexAttention from training a body of this shape; "" where nothing does."""
    if config.width_of_head < LEAST_HEAD_WIDTH:
        return f"it takes heads of {LEAST_HEAD_WIDTH} or wider, and body's have {config.width_of_head}"
    if config.dropout * config.parts.attention_dropout > 0:
        return f"it has no dropout, and body.dropout = {config.dropout}"
    return ""


def preferring(kernel: PlainKernel) -> AbstractContextManager[object]:
    """Has SDPA try cuDNN first, where that was measured to be faster; else torch's own order is left as it is."""
    if kernel == "torch":
        return nullcontext()
    others = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel([SDPBackend.CUDNN_ATTENTION, *others], set_priority=True)


def _seconds(
    shape: AttentionShape, kernel: AttentionKernel, plain: PlainKernel, device: torch.device, dtype: torch.dtype
) -> float:
    """What all layers of a shape take, forwards and backwards; infinite where the kernel fails here."""
    query, key, value = (
        torch.ones(shape.rows, heads, length, shape.head_width, device=device, dtype=dtype, requires_grad=True)
        for heads, length in (
            (shape.query_heads, shape.queries),
            (shape.key_heads, shape.keys),
            (shape.key_heads, shape.keys),
        )
    )
    mask, best = shape.mask(device), math.inf
    wanted = [query, key, value, *([] if mask.bias_1HTS is None else [mask.bias_1HTS])]
    try:
        for _ in range(PASSES):
            torch.accelerator.synchronize() if device.type != "cpu" else None
            before = time.perf_counter()
            with preferring(plain):
                prepared = prepare(mask, shape.queries, shape.keys, like=query, kernel=kernel)
                mixed = attend(query, key, value, prepared, scale=1.0)
                torch.autograd.grad(mixed, wanted, torch.ones_like(mixed))
            torch.accelerator.synchronize() if device.type != "cpu" else None
            best = min(best, time.perf_counter() - before)
    except (RuntimeError, NotImplementedError, ValueError):  # what torch raises of a kernel that it lacks
        return math.inf
    return shape.layers * best


@cache
def measured(
    shapes: tuple[AttentionShape, ...], *, device: torch.device, dtype: torch.dtype, with_flex: bool
) -> tuple[dict[AttentionKernel, float], dict[PlainKernel, float]]:
    """Seconds by each kernel of the attentions under masks, and of the plain ones; empty where there are none."""
    masked = [shape for shape in shapes if not shape.is_plain]
    plain = [shape for shape in shapes if shape.is_plain]

    def total(some: Sequence[AttentionShape], kernel: AttentionKernel, first: PlainKernel) -> float:
        return sum(_seconds(shape, kernel, first, device, dtype) for shape in some)

    kernels: tuple[AttentionKernel, ...] = ("dense", "flex") if masked and with_flex else ()
    orders: tuple[PlainKernel, ...] = ("torch", "cudnn") if plain else ()
    return {kernel: total(masked, kernel, "torch") for kernel in kernels}, {
        order: total(plain, "dense", order) for order in orders
    }
