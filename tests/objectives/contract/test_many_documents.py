"""Two thousand documents of 1 to 40 tokens under every objective: nothing is lost, nothing hidden leaves a trace."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from data.stream.batch import IGNORE, Example
from data.stream.windows import Window, Windows
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.denoising import Denoising
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
    hidden_places,
    key,
    made,
    of_documents,
)


def documents(number: int) -> Windows:
    """Each a window; every fourth is of 1 or 2 tokens, which is where counts round to nothing or to all."""
    rng = np.random.default_rng(0)
    lengths = np.where(rng.random(number) < 0.25, rng.integers(1, 3, size=number), rng.integers(1, 41, size=number))
    return of_documents(
        [[rng.choice(VOCABULARY.ordinary, size=length).tolist()] for length in lengths],
        length=40,
        rule="within_document",
    )


def from_masked_lm(window: Window, example: Example) -> np.ndarray:
    """What is read, with the labels in their places."""
    read, labels = example.encoder_ids, example.labels["masked"]
    assert read is not None
    restored = np.where(labels == IGNORE, read, labels)
    assert (restored[0], restored[-1]) == (CLS, SEP)
    assert (labels == IGNORE).sum() == len(labels) - min(max(1, round(0.15 * len(labels))), len(window))
    return restored[1:-1]


def from_causal_lm(window: Window, example: Example) -> np.ndarray:
    """The labels, which are read one place later."""
    labels, read = example.labels["next_token"], example.decoder_ids
    assert read is not None
    assert read.tolist() == [window.previous, *labels[:-1]]
    return labels


def from_denoising(window: Window, example: Example) -> np.ndarray:
    """The labels, which are read one place later; what is read holds the rest of the text, in its order."""
    labels, read, source = example.labels["token"], example.decoder_ids, example.encoder_ids
    assert read is not None
    assert source is not None
    assert read.tolist() == [EOS, *labels[:-1]]
    assert (labels[0], labels[-1], source[0], source[-1]) == (BOS, EOS, BOS, EOS)
    shown = source[1:-1][source[1:-1] != MASK]
    assert len(shown) == len(window) - round(0.3 * len(window))
    left = iter(labels.tolist())
    assert all(token in left for token in shown.tolist())  # a subsequence: each is found behind the one before
    return labels[1:-1]


def from_span_corruption(_window: Window, example: Example) -> np.ndarray:
    """What is read, with what is said behind each sentinel in that sentinel's place."""
    labels, read, source = example.labels["span"], example.decoder_ids, example.encoder_ids
    assert read is not None
    assert source is not None
    assert read.tolist() == [PAD, *labels[:-1]]
    assert labels[-1] == source[-1] == EOS
    spans: dict[int, list[int]] = {}
    for token in labels[:-1].tolist():
        if token in SENTINELS:
            spans[token] = []
        else:
            spans[next(reversed(spans))].append(token)
    assert list(spans) == SENTINELS[: len(spans)].tolist()
    assert all(spans.values())
    return np.array([token for one in source[:-1].tolist() for token in spans.get(one, [one])])


Restore = Callable[[Window, Example], np.ndarray]
RESTORED: dict[str, tuple[Objective, Restore]] = {
    "masked_lm": (made(MaskedLM, next_sentence=False), from_masked_lm),
    "causal_lm": (made(CausalLM), from_causal_lm),
    "denoising": (made(Denoising, permute_rate=0.0), from_denoising),
    "span_corruption": (made(SpanCorruption), from_span_corruption),
}


@pytest.mark.parametrize("name", RESTORED)
def test_input_and_labels_give_back_each_of_two_thousand_documents(name: str) -> None:
    objective, restore = RESTORED[name]
    corrupt, windows = objective.corruption(VOCABULARY), documents(2000)
    assert len(windows) == 2000
    for window in (windows[index] for index in range(len(windows))):
        restored = restore(window, corrupt(window, key(window.index), windows))
        assert np.array_equal(restored, window.tokens), window.index


@pytest.mark.parametrize(
    "objective",
    [
        made(MaskedLM, next_sentence=False, mask_rate=1.0, random_rate=0.0, noise_density=0.3),
        made(MaskedLM, next_sentence=False, mask_rate=0.0, random_rate=1.0, noise_density=0.3),
        made(Denoising, permute_rate=0.0),
        made(Denoising, permute_rate=0.0, infill_rate=0.0, mask_rate=0.3),
        made(Denoising, permute_rate=0.0, infill_rate=0.0, delete_rate=0.3),
        made(SpanCorruption),
    ],
    ids=["masked_lm", "masked_lm at random", "infilled", "masked", "deleted", "span_corruption"],
)
def test_other_tokens_where_text_is_hidden_leave_what_is_read_as_it_is(objective: Objective) -> None:
    """The encoder's input is the same to the last id, whatever stands behind it."""
    corrupt, windows = objective.corruption(VOCABULARY), documents(400)
    changed = 0
    for window in (windows[index] for index in range(len(windows))):
        example = corrupt(window, key(window.index), windows)
        hidden = hidden_places(example, len(window))
        if isinstance(objective, MaskedLM):
            hidden = example.labels["masked"][1:-1] != IGNORE
        others = np.where(hidden, VOCABULARY.ordinary[-1] - window.tokens + VOCABULARY.ordinary[0], window.tokens)
        again = corrupt(replace(window, tokens=others.astype(window.tokens.dtype)), key(window.index), windows)
        assert example.encoder_ids is not None
        assert again.encoder_ids is not None
        assert np.array_equal(example.encoder_ids, again.encoder_ids), window.index
        changed += int((others != window.tokens).sum())
    assert changed > 400
