"""Rates: what is counted on examples by hand, and that settings say what many examples show."""

import math
from typing import Any

import numpy as np
import pytest

from data.stream.batch import EARLIER, IGNORE, NOWHERE, Example
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.segments import FOLLOWS, RANDOM_SEGMENT
from objectives.denoising import Denoising
from objectives.inspection.rates import count, measured
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.objectives.texts import (
    BOS,
    CLS,
    EOS,
    MASK,
    PAD,
    SENTINELS,
    SEP,
    VOCABULARY,
    examples_of,
    made,
    numbered,
    of_documents,
    window_of,
)

A, B, C, D, E = numbered(5).tolist()


def test_a_masked_window_is_counted_by_what_became_of_the_hidden() -> None:
    example = Example(
        encoder_ids=np.array([CLS, A, MASK, C, 300, E, SEP]),
        encoder_origins=np.array([NOWHERE, 0, 1, 2, 3, 4, NOWHERE]),
        token_term="masked",
        labels={
            "masked": np.array([IGNORE, IGNORE, B, C, D, IGNORE, IGNORE]),
            "next_sentence": np.array([RANDOM_SEGMENT] + [IGNORE] * 6),
        },
    )
    assert count(window_of([A, B, C, D, E]), example, VOCABULARY) == {
        "positions hidden": (3, 7),
        "of these [MASK]": (1, 3),
        "of these kept": (1, 3),
        "of these random": (1, 3),
        "random segments": (1, 1),
        "positions read per raw token": (7, 5),
        "targets per raw token": (3, 5),
    }
    example.labels["next_sentence"][0] = FOLLOWS
    assert count(window_of([A, B, C, D, E]), example, VOCABULARY)["random segments"] == (0, 1)
    example.labels["next_sentence"][0] = IGNORE
    assert "random segments" not in count(window_of([A, B, C, D, E]), example, VOCABULARY)


def test_causal_tokens_are_all_targets() -> None:
    example = Example(
        decoder_ids=np.array([EOS, A, B]),
        decoder_origins=np.array([EARLIER, 0, 1]),
        token_term="next_token",
        labels={"next_token": np.array([A, B, C])},
    )
    assert count(window_of([A, B, C]), example, VOCABULARY) == {
        "positions read per raw token": (3, 3),
        "targets per raw token": (3, 3),
    }


def test_spans_are_counted_by_what_is_not_read() -> None:
    """W1, shortened: 5 tokens, of which 3 are hidden in 2 spans."""
    first, second = SENTINELS[:2]
    example = Example(
        encoder_ids=np.array([A, first, D, second, EOS]),
        encoder_origins=np.array([0, 1, 3, 4, NOWHERE]),
        decoder_ids=np.array([PAD, first, B, C, second, E]),
        decoder_origins=np.array([1, 1, 2, 4, 4, NOWHERE]),
        token_term="span",
        labels={"span": np.array([first, B, C, second, E, EOS])},
    )
    assert count(window_of([A, B, C, D, E]), example, VOCABULARY) == {
        "tokens hidden": (3, 5),
        "mean span length": (3, 2),
        "spans of length 0": (0, 2),
        "neighbours parted": (0, 1),
        "positions read per raw token": (11, 5),
        "targets per raw token": (6, 5),
    }


def test_insertions_and_sentences_that_changed_places_are_counted() -> None:
    """`C D | A B`, with A hidden and a mask inserted."""
    example = Example(
        encoder_ids=np.array([BOS, C, MASK, D, MASK, B, EOS]),
        encoder_origins=np.array([NOWHERE, 2, NOWHERE, 3, 0, 1, NOWHERE]),
        decoder_ids=np.array([EOS, BOS, A, B, C, D]),
        decoder_origins=np.array([NOWHERE, 0, 1, 2, 3, NOWHERE]),
        token_term="token",
        labels={"token": np.array([BOS, A, B, C, D, EOS])},
    )
    counts = count(window_of([A, B, C, D], sentence_starts=(0, 2)), example, VOCABULARY)
    assert counts["tokens hidden"] == (1, 4)
    assert counts["mean span length"] == (1, 2)
    assert counts["spans of length 0"] == (1, 2)
    assert counts["neighbours parted"] == (1, 2)


def test_rates_are_shares_of_all_that_was_counted() -> None:
    """Sums over sums, no mean of means; what nothing was counted for is left out."""
    assert measured([{"a": (1, 2), "b": (0, 0)}, {"a": (8, 8), "c": (1, 4)}]) == {"a": 0.9, "c": 0.25}
    assert measured([]) == {}


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (
            made(MaskedLM),
            {"positions hidden": 0.15, "of these [MASK]": 0.8, "of these kept": 0.1, "random segments": 0.5},
        ),
        (made(MaskedLM, mask_rate=0.5, random_rate=0.25), {"of these random": 0.25, "of these kept": 0.25}),
        (made(CausalLM), {"targets per raw token": 1.0}),
        (made(Denoising), {"tokens hidden": 0.3, "mean span length": 3.0, "spans of length 0": math.exp(-3)}),
        (made(Denoising, infill_rate=0.0, mask_rate=0.2), {"tokens hidden": 0.2}),
        (made(Denoising, infill_rate=0.0, delete_rate=0.4), {"tokens hidden": 0.4}),
        (made(SpanCorruption), {"tokens hidden": 0.15, "mean span length": 3.0}),
        (made(SpanCorruption, noise_density=0.5, mean_span_length=8.0, roll=True), {"tokens hidden": 0.5}),
        (
            made(SpanCorruption, keep_documents_apart=True),
            {"tokens hidden": 0.15, "targets per raw token": 0.2},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_settings_say_what_many_examples_show(objective: Objective, expected: dict[str, float]) -> None:
    sentences = [numbered(10).tolist()] * 60
    windows = of_documents([sentences, sentences], length=200)
    nominal = objective.nominal_rates(200)
    found = measured(
        count(window, example, VOCABULARY)
        for epoch in range(150)
        for window, example in examples_of(objective.corruption(VOCABULARY), windows, epoch=epoch)
    )
    for name, rate in expected.items():
        assert nominal[name] == pytest.approx(rate, rel=0.03)
        assert found[name] == pytest.approx(rate, rel=0.09), name


@pytest.mark.parametrize(
    ("objective_class", "knobs"), [(MaskedLM, {}), (CausalLM, {}), (Denoising, {}), (SpanCorruption, {"roll": True})]
)
def test_targets_are_named_for_every_objective(objective_class: type[Objective], knobs: dict[str, Any]) -> None:
    assert made(objective_class, **knobs).nominal_rates(128)["targets per raw token"] > 0
