"""Which blocks of keys a block of queries sees: what FlexAttention skips, and where it evaluates no mask.

Shapes: B batch, T queries, S keys, Q blocks of queries, K blocks of keys.

The keys that a query sees are an interval, and in it those of its own document and of none. So a block is judged by
counts at its ends, a 128th of the pairs that `create_block_mask` evaluates, and without waiting for the device.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from models.attention.masks import Mask

BLOCK = 128  # positions of a block, as FlexAttention has them by default
Visible = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # row, head, query and key -> whether the query sees it


class Ranges(NamedTuple):
    """For each query the first of some keys and the one behind the last, [B, T] or [1, T] each."""

    starts_BT: Tensor
    ends_BT: Tensor


def _places(number_BT: Tensor, numbers_BS: Tensor) -> tuple[Ranges, Tensor]:
    """The range from the first to the last key of each query's number; and whether every key in it has the number."""
    ordered_BS, order_BS = numbers_BS.contiguous().sort(dim=1, stable=True)
    wanted_BT = number_BT.contiguous()
    left_BT = torch.searchsorted(ordered_BS, wanted_BT)
    right_BT = torch.searchsorted(ordered_BS, wanted_BT, right=True)
    first_BT = order_BS.gather(1, left_BT.clamp(max=numbers_BS.shape[1] - 1))
    end_BT = order_BS.gather(1, (right_BT - 1).clamp(min=0)) + 1
    is_there_BT = right_BT > left_BT
    ends_BT = torch.where(is_there_BT, end_BT, first_BT)
    return Ranges(first_BT, ends_BT), ends_BT - first_BT == right_BT - left_BT


def _bounds(mask: Mask, num_queries: int, num_keys: int, device: torch.device) -> tuple[Ranges, Ranges]:
    """By all rules but documents, the least range around the keys that each query sees, and one that it sees whole."""
    places_1T = torch.arange(num_keys - num_queries, num_keys, device=device)[None]
    starts, ends = torch.zeros_like(places_1T), torch.full_like(places_1T, num_keys)
    if mask.key_starts_B is not None:
        starts = torch.maximum(starts, mask.key_starts_B[:, None])
    if mask.key_lengths_B is not None:
        ends = torch.minimum(ends, mask.key_lengths_B[:, None])
    if mask.window is not None:
        starts = torch.maximum(starts, places_1T - mask.window + 1)
        ends = torch.minimum(ends, places_1T + mask.window)
    if not mask.is_causal:
        return Ranges(starts, ends), Ranges(starts, ends)
    reach = whole = places_1T + 1
    if mask.prefixes_BS is not None:
        number_BT = mask.prefixes_BS[:, num_keys - num_queries :]
        prefix, is_run_BT = _places(number_BT, mask.prefixes_BS)
        reach = torch.where(number_BT > 0, torch.maximum(reach, prefix.ends_BT), reach)
        whole = torch.where(is_run_BT, reach, whole)
    return Ranges(starts, torch.minimum(ends, reach)), Ranges(starts, torch.minimum(ends, whole))


def _overlap(one: Ranges, starts_K: Tensor, other: Ranges | None = None) -> tuple[Tensor, Tensor]:
    """The ends of what a range, and another one, has in common with each block: [B, T, K] each."""
    starts, ends = one.starts_BT, one.ends_BT
    if other is not None:
        starts, ends = torch.maximum(starts, other.starts_BT), torch.minimum(ends, other.ends_BT)
    starts_BTK = torch.maximum(starts[:, :, None], starts_K)
    return starts_BTK, torch.maximum(torch.minimum(ends[:, :, None], starts_K + BLOCK), starts_BTK)


def _seen(bounds: Ranges, documents: Ranges | None, nowhere_BS: Tensor | None, starts_K: Tensor) -> Tensor:
    """[B, T, K], keys of each block within bounds that are of a query's document or, where `nowhere_BS`, of none."""
    starts_BTK, ends_BTK = _overlap(bounds, starts_K, documents)
    seen_BTK = ends_BTK - starts_BTK
    if nowhere_BS is None:
        return seen_BTK
    before_BS = F.pad(nowhere_BS.long().cumsum(dim=1), (1, 0))  # of none, before each place
    starts_BTK, ends_BTK = _overlap(bounds, starts_K)
    rows, (_, T, K) = nowhere_BS.shape[0], starts_BTK.shape
    ends = [before_BS.gather(1, ends.expand(rows, T, K).flatten(1)) for ends in (ends_BTK, starts_BTK)]
    return seen_BTK + (ends[0] - ends[1]).view(rows, T, K)


def _by_block(found_BTK: Tensor) -> Tensor:
    """[B, Q, BLOCK, K]; queries behind the last are False."""
    padded = F.pad(found_BTK, (0, 0, 0, -found_BTK.shape[1] % BLOCK))
    return padded.unflatten(1, (-1, BLOCK))


def _numbered(blocks_BQK: Tensor) -> tuple[Tensor, Tensor]:
    """int32[B, 1, Q] how many blocks of keys are true, and [B, 1, Q, K] their numbers, those first."""
    order = blocks_BQK.int().argsort(dim=-1, descending=True, stable=True)
    return blocks_BQK.sum(dim=-1, dtype=torch.int32)[:, None], order.int()[:, None]


def visible_pairs(mask: Mask, num_queries: int, num_keys: int) -> Visible:
    """The mask as a function of one query and one key, as FlexAttention compiles it.

    It closes over tensors alone, which become inputs of the kernel, so that another batch does not compile it anew.
    """
    offset = num_keys - num_queries
    is_causal, prefixes_BS, window = mask.is_causal, mask.prefixes_BS, mask.window
    lengths_B, starts_B = mask.key_lengths_B, mask.key_starts_B
    queries_BT, keys_BS = mask.query_documents_BT, mask.key_documents_BS

    def visible(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        place = query + offset
        seen = key >= 0
        if is_causal:
            seen = key <= place
            if prefixes_BS is not None:
                seen = seen | ((prefixes_BS[row, key] == prefixes_BS[row, place]) & (prefixes_BS[row, place] > 0))
        if window is not None:
            seen = seen & (place - key < window) & (key - place < window)
        if lengths_B is not None:
            seen = seen & (key < lengths_B[row])
        if starts_B is not None:
            seen = seen & (key >= starts_B[row])
        if queries_BT is not None and keys_BS is not None:
            seen = seen & ((queries_BT[row, query] == keys_BS[row, key]) | (keys_BS[row, key] == 0))
        return seen

    return visible


def block_mask(mask: Mask, num_queries: int, num_keys: int, *, device: torch.device) -> BlockMask:
    """The mask by blocks, whatever its bias; one serves all heads, and all layers of a stack.

    A block that it leaves out has no visible pair, and one that it calls full has no hidden pair. Both are exactly
    those of `create_block_mask` where the positions of a document, and of a prefix, stand side by side.
    """
    starts_K = torch.arange(0, num_keys, BLOCK, device=device)
    around, whole = _bounds(mask, num_queries, num_keys, device)
    documents = runs = nowhere_BS = None
    if mask.query_documents_BT is not None and mask.key_documents_BS is not None:
        queries_BT, nowhere_BS = mask.query_documents_BT, mask.key_documents_BS == 0
        (starts_BT, ends_BT), is_run_BT = _places(queries_BT, mask.key_documents_BS)
        ends_BT = torch.where(queries_BT == 0, starts_BT, ends_BT)  # those of none are counted as such
        documents = Ranges(starts_BT, ends_BT)
        runs = Ranges(starts_BT, torch.where(is_run_BT, ends_BT, starts_BT))
    some_BQK = _by_block(_seen(around, documents, nowhere_BS, starts_K) > 0).any(dim=2)
    all_BQK = _by_block(_seen(whole, runs, nowhere_BS, starts_K) == BLOCK).all(dim=2)
    return BlockMask.from_kv_blocks(
        *_numbered(some_BQK & ~all_BQK),
        *_numbered(all_BQK),
        BLOCK_SIZE=BLOCK,
        mask_mod=visible_pairs(mask, num_queries, num_keys),
        seq_lengths=(num_queries, num_keys),
    )
