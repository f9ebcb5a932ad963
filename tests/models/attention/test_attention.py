"""Attention and its masks, against a reference in NumPy and against transformers' own functions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import models.attention.attention
from models.attention.attention import (
    HIDDEN,
    Attention,
    Mask,
    attend,
    make_mask,
    positions_of,
    relative_buckets,
    rotary_angles,
    rotate,
    visible_keys,
)
from models.presets import TransformerConfig


def reference_attention(query: Tensor, key: Tensor, value: Tensor, bias: np.ndarray, scale: float) -> np.ndarray:
    """softmax(scale · query keyᵀ + bias) value, one query at a time."""
    q, k, v = (tensor.detach().double().numpy() for tensor in (query, key, value))
    rows, heads, length, _ = q.shape
    group = heads // k.shape[1]
    mixed = np.zeros_like(q)
    for b in range(rows):
        for h in range(heads):
            for t in range(length):
                scores = scale * k[b, h // group] @ q[b, h, t] + bias[b, h, t]
                weights = np.exp(scores - scores.max())
                mixed[b, h, t] = weights @ v[b, h // group] / weights.sum()
    return mixed


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("masking", ["none", "causal", "padding", "documents", "relative"])
def test_attention_is_the_textbooks(key_heads: int, masking: str) -> None:
    B, H, T, C = 2, 4, 7, 6
    query, key, value = random(B, H, T, C), random(B, key_heads, T, C, seed=1), random(B, key_heads, T, C, seed=2)
    lengths, documents = torch.tensor([7, 4]), torch.tensor([[1, 1, 1, 2, 2, 3, 3], [1, 2, 2, 2, 0, 0, 0]])
    relative = random(1, H, T, T, seed=3) if masking == "relative" else None
    visible = visible_keys(
        T,
        key_lengths_B=lengths if masking == "padding" else None,
        query_documents_BT=documents if masking == "documents" else None,
        key_documents_BS=documents if masking == "documents" else None,
    )
    mask = make_mask(visible, relative, causal_length=T if masking == "causal" else None, like=query)
    allowed = np.ones((B, H, T, T), dtype=bool)
    for b in range(B):
        for t in range(T):
            for s in range(T):
                same = documents[b, s] in (0, documents[b, t])
                rules = {"causal": s <= t, "padding": s < lengths[b], "documents": same}
                allowed[b, :, t, s] = bool(rules.get(masking, True))
    bias = np.where(allowed, 0.0 if relative is None else relative.numpy(), HIDDEN)
    expected = reference_attention(query, key, value, bias, scale=0.3)
    found = attend(query, key, value, mask, scale=0.3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("key_heads", [4, 1])
def test_matrix_products_and_the_fused_kernel_agree_in_bf16(monkeypatch: pytest.MonkeyPatch, key_heads: int) -> None:
    query = random(2, 4, 16, 8).bfloat16()
    key, value = random(2, key_heads, 16, 8, seed=1).bfloat16(), random(2, key_heads, 16, 8, seed=2).bfloat16()
    mask = make_mask(None, None, causal_length=16, like=query)
    by_products = attend(query, key, value, mask, scale=8**-0.5)
    monkeypatch.setattr(models.attention.attention, "LONGEST_KEYS_FOR_MATMULS", 0)
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
            mixed = attend(query, key, value, Mask(is_causal=is_causal), scale=0.3)
        mixed.square().sum().backward()
        found.append([mixed.detach(), query.grad, key.grad, value.grad])
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=tolerance, atol=tolerance)


def test_a_query_that_sees_no_key_gives_numbers_all_the_same() -> None:
    query = random(1, 1, 3, 4)
    visible = visible_keys(3, key_lengths_B=torch.tensor([0]), query_documents_BT=None, key_documents_BS=None)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        states = query.to(dtype)
        mask = make_mask(visible, None, causal_length=None, like=states)
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
    found = attention(states, Mask(), memory_BSD=memory if is_cross else None)
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
    mask = Mask(is_causal=True)
    torch.testing.assert_close(
        grouped(states, mask, angles=angles), full(states, mask, angles=angles), rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_buckets_are_t5s(bidirectional: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = torch.arange(-400, 401)
    expected = T5Attention._relative_position_bucket(distances, bidirectional, 32, 128)
    assert torch.equal(relative_buckets(distances, bidirectional=bidirectional), expected)


def test_relative_buckets_begin_where_the_table_says() -> None:
    """C9: the first distance of every bucket."""
    behind = -torch.arange(200)
    for bidirectional, starts in {
        True: [*range(8), 8, 12, 16, 23, 32, 46, 64, 91],
        False: [*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113],
    }.items():
        buckets = relative_buckets(behind, bidirectional=bidirectional)
        firsts = [int((buckets == bucket).nonzero()[0]) for bucket in range(len(starts))]
        assert firsts == starts
    ahead = relative_buckets(torch.arange(1, 200), bidirectional=True)
    assert torch.equal(ahead, relative_buckets(-torch.arange(1, 200), bidirectional=True) + 16)
    assert (relative_buckets(torch.arange(200), bidirectional=False) == 0).all()


def test_rotary_positions_are_llamas() -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    config = LlamaConfig(hidden_size=32, num_attention_heads=4, max_position_embeddings=64)
    query, key = torch.randn(2, 1, 4, 20, 8)
    theirs = LlamaRotaryEmbedding(config)(query, torch.arange(20)[None])
    expected, _ = apply_rotary_pos_emb(query, key, *theirs)
    found = rotate(query, *rotary_angles(torch.arange(20), 8))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_rotary_scores_follow_from_the_distance_alone() -> None:
    query, key = random(1, 1, 1, 8), random(1, 1, 1, 8, seed=1)

    def score(at: int, other: int) -> Tensor:
        angles = [rotary_angles(torch.tensor([place]), 8) for place in (at, other)]
        return (rotate(query, *angles[0]) * rotate(key, *angles[1])).sum()

    torch.testing.assert_close(score(3, 1), score(13, 11), rtol=1e-4, atol=1e-5)
    assert not torch.isclose(score(3, 1), score(3, 2))


def test_positions_begin_anew_in_every_document() -> None:
    documents = torch.tensor([[1, 1, 1, 2, 3, 3], [-1, -1, 1, 1, 0, 0]])
    assert positions_of(documents).tolist() == [[0, 1, 2, 0, 0, 1], [0, 1, 0, 1, 0, 1]]
