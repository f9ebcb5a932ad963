"""Who sees whom, as data.

Shapes: B batch, T queries, S keys, H heads. The T queries stand at the last T of the S positions where they look at
their own sequence.
"""

from typing import NamedTuple

import torch
from torch import Tensor

HIDDEN = -1e30  # a score that no key survives, yet finite in every precision


class Mask(NamedTuple):
    """Which keys a query of one attention sees: those that no field hides. By default it sees all.

    Attributes:
        is_causal: hides the keys behind the query.
        prefixes_BS: the number of the prefix that each key belongs to, 0 for none: positions of one prefix see each
            other though the mask is causal, and the queries that are no keys of it see it from behind alone. A row of
            several documents has several (a prefix LM: Raffel et al. 2020, 3.2.1; seqio, packing).
        window: hides the keys that stand `window` positions or more away from the query, on either side.
        key_lengths_B: hides the keys at these positions and behind: padding on the right.
        key_starts_B: hides the keys before these positions: padding on the left.
        query_documents_BT, key_documents_BS: hide the keys of other documents than the query's. Keys of document 0 are
            seen from every document, and see only each other.
        bias_1HTS: added to the scores of the keys that are seen: T5's relative positions.
    """

    is_causal: bool = False
    prefixes_BS: Tensor | None = None
    window: int | None = None
    key_lengths_B: Tensor | None = None
    key_starts_B: Tensor | None = None
    query_documents_BT: Tensor | None = None
    key_documents_BS: Tensor | None = None
    bias_1HTS: Tensor | None = None


def _causal(mask: Mask, keys_S: Tensor, num_queries: int) -> Tensor:
    """bool[T, S] or [B, 1, T, S], which keys a causal query sees."""
    num_keys = len(keys_S)
    past_TS = keys_S.new_ones(num_queries, num_keys, dtype=torch.bool).tril(num_keys - num_queries)
    if mask.prefixes_BS is None:
        return past_TS
    queries_BT1 = mask.prefixes_BS[:, num_keys - num_queries :, None]
    return past_TS | ((queries_BT1 == mask.prefixes_BS[:, None, :]) & (queries_BT1 > 0))[:, None]


def visible_keys(mask: Mask, num_queries: int, num_keys: int, *, device: torch.device) -> Tensor | None:
    """bool, broadcast to [B, H, T, S]: which keys each query sees, whatever the bias; None where it sees all."""
    keys_S = torch.arange(num_keys, device=device)
    rules: list[Tensor] = []
    if mask.key_lengths_B is not None:
        rules.append((keys_S < mask.key_lengths_B[:, None])[:, None, None, :])
    if mask.key_starts_B is not None:
        rules.append((keys_S >= mask.key_starts_B[:, None])[:, None, None, :])
    if mask.query_documents_BT is not None and mask.key_documents_BS is not None:
        keys_B11S = mask.key_documents_BS[:, None, None, :]
        rules.append((mask.query_documents_BT[:, None, :, None] == keys_B11S) | (keys_B11S == 0))
    if mask.window is not None:
        distances_TS = keys_S[num_keys - num_queries :, None] - keys_S
        rules.append(distances_TS.abs() < mask.window)
    if mask.is_causal and num_queries > 1:  # a single query stands behind all others
        rules.append(_causal(mask, keys_S, num_queries))
    visible = None
    for rule in rules:
        visible = rule if visible is None else visible & rule
    return visible


def dense_bias(mask: Mask, num_queries: int, num_keys: int, *, like: Tensor) -> Tensor | None:
    """What a mask means: numbers to add to the scores, broadcast to [B, H, T, S]; None where they would all be 0.

    A hidden key's score is finite: a query that sees none, which only padding can be, gives numbers that nobody reads
    instead of NaN. The numbers have the device and precision of `like`.
    """
    visible = visible_keys(mask, num_queries, num_keys, device=like.device)
    if visible is None:
        return mask.bias_1HTS
    bias = torch.zeros((), dtype=like.dtype, device=like.device) if mask.bias_1HTS is None else mask.bias_1HTS
    return torch.where(visible, bias, HIDDEN)
