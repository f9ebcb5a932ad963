"""Positions: counted within documents, T5's buckets of distances, and rotations.

Shapes: B batch, T positions, N heads, C width of a head.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def positions_of(documents_BT: Tensor) -> Tensor:
    """int64[B, T], places counted anew from every change of document."""
    places_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    begins_BT = F.pad(documents_BT[:, 1:] != documents_BT[:, :-1], (1, 0), value=True)
    return places_T - torch.where(begins_BT, places_T, 0).cummax(dim=1).values


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
    """Cosines and sines [..., T, 1, C] of rotary positions (Su et al. 2021), halves side by side as Llama has them."""
    exponents = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width
    angles = positions[..., None, None].float() * (1.0 / base**exponents)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


class _InLongPasses(torch.autograd.Function):
    """`rotate`, uncompiled on a CPU: passes over all heads of a position at once, where angles that are broadcast over
    heads leave some dozens of numbers to each. Its gradient is the one that arrives, turned back.
    """

    @staticmethod
    def _turned(states_BTNC: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        first, second = states_BTNC.chunk(2, dim=-1)
        of_first, of_second = sines.chunk(2, dim=-1)
        cosines_TNC, signed_TNC = (
            angles.expand(*angles.shape[:-2], states_BTNC.shape[-2], -1).contiguous()
            for angles in (cosines, torch.cat([-of_first, of_second], dim=-1))
        )
        swapped_BTNC = torch.cat([second, first], dim=-1)
        return (states_BTNC * cosines_TNC).addcmul_(swapped_BTNC, signed_TNC)

    @staticmethod
    def forward(ctx: Any, states_BTNC: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        ctx.save_for_backward(cosines, sines)
        return _InLongPasses._turned(states_BTNC, cosines, sines)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's parameters have no names
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor, None, None]:
        cosines, sines = ctx.saved_tensors
        return _InLongPasses._turned(grad_outputs[0], cosines, -sines), None, None


def rotate(states_BTNC: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """States turned by their positions' angles, [..., T, 1, C]."""
    if states_BTNC.is_cpu and not torch.compiler.is_compiling():
        return _InLongPasses.apply(states_BTNC, cosines, sines)  # pyright: ignore[reportReturnType]
    first, second = states_BTNC.chunk(2, dim=-1)
    return states_BTNC * cosines + torch.cat([-second, first], dim=-1) * sines
