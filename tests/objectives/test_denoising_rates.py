"""Denoising under many draws: each noise alone hides what it says, as often as it says."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from data.stream.batch import NOWHERE, Example
from objectives.denoising import Denoising
from tests.objectives.texts import (
    MASK,
    VOCABULARY,
    assert_distributed,
    examples_of,
    hidden_places,
    made,
    numbered,
    of_documents,
    read_of,
    standard_error,
)


def many(length: int = 510, draws: int = 300, **knobs: Any) -> list[Example]:
    """One text under many draws."""
    windows = of_documents([[numbered(length).tolist()]], length=length)
    corrupt = made(Denoising, **{"permute_rate": 0.0, **knobs}).corruption(VOCABULARY)
    return [examples_of(corrupt, windows, epoch=epoch)[0][1] for epoch in range(draws)]


@pytest.mark.parametrize(
    ("sampler", "mean", "share", "masks"),
    [("exact", 3.0, 0.3, 51.5), ("fairseq", 3.0, 0.268, 42.8), ("fairseq", 3.5, 0.266, 35.7)],
)
def test_as_much_is_hidden_as_the_sampler_promises(sampler: str, mean: float, share: float, masks: float) -> None:
    """C51: exactly 30 % by the exact sampler; its draws exceed 153 by 1.5 on average, so they are 154.5 / 3 (Wald)."""
    examples = many(sampler=sampler, mean_span_length=mean, draws=1_000)
    hidden = [hidden_places(example, 510).sum() for example in examples]
    counts = [(read_of(example)[0] == MASK).sum() for example in examples]
    assert abs(np.mean(hidden) / 510 - share) < 0.002
    assert abs(np.mean(counts) - masks) < 0.9
    if sampler == "exact":
        assert set(hidden) == {153}


def test_about_five_of_a_hundred_spans_are_insertions() -> None:
    """C53: e^-3; the length of the spans that the exact sampler parts is that of the Poisson draws."""
    lengths: Counter[int] = Counter()
    for example in many(draws=400):
        ids, origins = read_of(example)
        bounds = np.append(origins[origins != NOWHERE], 510)
        is_mask = np.append(ids[origins != NOWHERE] == MASK, False)
        lengths.update(np.diff(bounds)[is_mask[:-1]].tolist())
        lengths[0] += int((origins == NOWHERE).sum())
    total = lengths.total()
    assert abs(lengths[0] / total - math.exp(-3)) < 4 * standard_error(math.exp(-3), total)
    for length in range(1, 7):
        share = math.exp(-3) * 3**length / math.factorial(length)
        assert abs(lengths[length] / total - share) < 4 * standard_error(share, total) + 0.006  # the last one is cut


def test_token_masking_masks_one_by_one_and_deletion_leaves_nothing() -> None:
    """C52: lengths of fairseq's replace_length -1 and 0."""
    for example in many(100, draws=20, infill_rate=0.0, mask_rate=0.3):
        ids, _ = read_of(example)
        assert len(ids) == 100
        assert (ids == MASK).sum() == 30
    for example in many(100, draws=20, infill_rate=0.0, delete_rate=0.3):
        ids, _ = read_of(example)
        assert len(ids) == 70
        assert MASK not in ids


def test_masks_are_neither_masked_again_nor_deleted() -> None:
    """With one key the spans are the same, whatever becomes of the rest of the text."""
    for rate, deletes in (("mask_rate", False), ("delete_rate", True)):
        for alone, both in zip(many(100, draws=20), many(100, draws=20, **{rate: 0.5}), strict=True):
            masks, (ids, _) = (read_of(alone)[0] == MASK).sum(), read_of(both)
            length = len(read_of(alone)[0])
            chosen = min(round(0.5 * length), length - masks)
            assert (ids == MASK).sum() == masks + chosen * (not deletes)
            assert len(ids) == length - chosen * deletes


def test_spans_collapse_to_one_mask_each() -> None:
    """C52: replace_length 1; parted spans never stand side by side but for insertions."""
    for example in many(100, draws=50):
        ids, origins = read_of(example)
        kept = ids[origins != NOWHERE]
        assert not ((kept[1:] == MASK) & (kept[:-1] == MASK)).any()


def test_rotation_begins_anywhere_and_as_often_as_the_rate_says() -> None:
    """C55."""
    examples = many(8, draws=4_000, infill_rate=0.0, rotate_rate=0.5)
    orders = [tuple(read_of(example)[1].tolist()) for example in examples]
    assert all(order == (*range(order[0], 8), *range(order[0])) for order in orders)
    assert_distributed(np.bincount([order[0] for order in orders]), np.array([0.5 + 0.5 / 8] + [0.5 / 8] * 7))


def test_as_many_masks_are_random_as_the_rate_says() -> None:
    """Insertions too: fairseq makes just one of up to ten random at a rate of 0.1."""
    kinds = np.zeros((2, 2))
    for example in many(200, random_rate=0.1, mean_span_length=2.0):
        ids, origins = read_of(example)
        plain = (origins != NOWHERE) & (ids == numbered(200)[origins])
        for inserted in (False, True):
            masks = ~plain & ((origins == NOWHERE) == inserted)
            kinds[int(inserted)] += [(ids[masks] != MASK).sum(), masks.sum()]
    for randomised, total in kinds:
        assert abs(randomised / total - 0.1) < 4 * standard_error(0.1, int(total)) + 0.001
