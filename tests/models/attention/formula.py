"""Attention as the textbook has it: who sees whom position by position, and one query at a time."""

import numpy as np
import torch
from torch import Tensor

from models.attention.masks import HIDDEN, Mask


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


def sees(mask: Mask, row: int, query: int, key: int) -> bool:
    """Whether the query at a position of a row sees the key at another."""
    start = 0 if mask.key_starts_B is None else int(mask.key_starts_B[row])
    prefixes = [0] * (1 + max(query, key)) if mask.prefixes_BS is None else mask.prefixes_BS[row].tolist()
    rules = [
        not mask.is_causal or key <= query or prefixes[key] == prefixes[query] > 0,
        mask.window is None or abs(query - key) < mask.window,
        mask.key_lengths_B is None or key < int(mask.key_lengths_B[row]),
        key >= start,
    ]
    if mask.query_documents_BT is not None and mask.key_documents_BS is not None:
        first = mask.key_documents_BS.shape[1] - mask.query_documents_BT.shape[1]
        document = int(mask.key_documents_BS[row, key])
        rules.append(document in (0, int(mask.query_documents_BT[row, query - first])))
    return all(rules)


def visible_by_formula(mask: Mask, rows: int, num_queries: int, num_keys: int) -> np.ndarray:
    """bool[B, 1, T, S]; the queries stand at the last of the keys."""
    queries = range(num_keys - num_queries, num_keys)
    table = [[[sees(mask, row, query, key) for key in range(num_keys)] for query in queries] for row in range(rows)]
    return np.array(table)[:, None]


def bias_by_formula(mask: Mask, rows: int, num_queries: int, num_keys: int) -> np.ndarray:
    """[B, H or 1, T, S], what is added to the scores."""
    bias = 0.0 if mask.bias_1HTS is None else mask.bias_1HTS.detach().numpy()
    return np.where(visible_by_formula(mask, rows, num_queries, num_keys), bias, HIDDEN)
