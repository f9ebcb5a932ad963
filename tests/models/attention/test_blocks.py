"""Blocks of a mask: those of `create_block_mask`, which evaluates every pair, at a fraction of the work."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from models.attention.blocks import block_mask, visible_pairs
from models.attention.masks import Mask, visible_keys
from tests.models.attention.test_masks import B, T, every_mask, last_queries

CPU = torch.device("cpu")


def runs(rng: np.random.Generator, length: int, most: int) -> np.ndarray:
    """int64[length], numbers from 1 that grow by 1 at up to that many places."""
    cuts = np.sort(rng.integers(0, length, rng.integers(0, most + 1)))
    return np.searchsorted(cuts, np.arange(length), side="right") + 1


def documents(rng: np.random.Generator, length: int) -> np.ndarray:
    """Documents as batches have them: some rows with padding, a first token, or an earlier document."""
    numbers = runs(rng, length, 7)
    if rng.random() < 0.5:
        numbers[length - rng.integers(0, length) :] = 0
    if rng.random() < 0.5:
        numbers[0] = 0
    return np.where(numbers == 1, -1, numbers) if rng.random() < 0.3 else numbers


def random_mask(rng: np.random.Generator, queries: int, keys: int) -> Mask:
    """Any rules that go together; queries that are more than the keys are those of a cross-attention."""

    def rows(make: Any, length: int) -> Tensor:
        return torch.from_numpy(np.stack([make(rng, length) for _ in range(B)]))

    def prefixes(rng: np.random.Generator, length: int) -> np.ndarray:
        numbers = runs(rng, length, 5)
        return np.where(numbers % 2, numbers, 0)

    is_self, rules = queries <= keys, {}
    if is_self and rng.random() < 0.6:
        rules["is_causal"] = True
        if rng.random() < 0.5:
            rules["prefixes_BS"] = rows(prefixes, keys)
    if is_self and rng.random() < 0.4:
        rules["window"] = int(rng.integers(1, 400))
    for name in ("key_lengths_B", "key_starts_B"):
        if rng.random() < 0.4:
            rules[name] = torch.from_numpy(rng.integers(0, keys + 1, B))
    if rng.random() < 0.6:
        rules["key_documents_BS"] = found = rows(documents, keys)
        own = is_self and rng.random() < 0.7
        rules["query_documents_BT"] = found[:, keys - queries :] if own else rows(documents, queries)
    return Mask(**rules)


def numbered(mask: BlockMask) -> list[list[list[list[int]]]]:
    """Partial and full blocks, of keys by queries and of queries by keys, in each row."""
    tables = [
        (mask.kv_num_blocks, mask.kv_indices),
        (mask.full_kv_num_blocks, mask.full_kv_indices),
        (mask.q_num_blocks, mask.q_indices),
        (mask.full_q_num_blocks, mask.full_q_indices),
    ]
    return [
        [
            [sorted(indices[row, 0, block, :number].tolist()) for block, number in enumerate(numbers[row, 0].tolist())]
            for row in ([0] * B if len(numbers) == 1 else range(B))
        ]
        for numbers, indices in tables
        if numbers is not None and indices is not None
    ]


@pytest.mark.parametrize("seed", range(60))
def test_blocks_are_those_that_every_pair_would_give(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = int(rng.integers(1, 600))
    queries = keys if rng.random() < 0.6 else int(rng.integers(1, 600))
    mask = random_mask(rng, queries, keys)
    by_pairs = create_block_mask(visible_pairs(mask, queries, keys), B, None, queries, keys, device="cpu")
    assert numbered(block_mask(mask, queries, keys, device=CPU)) == numbered(by_pairs)


@every_mask
@pytest.mark.parametrize("queries", [T, 3])
def test_a_mask_by_pairs_is_the_mask(mask: Mask, queries: int) -> None:
    mask = last_queries(mask, queries)
    visible, pair = visible_keys(mask, queries, T, device=CPU), visible_pairs(mask, queries, T)
    places = [torch.arange(length) for length in (B, 1, queries, T)]
    found = pair(places[0].view(-1, 1, 1, 1), places[1], places[2].view(-1, 1), places[3])
    expected = torch.ones(B, 1, queries, T, dtype=torch.bool) if visible is None else visible.expand(B, 1, queries, T)
    assert torch.equal(found.expand_as(expected), expected)


def test_documents_that_are_torn_apart_are_neither_skipped_nor_taken_for_whole() -> None:
    """Blocks of such documents may be judged less exactly, and never falsely."""
    rng, length = np.random.default_rng(0), 500
    for _ in range(20):
        numbers = torch.from_numpy(rng.integers(0, 4, (B, length // 20)).repeat(20, axis=1))
        mask = Mask(is_causal=True, prefixes_BS=numbers % 3, query_documents_BT=numbers, key_documents_BS=numbers)
        visible = visible_keys(mask, length, length, device=CPU)
        assert visible is not None
        padded = torch.nn.functional.pad(visible.expand(B, 1, length, length), (0, 12, 0, 12))
        pairs = padded.unflatten(3, (4, 128)).unflatten(2, (4, 128)).sum(dim=(3, 5))
        found = numbered(block_mask(mask, length, length, device=CPU))[:2]
        partial, full = ([[set(row) for row in rows] for rows in kind] for kind in found)
        for row in range(B):
            for block in range(4):
                counts = pairs[row, 0, block].tolist()
                assert full[row][block] <= {key for key, count in enumerate(counts) if count == 128**2}
                assert {key for key, count in enumerate(counts) if count} <= partial[row][block] | full[row][block]
                assert not partial[row][block] & full[row][block]
