"""Texts as a body has room for them, and labels as a loss weighs them."""

from collections.abc import Sequence

import numpy as np


def shortened(texts: Sequence[Sequence[int]], room: int) -> list[list[int]]:
    """One or two texts whose tokens together fit into `room`: the longer of two gives way first.

    As tokenizers' `longest_first` does: where both give way, the longer one keeps the odd token, the second of equals.
    (Devlin et al. 2019's rule, which takes a token at a time, gives that one to the first.)
    """
    room, lengths = max(room, 0), [len(text) for text in texts]
    if sum(lengths) <= room:
        return [list(text) for text in texts]
    longer = max(range(len(texts)), key=lambda number: (lengths[number], number))
    least = min(*lengths, room // 2) if len(texts) > 1 else 0
    return [list(text[: room - least if number == longer else least]) for number, text in enumerate(texts)]


def balanced_weights(label_ids: np.ndarray, num_labels: int) -> list[float]:
    """A weight for each label, so that all that were met count alike and the mean weight of a row is 1."""
    counts = np.bincount(label_ids[label_ids >= 0], minlength=num_labels)
    met = int((counts > 0).sum())
    return [float(counts.sum() / (met * count)) if count else 0.0 for count in counts]


def scale_of(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation; 1 for the deviation of numbers that are all the same."""
    array = np.array(numbers, dtype=np.float64)
    return float(array.mean()), float(array.std()) or 1.0
