"""The attention module and its kernels, against a reference in NumPy and against each other."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import models.attention.kernels
from models.attention.attention import Attention
from models.attention.kernels import KernelMask, attend, prepare
from models.attention.masks import Mask
from models.attention.positions import rotary_angles
from models.presets import TransformerConfig
from tests.models.attention.formula import random, reference_attention


@pytest.mark.parametrize("key_heads", [4, 1])
def test_matrix_products_and_the_fused_kernel_agree_in_bf16(monkeypatch: pytest.MonkeyPatch, key_heads: int) -> None:
    query = random(2, 4, 16, 8).bfloat16()
    key, value = random(2, key_heads, 16, 8, seed=1).bfloat16(), random(2, key_heads, 16, 8, seed=2).bfloat16()
    mask = prepare(Mask(is_causal=True), 16, 16, like=query)
    by_products = attend(query, key, value, mask, scale=8**-0.5)
    monkeypatch.setattr(models.attention.kernels, "LONGEST_KEYS_FOR_MATMULS", 0)
    fused = attend(query, key, value, mask, scale=8**-0.5)
    torch.testing.assert_close(by_products, fused, rtol=0.05, atol=0.03)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("key_heads", [4, 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_kernels_of_torch_agree(is_causal: bool, key_heads: int, dtype: torch.dtype, tolerance: float) -> None:
    """Forwards and backwards: the fused kernel against plain operations."""
    found = []
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        query, key, value = (
            random(2, heads, 40, 8, seed=seed).to(dtype).requires_grad_()
            for seed, heads in enumerate((4, key_heads, key_heads))
        )
        with sdpa_kernel(backend):
            mixed = attend(query, key, value, KernelMask(is_causal=is_causal), scale=0.3)
        mixed.square().sum().backward()
        found.append([mixed.detach(), query.grad, key.grad, value.grad])
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=tolerance, atol=tolerance)


def test_a_query_that_sees_no_key_gives_numbers_all_the_same() -> None:
    query = random(1, 1, 3, 4)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        states = query.to(dtype)
        mask = prepare(Mask(key_lengths_B=torch.tensor([0])), 3, 3, like=states)
        assert attend(states, states, states, mask, scale=1.0).isfinite().all()


def filled(config: TransformerConfig, **kind: Any) -> Attention:
    attention = Attention(config, **kind).double()
    for number, parameter in enumerate(attention.parameters()):
        parameter.data = 0.3 * random(*parameter.shape, seed=number)
    return attention


@pytest.mark.parametrize("is_cross", [False, True])
def test_one_matrix_projects_what_three_would(is_cross: bool) -> None:
    config = TransformerConfig(preset="bert", width=12, num_heads=3)
    attention = filled(config, is_cross=is_cross)
    states, memory = random(2, 5, 12), random(2, 6, 12, seed=9)
    if is_cross:
        weights = [attention.query.weight, *attention.key_value.weight.chunk(2)]
        biases = [attention.query.bias, *attention.key_value.bias.chunk(2)]
    else:
        weights, biases = attention.query_key_value.weight.chunk(3), attention.query_key_value.bias.chunk(3)
        memory = states
    sources = (states, memory, memory)
    query, key, value = (
        (source @ weight.T + bias).view(2, -1, 3, 4).transpose(1, 2)
        for source, weight, bias in zip(sources, weights, biases, strict=True)
    )
    mixed = reference_attention(query, key, value, np.zeros((2, 3, 5, key.shape[2])), scale=0.5)
    expected = torch.from_numpy(mixed).transpose(1, 2).reshape(2, 5, 12) @ attention.output.weight.T
    found = attention(states, KernelMask(), memory_BSD=memory if is_cross else None)
    torch.testing.assert_close(found, expected + attention.output.bias, rtol=1e-11, atol=1e-12)


def test_grouped_heads_are_full_heads_with_keys_and_values_repeated() -> None:
    grouped = filled(TransformerConfig(width=16, num_heads=4, num_key_value_heads=2))
    full = Attention(TransformerConfig(width=16, num_heads=4)).double()
    query, key, value = grouped.query_key_value.weight.split([16, 8, 8])

    def repeated(weight: Tensor) -> Tensor:
        return weight.view(2, 4, 16).repeat_interleave(2, dim=0).reshape(16, 16)

    full.query_key_value.weight.data = torch.cat([query, repeated(key), repeated(value)])
    full.output.weight.data = grouped.output.weight.data
    states = random(2, 5, 16)
    angles = rotary_angles(torch.arange(5), 4)
    mask = KernelMask(is_causal=True)
    torch.testing.assert_close(
        grouped(states, mask, angles=angles), full(states, mask, angles=angles), rtol=1e-11, atol=1e-12
    )
