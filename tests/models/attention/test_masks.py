"""Masks: what each hides, against a formula that looks at one query and one key at a time; nothing hidden leaks."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.attention import kernels
from models.attention.kernels import KernelMask, attend, prepare
from models.attention.masks import HIDDEN, Mask, dense_bias, visible_keys
from tests.models.attention.formula import bias_by_formula, random, reference_attention, visible_by_formula

B, H, T, C = 2, 4, 7, 6
DOCUMENTS = torch.tensor([[1, 1, 1, 2, 2, 3, 3], [1, 2, 2, 2, 0, 0, 0]])
IN_DOCUMENTS = Mask(query_documents_BT=DOCUMENTS, key_documents_BS=DOCUMENTS)
CAUSAL = Mask(is_causal=True)
PREFIX = CAUSAL._replace(prefixes_BS=torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0]]))
MASKS = {
    "none": Mask(),
    "causal": CAUSAL,
    "padding": Mask(key_lengths_B=torch.tensor([7, 4])),
    "padding on the left": CAUSAL._replace(key_starts_B=torch.tensor([0, 3])),
    "documents": IN_DOCUMENTS,
    "causal documents": IN_DOCUMENTS._replace(is_causal=True),
    "relative": Mask(bias_1HTS=random(1, H, T, T, seed=3)),
    "causal relative": CAUSAL._replace(bias_1HTS=random(1, H, T, T, seed=3)),
    "prefix": PREFIX,
    "empty and whole prefix": CAUSAL._replace(prefixes_BS=torch.tensor([[0] * 7, [1] * 7])),
    "prefixes of several documents": CAUSAL._replace(
        prefixes_BS=torch.tensor([[1, 1, 0, 2, 2, 2, 0], [0, 0, 1, 1, 2, 2, 2]])
    ),
    "prefix behind padding": PREFIX._replace(key_starts_B=torch.tensor([0, 2])),
    "prefix in documents": PREFIX._replace(query_documents_BT=DOCUMENTS, key_documents_BS=DOCUMENTS),
    "window": Mask(window=3),
    "causal window": CAUSAL._replace(window=3),
    "window of itself": Mask(window=1),
    "window over a prefix": PREFIX._replace(window=3),
    "everything": PREFIX._replace(
        window=5,
        key_lengths_B=torch.tensor([7, 6]),
        key_starts_B=torch.tensor([0, 1]),
        query_documents_BT=DOCUMENTS,
        key_documents_BS=DOCUMENTS,
        bias_1HTS=random(1, H, T, T, seed=3),
    ),
}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def last_queries(mask: Mask, number: int) -> Mask:
    """The mask of the last queries alone."""
    documents = None if mask.query_documents_BT is None else mask.query_documents_BT[:, -number:]
    bias = None if mask.bias_1HTS is None else mask.bias_1HTS[:, :, -number:]
    return mask._replace(query_documents_BT=documents, bias_1HTS=bias)


@every_mask
@pytest.mark.parametrize("queries", [T, 3, 1])
def test_a_mask_means_its_formula(mask: Mask, queries: int) -> None:
    mask, like = last_queries(mask, queries), random(1)
    visible = visible_keys(mask, queries, T, device=like.device)
    expected = visible_by_formula(mask, B, queries, T)
    assert np.array_equal(np.broadcast_to(True if visible is None else visible.numpy(), expected.shape), expected)
    bias = dense_bias(mask, queries, T, like=like)
    found = np.broadcast_to(0.0 if bias is None else bias.numpy(), (B, H, queries, T))
    assert np.array_equal(found, np.broadcast_to(bias_by_formula(mask, B, queries, T), found.shape))


@every_mask
@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_attention_is_the_textbooks(mask: Mask, key_heads: int) -> None:
    query, key, value = random(B, H, T, C), random(B, key_heads, T, C, seed=1), random(B, key_heads, T, C, seed=2)
    bias = np.broadcast_to(bias_by_formula(mask, B, T, T), (B, H, T, T))
    seeing = (bias > HIDDEN / 2).any(axis=-1)  # a query that sees no key gives numbers that nobody reads
    expected = reference_attention(query, key, value, bias, scale=0.3)
    found = attend(query, key, value, prepare(mask, T, T, like=query), scale=0.3)
    np.testing.assert_allclose(found.numpy()[seeing], expected[seeing], rtol=1e-11, atol=1e-12)


def inputs_of_attention(seed: int = 0, key_heads: int = H) -> list[Tensor]:
    heads = (H, key_heads, key_heads)
    return [random(B, heads[part], T, C, seed=seed + part).requires_grad_() for part in range(3)]


@every_mask
def test_gradients_are_those_of_the_dense_formula(mask: Mask) -> None:
    """By queries, keys and values; relative 1e-12."""
    bias = torch.from_numpy(np.broadcast_to(bias_by_formula(mask, B, T, T), (B, H, T, T)).copy())
    upstream = random(B, H, T, C, seed=9) * (bias > HIDDEN / 2).any(dim=-1, keepdim=True)
    gradients = []
    for is_formula in (True, False):
        query, key, value = inputs_of_attention()
        if is_formula:
            mixed = (0.3 * query @ key.transpose(-1, -2) + bias).softmax(dim=-1) @ value
        else:
            mixed = attend(query, key, value, prepare(mask, T, T, like=query), scale=0.3)
        gradients.append(torch.autograd.grad((mixed * upstream).sum(), (query, key, value)))
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("name", [name for name, mask in MASKS.items() if mask.bias_1HTS is not None])
def test_a_learned_bias_has_the_values_and_gradients_of_the_dense_formula(name: str, key_heads: int) -> None:
    """By queries, keys, values and the bias; relative 1e-12. On a CPU torch's own has passes that guard empty rows."""
    mask, gradients, mixed = MASKS[name], [], []
    hidden = torch.from_numpy(np.broadcast_to(bias_by_formula(mask, B, T, T), (B, H, T, T)).copy()) < HIDDEN / 2
    upstream = random(B, H, T, C, seed=9) * ~hidden.all(dim=-1, keepdim=True)
    for is_formula in (True, False):
        query, key, value = inputs_of_attention(key_heads=key_heads)
        assert mask.bias_1HTS is not None
        bias = mask.bias_1HTS.clone().requires_grad_()
        if is_formula:
            keys, values = (one.repeat_interleave(H // key_heads, dim=1) for one in (key, value))
            found = (0.3 * query @ keys.mT + torch.where(hidden, HIDDEN, bias)).softmax(dim=-1) @ values
        else:
            prepared = prepare(mask._replace(bias_1HTS=bias), T, T, like=query)
            found = attend(query, key, value, prepared, scale=0.3)
        mixed.append(found * ~hidden.all(dim=-1, keepdim=True))
        gradients.append(torch.autograd.grad((found * upstream).sum(), (query, key, value, bias)))
    torch.testing.assert_close(mixed[1], mixed[0], rtol=1e-12, atol=1e-13)
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@every_mask
def test_a_hidden_key_changes_nothing_and_a_visible_one_does(mask: Mask) -> None:
    """Exactly, in float64."""
    visible = visible_by_formula(mask, B, T, T)[:, 0]
    query, key, value = (tensor.detach() for tensor in inputs_of_attention())
    kernel_mask = prepare(mask, T, T, like=query)
    before = attend(query, key, value, kernel_mask, scale=0.3)
    for place in range(T):
        one = torch.zeros(T, 1, dtype=torch.float64).index_fill(0, torch.tensor(place), 1)
        after = attend(query, key + one, value + one, kernel_mask, scale=0.3)
        change = (after - before).abs().amax(dim=(1, 3)).numpy()
        seeing = visible.any(axis=-1)
        assert (change[~visible[:, :, place] & seeing] == 0).all()
        assert (change[visible[:, :, place]] > 1e-6).all()


@every_mask
@pytest.mark.parametrize("queries", [T, 3])
@pytest.mark.parametrize("learns_bias", [False, True])
def test_queries_in_parts_have_the_numbers_and_gradients_of_all(
    mask: Mask, queries: int, learns_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part sees no keys but those that a causal mask may show it; a mask that shows later ones is not cut."""
    found, sizes, attention = [], [], kernels.F.scaled_dot_product_attention
    monkeypatch.setattr(
        kernels.F,
        "scaled_dot_product_attention",
        lambda query, key, *rest, **more: sizes.append(key.shape[2]) or attention(query, key, *rest, **more),
    )
    cut = mask.is_causal and mask.prefixes_BS is None
    monkeypatch.setattr(kernels, "PARTS", 3)
    for least in (T + 1, 3):
        monkeypatch.setattr(kernels, "LEAST_IN_PARTS", least)
        sizes.clear()
        whole = last_queries(mask, queries)
        tensors = [
            random(B, heads, length, C, seed=heads).requires_grad_() for heads, length in ((H, queries), (2, T), (1, T))
        ]
        query, key, value = tensors[0], tensors[1], tensors[2].expand(B, 2, T, C)
        if whole.bias_1HTS is not None and learns_bias:
            tensors.append(whole.bias_1HTS.clone().requires_grad_())
            whole = whole._replace(bias_1HTS=tensors[-1])
        mixed = attend(query, key, value, prepare(whole, queries, T, like=query), scale=0.3)
        is_seen = torch.from_numpy(
            (bias_by_formula(whole._replace(bias_1HTS=None), B, queries, T) > HIDDEN / 2).any(-1)
        )
        mixed = torch.where(
            is_seen.expand(B, H, queries)[..., None], mixed, 0.0
        )  # a query without keys is read by nobody
        found.append([mixed.detach(), *torch.autograd.grad(mixed.square().sum(), tensors)])
        if sizes and least == 3:
            assert sizes == ([T - queries + end for end in ((3, 5, 7) if queries == T else (1, 2, 3))] if cut else [T])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-14)


def test_cuda_takes_the_flag_of_a_causal_mask_alone() -> None:
    class Cuda(torch.Tensor):
        is_cuda = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    like = random(1).as_subclass(Cuda)
    assert prepare(CAUSAL, T, T, like=like) == KernelMask(is_causal=True)
    assert prepare(Mask(), T, T, like=like) == KernelMask()
    assert prepare(CAUSAL, 1, T, like=like) == KernelMask()
    for name in ("prefix", "padding on the left", "causal window", "causal documents", "causal relative"):
        assert not prepare(MASKS[name], T, T, like=like).is_causal
    assert not prepare(CAUSAL, 3, T, like=like).is_causal  # SDPA would take the first queries for the last
    assert not prepare(CAUSAL, T, T, like=random(1)).is_causal
