"""Loaders: what a step reads follows from its number, however it is read."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.stream.batch import IGNORE, Batch, Example, MaxLengths
from data.stream.loader import ENDLESS, CorruptedWindows, HeldOutWindows, StepCollator, StepLoader
from data.stream.sharding import BatchSharding
from data.stream.windows import Window, Windows
from tests.helpers import make_vocabulary, make_windows

# A machine of one core warns that two workers are many.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
LENGTH, BATCH = 16, 12


def corrupt(window: Window, rng: np.random.Generator, windows: Windows) -> Example:
    """Every token under noise of its own, a third of them to be said."""
    tokens = window.tokens.astype(np.int64)
    labels = np.where(rng.random(len(tokens)) < 1 / 3, tokens, IGNORE)
    return Example(encoder_ids=tokens + rng.integers(0, 9, len(tokens)), token_term="tokens", labels={"tokens": labels})


@pytest.fixture(scope="module")
def text() -> Windows:
    return make_windows(make_vocabulary(), documents=20, length=LENGTH)


def collator(micro_batch_size: int) -> StepCollator:
    max_lengths = MaxLengths(encoder=LENGTH, decoder=0, targets=LENGTH)
    return StepCollator(micro_batch_size=micro_batch_size, pad=0, max_lengths=max_lengths, keep_documents_apart=False)


def micro_batches(
    text: Windows, *, steps: int, first: int = 0, seed: int = 0, workers: int = 0, **sharding: Any
) -> list[Batch]:
    """What one process reads in `steps` optimizer steps from step `first` on."""
    here = BatchSharding(**{"batch_size": BATCH, "micro_batch_size": BATCH, **sharding})
    loader = StepLoader(
        CorruptedWindows(text, corrupt, seed=seed),
        here.steps(first),
        collator(here.micro_batch_size),
        length=ENDLESS,
        num_workers=workers,
    )
    number = steps * BATCH // (here.world * here.micro_batch_size)
    return list(itertools.islice(loader, number))


def rows(batches: list[Batch]) -> Iterator[tuple[int, list[int], list[int]]]:
    """For each window its number, what is read, and what is to be said with its places."""
    for batch in batches:
        assert batch.encoder_ids_BS is not None
        number, width = batch.encoder_ids_BS.shape
        targets_BT = torch.full((number * width,), IGNORE)
        targets_BT[batch.labels["tokens"].positions_N] = batch.labels["tokens"].ids_N
        lengths = [width] * number if batch.encoder_lengths_B is None else batch.encoder_lengths_B.tolist()
        for row, (index, length) in enumerate(zip(batch.indices, lengths, strict=True)):
            yield (
                index,
                batch.encoder_ids_BS[row, :length].tolist(),
                targets_BT.view(number, width)[row, :length].tolist(),
            )


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_number_of_workers(workers: int, text: Windows) -> None:
    alone = micro_batches(text, steps=30, micro_batch_size=4)
    helped = micro_batches(text, steps=30, micro_batch_size=4, workers=workers)
    assert list(rows(helped)) == list(rows(alone))
    assert [batch.step_divisors for batch in helped] == [batch.step_divisors for batch in alone]


@pytest.mark.parametrize(("world", "micro"), [(1, 1), (1, 4), (2, 6), (2, 3), (3, 2), (4, 3), (12, 1)])
def test_windows_and_noise_are_the_same_however_a_batch_is_shared_out(world: int, micro: int, text: Windows) -> None:
    whole = micro_batches(text, steps=20)
    shared = [micro_batches(text, steps=20, rank=r, world=world, micro_batch_size=micro) for r in range(world)]
    in_turn = list(itertools.chain(*zip(*shared, strict=True)))
    assert list(rows(in_turn)) == list(rows(whole))


@given(micro=st.integers(1, 5), world=st.integers(1, 5), accumulated=st.integers(1, 4), step=st.integers(0, 10**12))
@settings(deadline=None, derandomize=True)
def test_the_processes_of_a_step_read_each_of_its_positions_once(
    micro: int, world: int, accumulated: int, step: int
) -> None:
    sharding = BatchSharding(batch_size=micro * world * accumulated, micro_batch_size=micro, world=world)
    positions = [replace(sharding, rank=rank).positions(step) for rank in range(world)]
    assert {len(own) for own in positions} == {micro * accumulated}
    everything = sorted(itertools.chain(*positions))
    assert everything == list(range(step * sharding.batch_size, (step + 1) * sharding.batch_size))


def test_beginning_at_a_step_is_skipping_the_steps_before(text: Windows) -> None:
    whole = micro_batches(text, steps=40, micro_batch_size=4)
    for first in (1, 17, 39):
        resumed = micro_batches(text, steps=40 - first, first=first, micro_batch_size=4)
        assert list(rows(resumed)) == list(rows(whole[3 * first :]))


def test_beginning_at_a_late_step_reads_no_earlier_one(text: Windows) -> None:
    read: list[int] = []

    def noting(window: Window, rng: np.random.Generator, windows: Windows) -> Example:
        read.append(window.index)
        return corrupt(window, rng, windows)

    steps = BatchSharding(batch_size=BATCH, micro_batch_size=BATCH).steps(10**12)
    loader = StepLoader(CorruptedWindows(text, noting, seed=0), steps, collator(BATCH), length=ENDLESS, num_workers=0)
    batch = next(iter(loader))
    assert read == batch.indices
    assert len(read) == BATCH


@pytest.mark.parametrize("seed", [0, 1])
def test_an_epoch_reads_every_window_once_and_the_next_in_another_order(seed: int, text: Windows) -> None:
    number = len(text)
    examples = CorruptedWindows(text, corrupt, seed=seed)
    epochs = [examples.__getitems__(list(range(epoch * number, (epoch + 1) * number))) for epoch in range(3)]
    orders = [[window.index for window, _ in epoch] for epoch in epochs]
    assert all(sorted(order) == list(range(number)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    noise = [{w.index: e.labels["tokens"].tolist() for w, e in epoch} for epoch in epochs]
    assert sum(noise[0][index] == noise[1][index] for index in range(number)) < number / 10


def test_a_step_may_span_two_epochs(text: Windows) -> None:
    number = len(text)
    examples = CorruptedWindows(text, corrupt, seed=0)
    together = examples.__getitems__(list(range(number - 5, number + 5)))
    apart = [examples[position] for position in range(number - 5, number + 5)]
    assert [w.index for w, _ in together] == [w.index for w, _ in apart]
    for (_, left), (_, right) in zip(together, apart, strict=True):
        assert np.array_equal(left.labels["tokens"], right.labels["tokens"])


def test_another_seed_is_another_order_and_other_noise(text: Windows) -> None:
    first, second = (micro_batches(text, steps=5, seed=seed) for seed in (0, 1))
    assert [batch.indices for batch in first] != [batch.indices for batch in second]


def test_a_micro_batch_knows_the_labels_and_tokens_of_its_process_s_step(text: Windows) -> None:
    batches = micro_batches(text, steps=6, micro_batch_size=2, world=2, rank=1)
    for start in range(0, len(batches), 3):
        step = batches[start : start + 3]
        totals = {"tokens": sum(batch.divisors()["tokens"] for batch in step)}
        assert [batch.step_divisors for batch in step] == [totals] * 3
        assert [batch.step_raw_tokens for batch in step] == [sum(batch.raw_tokens for batch in step)] * 3


def test_held_out_windows_are_spread_over_the_split_under_one_noise(text: Windows) -> None:
    chosen = 10
    first, again = (HeldOutWindows(text, corrupt, seed=0, chosen=chosen) for _ in range(2))
    pairs = first.__getitems__(list(range(chosen)))
    indices = [window.index for window, _ in pairs]
    assert len(set(indices)) == chosen
    assert indices == sorted(indices)
    assert max(np.diff(indices)) - min(np.diff(indices)) <= 1
    assert indices[-1] + max(np.diff(indices)) >= len(text)
    for position, (_, example) in enumerate(pairs):
        assert np.array_equal(again[position][1].labels["tokens"], example.labels["tokens"])
    trained = {
        w.index: e.labels["tokens"].tolist()
        for w, e in CorruptedWindows(text, corrupt, seed=0).__getitems__([*range(99)])
    }
    assert not any(trained.get(w.index) == e.labels["tokens"].tolist() for w, e in pairs)


@pytest.mark.parametrize("chosen", [1, 7, 10**6])
def test_windows_that_fill_up_have_no_warning(chosen: int, text: Windows) -> None:
    examples = HeldOutWindows(text, corrupt, seed=0, chosen=chosen)
    number = min(chosen, len(text))
    assert examples.chosen == number
    pairs = [examples[position] for position in range(number + 5)]
    assert Counter(window.index for window, _ in pairs[:number]).most_common(1)[0][1] == 1
    for window, example in pairs[number:]:
        assert example.labels["tokens"].tolist() == [IGNORE] * len(window)
