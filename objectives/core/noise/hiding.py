"""Tokens hidden one by one in a text that is read whole: masked diffusion, in training and where a text is scored."""

import numpy as np

from data.stream.batch import EARLIER, IGNORE, Example
from data.stream.windows import Window


def read_from_before(window: Window, ids: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids behind the token before the window, and their origins; that token belongs to the document it stands in."""
    before = EARLIER if 0 in window.document_starts else 0
    return np.concatenate([[window.previous], ids]).astype(np.int64), np.concatenate([[before], origins])


def with_hidden(
    window: Window, is_hidden: np.ndarray, *, weight: float, mask: int, term: str, is_shifted: bool
) -> Example:
    """The window behind the token before it, with some tokens hidden, and their losses weighted.

    The sum of the losses is divided by the number of all tokens. `is_shifted` predicts each at the position before, on
    a decoder whose positions all see each other, and otherwise at its own, on an encoder.
    """
    tokens = window.tokens.astype(np.int64)
    ids, origins = read_from_before(window, np.where(is_hidden, mask, tokens), np.arange(len(window)))
    targets = np.where(is_hidden, tokens, IGNORE)
    labels = np.append(targets, IGNORE) if is_shifted else np.concatenate([[IGNORE], targets])
    shared = {
        "labels": {term: labels},
        "token_term": term,
        "weights": {term: np.full(len(ids), weight)},
        "divisors": {term: float(len(window))},
    }
    if is_shifted:
        return Example(decoder_ids=ids, decoder_origins=origins, prefixes=np.ones(len(ids), dtype=np.int64), **shared)
    return Example(encoder_ids=ids, encoder_origins=origins, **shared)
