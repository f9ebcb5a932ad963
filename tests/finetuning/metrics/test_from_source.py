"""What a model takes from a source: against tables of likelihoods, and against the module's own loss."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetuning.core.generative import GenerativeFineTuning
from finetuning.data.batch import collate
from finetuning.data.rows import DataWarnings, PairRow
from finetuning.load import predictions_of
from finetuning.metrics.from_source import bits_from_source, other_sources
from finetuning.tasks.mixture import Mixture
from finetuning.tasks.text_to_text import TextToTextTask
from tests.finetuning.opened import learn_by_heart, opened

Command = Callable[..., list[str]]


def test_another_source_is_the_next_longer_text() -> None:
    assert other_sources(["bb", "a", "ccc", "a"]) == ["ccc", "bb", "bb", "bb"]
    assert other_sources(["바람", "비"]) == ["비", "바람"]  # characters, not bytes
    assert other_sources(["same", "same"]) == ["same", "same"]
    assert other_sources([]) == []


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_chooses_no_source(sources: list[str], random: object) -> None:
    found = dict(zip(sources, other_sources(sources), strict=True))
    shuffled = sorted(sources, key=lambda _: random.random())  # pyright: ignore[reportAttributeAccessIssue]
    assert other_sources(shuffled) == [found[source] for source in shuffled]
    if len(set(sources)) > 1:
        assert all(other != source for source, other in found.items())


def test_bits_are_those_that_the_source_saves() -> None:
    """A dictionary that knows its pairs for certain, and any other text by one letter of four."""
    pairs = {"wind": "바람", "rain": "비", "morning": "아침"}

    def nats(sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
        return np.array(
            [0 if pairs[source] == target else len(target) * math.log(4)
             for source, target in zip(sources, targets, strict=True)]
        )  # fmt: skip

    assert bits_from_source([*pairs], [*pairs.values()], nats) == pytest.approx([4, 2, 4])
    assert bits_from_source(["wind", "wind"], ["바람", "바람"], nats) == pytest.approx([0, 0])


def test_a_model_that_reads_no_source_takes_nothing_from_it() -> None:
    def nats(sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
        return np.array([float(len(target)) for target in targets])

    assert not bits_from_source(["a", "bb", "ccc"], ["x", "yy", "z"], nats).any()


def test_by_length_they_are_the_means_of_their_rows() -> None:
    rows = [PairRow(source=source, targets=(source.upper(), "other")) for source in ("ab", "bcd", "cdefg", "defghi")]
    task = TextToTextTask(
        name="copy", train="train.jsonl", prefix="copy: ", scores=("bits_from_source", "exact"), source_lengths=(3,)
    )
    asked: list[tuple[str, ...]] = []

    def nats(sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
        asked.append(tuple(sources))
        assert list(targets) == ["AB", "BCD", "CDEFG", "DEFGHI"]  # the first of several
        return np.array([len(target) ** 2 if len(asked) == 1 else 0 for target in targets]) * math.log(2)

    scores = task.measure_text(rows, ["AB", "BCD", "", ""], nats)
    assert len(asked) == 2  # the ranges ask nothing more
    assert all(source.startswith("copy: ") for sources in asked for source in sources)
    assert next(iter(scores)) == "bits_from_source"
    assert scores["bits_from_source"].value == pytest.approx((4 + 9 + 25 + 36) / 4)
    items = scores["bits_from_source"].items
    assert items is not None
    assert items.tolist() == pytest.approx([4, 9, 25, 36])
    assert scores["bits_from_source/source up to 3"].value == pytest.approx((4 + 9) / 2)
    assert scores["bits_from_source/source over 3"].value == pytest.approx((25 + 36) / 2)
    assert scores["bits_from_source/source over 3"].items is None
    assert scores["exact/source up to 3"].value == 1


@pytest.mark.parametrize("objective", ["denoising", "causal_lm"])
def test_the_likelihood_of_targets_is_the_loss_of_training(tiny_task: Command, objective: str) -> None:
    """In float64; padding and the other rows of a batch change none of them."""
    module, data = opened(tiny_task("text_to_text", objective))
    assert isinstance(module, GenerativeFineTuning)
    module.double().eval()
    rows = data.rows["test"][:6]
    texts = [module.task.as_text(row) for row in rows]
    sources, targets = [source for source, _ in texts], [target or "" for _, target in texts]
    found = module.nats_of(sources, targets)
    batch = collate(module.examples(rows, DataWarnings()), pad=module.start.vocabulary.pad)
    with torch.no_grad():
        term = module.terms(batch, count_correct=False)["target"]
    assert found.sum() == pytest.approx(float(term.loss_sum), rel=1e-12)
    alone = [module.nats_of([source], [target])[0] for source, target in zip(sources, targets, strict=True)]
    assert found == pytest.approx(alone, rel=1e-12)


def test_what_is_known_by_heart_is_taken_from_the_source(tiny_task: Command) -> None:
    module, data = opened(
        tiny_task(
            "text_to_text", "causal_lm", "--task.scores", "[exact, bits_from_source]", "--task.source_lengths", "[20]"
        )
    )
    rows = data.rows["train"][:8]

    def measured() -> dict[str, float]:
        found = module.measure_predictions(rows, predictions_of(module, rows))
        return {name: score.value for name, score in found.items()}

    module.eval()
    before = measured()
    torch.manual_seed(0)
    learn_by_heart(module, data, 8, 50, rate=1e-2)
    after = measured()
    assert list(after)[:2] == ["exact", "bits_from_source"]
    assert abs(before["bits_from_source"]) < 1
    assert after["bits_from_source"] > 10


def test_a_mixture_reports_them_of_its_task(tiny_task: Command) -> None:
    """By the likelihoods of the mixture's own model."""
    module, data = opened(tiny_task("mixture", "causal_lm"))
    assert isinstance(module, Mixture)
    parts = [
        replace(task, scores=("chrf", "bits_from_source")) if isinstance(task, TextToTextTask) else task
        for task in module.task.tasks
    ]
    module.task = replace(module.task, tasks=tuple(parts))
    module.eval()
    rows = data.rows["test"]
    scores = module.measure_predictions(rows, predictions_of(module, rows))
    assert math.isfinite(scores["reverse.bits_from_source"].value)
