"""Rates of a corruption, measured on examples, to be compared with the settings."""

from collections.abc import Iterable

import numpy as np

from data.stream.batch import IGNORE, NOWHERE, Example
from data.stream.windows import Window
from data.tokens.tokenizer import Vocabulary

Counts = dict[str, tuple[float, float]]  # of each rate: numerator and denominator


def _of_labels_read(example: Example, labels: np.ndarray, vocabulary: Vocabulary) -> Counts:
    """For an encoder alone: how many positions have a label, and what the encoder reads there."""
    assert example.encoder_ids is not None
    targets, read = labels[labels != IGNORE], example.encoder_ids[labels != IGNORE]
    masked, kept = int((read == vocabulary.mask).sum()), int((read == targets).sum())
    counts: Counts = {
        "positions hidden": (len(targets), len(labels)),
        "of these [MASK]": (masked, len(targets)),
        "of these kept": (kept, len(targets)),
        "of these random": (len(targets) - masked - kept, len(targets)),
    }
    for term, name in {"next_sentence": "random segments", "sentence_order": "swapped segments"}.items():
        label = example.labels.get(term, np.array([IGNORE]))[0]
        if label != IGNORE:
            counts[name] = (float(label), 1)
    return counts


def _of_spans(window: Window, example: Example, vocabulary: Vocabulary) -> Counts:
    """For an encoder and a decoder: how many tokens are hidden from the encoder, and in spans of what length."""
    assert example.encoder_ids is not None
    assert example.encoder_origins is not None
    is_mask = np.isin(example.encoder_ids, [vocabulary.mask, *vocabulary.sentinels])
    is_added = vocabulary.is_special[example.encoder_ids] & (
        window.tokens[example.encoder_origins] != example.encoder_ids
    )
    visible = example.encoder_origins[~is_mask & ~is_added & (example.encoder_origins != NOWHERE)]
    hidden, masks = len(window) - len(visible), int(is_mask.sum())
    return {
        "tokens hidden": (hidden, len(window)),
        "mean span length": (hidden, masks),
        "spans of length 0": (int((example.encoder_origins[is_mask] == NOWHERE).sum()), masks),
        "neighbours parted": (int((np.diff(visible) < 0).sum()), max(len(visible) - 1, 0)),
    }


def count(window: Window, example: Example, vocabulary: Vocabulary) -> Counts:
    """The counts of one example."""
    labels = example.token_labels
    counts: Counts = {}
    if example.decoder_ids is None:
        counts |= _of_labels_read(example, labels, vocabulary)
    elif example.encoder_ids is not None:
        counts |= _of_spans(window, example, vocabulary)
    counts |= {name: (value, 1) for name, value in example.measures.items()}
    read = sum(len(ids) for ids in (example.encoder_ids, example.decoder_ids) if ids is not None)
    counts["positions read per raw token"] = (read, len(window))
    counts["targets per raw token"] = (int((labels != IGNORE).sum()), len(window))
    return counts


def measured(counts: Iterable[Counts]) -> dict[str, float]:
    """The rates over many examples; those with a denominator of 0 are left out."""
    totals: dict[str, np.ndarray] = {}
    for example in counts:
        for name, pair in example.items():
            totals[name] = totals.get(name, np.zeros(2)) + pair
    return {name: float(part / whole) for name, (part, whole) in totals.items() if whole}
