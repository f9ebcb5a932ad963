"""Positions: counted within documents, T5's buckets of distances, and rotations.

Shapes: B batch, T positions, H heads, C width of a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


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
    """Cosines and sines [..., T, C] of rotary positions (Su et al. 2021), halves side by side as Llama has them."""
    exponents = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width
    angles = positions[..., None].float() * (1.0 / base**exponents)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(states_BHTC: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """States turned by their positions' angles."""
    first, second = states_BHTC.chunk(2, dim=-1)
    return states_BHTC * cosines + torch.cat([-second, first], dim=-1) * sines
