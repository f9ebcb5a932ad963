"""The weights of attention by the plain formula, beside the kernels that keep none."""

import numpy as np
import pytest
import torch

from models.attention.kernels import KernelMask, attend, attention_weights, prepare
from models.attention.masks import Mask
from tests.models.attention.formula import random, visible_by_formula
from tests.models.attention.test_masks import B, C, H, T, every_mask, last_queries


@every_mask
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("queries", [T, 3, 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_weights_sum_to_1_hide_what_is_masked_and_mix_as_the_kernel_does(
    mask: Mask, key_heads: int, queries: int, dtype: torch.dtype, tolerance: float
) -> None:
    mask = last_queries(mask, queries)
    query = random(B, H, queries, C).to(dtype)
    key, value = (random(B, key_heads, T, C, seed=seed).to(dtype) for seed in (1, 2))
    kernel_mask = prepare(mask, queries, T, like=query)
    weights = attention_weights(query, key, kernel_mask, scale=0.3)
    visible = torch.from_numpy(np.broadcast_to(visible_by_formula(mask, B, queries, T), weights.shape).copy())
    sees = visible.any(dim=-1)
    assert weights.dtype == dtype
    assert (weights[~visible] == 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), sees.to(dtype), rtol=0, atol=tolerance)
    mixture = weights @ value.repeat_interleave(H // key_heads, dim=1)
    mixed = attend(query, key, value, kernel_mask, scale=0.3)
    torch.testing.assert_close(mixture[sees], mixed[sees], rtol=0, atol=tolerance)


@pytest.mark.parametrize("is_causal", [False, True])
def test_the_causal_flag_is_the_causal_mask(is_causal: bool) -> None:
    query, key = random(B, H, T, C), random(B, H, T, C, seed=1)
    by_bias = attention_weights(query, key, prepare(Mask(is_causal=is_causal), T, T, like=query), scale=0.3)
    by_flag = attention_weights(query, key, KernelMask(is_causal=is_causal), scale=0.3)
    torch.testing.assert_close(by_flag, by_bias, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_kernel_in_half_precision_has_weights_in_float32(dtype: torch.dtype) -> None:
    """Within its rounding, padding hidden; autocast changes nothing."""
    query, key, value = (random(B, H, T, C, seed=seed).to(dtype) for seed in range(3))
    mask = prepare(Mask(key_lengths_B=torch.tensor([T, 4])), T, T, like=query.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = attention_weights(query, key, mask, scale=0.3)
    assert weights.dtype == torch.float32
    assert (weights[1, :, :, 4:] == 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(B, H, T), rtol=0, atol=1e-6)
    mixed = attend(query, key, value, mask, scale=0.3)
    torch.testing.assert_close(weights @ value.float(), mixed.float(), rtol=0, atol=2e-2)
