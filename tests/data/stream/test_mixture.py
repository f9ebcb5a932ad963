"""Objectives in one run: which has a window is a function of the position, and none reads another's."""

import numpy as np
import pytest
import torch

from data.stream.batch import IGNORE, Batch, Example, MaxLengths
from data.stream.loader import CorruptedWindows, HeldOutWindows, StepCollator, StepLoader
from data.stream.mixture import Choice, Draws, MixedBatch, MixedCollator, MixedExamples, Stages, blank_pair
from data.stream.sharding import BatchSharding
from data.stream.windows import Window, Windows
from tests.helpers import make_vocabulary, make_windows
from tests.objectives.texts import assert_distributed

# A machine of one core warns that two workers are many.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
LENGTH, BATCH = 16, 12
NAMES, SHARES = ("one", "other", "third"), (0.5, 0.3, 0.2)
DRAWS = Draws(names=NAMES[:2], shares=(0.25, 0.75), seed=3)


def noisy(window: Window, rng: np.random.Generator, windows: Windows) -> Example:
    """Every token under noise of its own, and all to be said."""
    tokens = window.tokens.astype(np.int64)
    return Example(encoder_ids=tokens + rng.integers(0, 9, len(tokens)), token_term="tokens", labels={"tokens": tokens})


def halved(window: Window, rng: np.random.Generator, windows: Windows) -> Example:
    """A part of the window, of random length."""
    tokens = window.tokens[: rng.integers(1, len(window) + 1)].astype(np.int64)
    return Example(decoder_ids=tokens, token_term="part", labels={"part": tokens})


CORRUPTIONS = {"one": noisy, "other": halved}


@pytest.fixture(scope="module")
def text() -> Windows:
    return make_windows(make_vocabulary(), documents=20, length=LENGTH)


def mixed(text: Windows, choose: Choice | None = DRAWS) -> MixedExamples:
    return MixedExamples(
        {name: CorruptedWindows(text, corrupt, seed=0) for name, corrupt in CORRUPTIONS.items()}, choose
    )


def batches(text: Windows, *, micro: int, workers: int = 0, steps: int = 5) -> list[MixedBatch]:
    """The micro-batches of the first steps."""
    collator = StepCollator(
        micro_batch_size=micro, pad=0, max_lengths=MaxLengths(LENGTH, LENGTH, LENGTH), keep_documents_apart=False
    )
    mixing = MixedCollator(
        micro_batch_size=micro,
        collators=dict.fromkeys(CORRUPTIONS, collator),
        blanks={name: blank_pair(corrupt, text) for name, corrupt in CORRUPTIONS.items()},
    )
    shares = BatchSharding(batch_size=BATCH, micro_batch_size=micro)
    return list(StepLoader(mixed(text), map(shares.positions, range(steps)), mixing, length=9, num_workers=workers))


def test_shares_are_the_probabilities_of_the_draws_and_every_position_is_drawn_for_itself() -> None:
    draws = Draws(names=NAMES, shares=SHARES, seed=1)
    drawn = [draws(position) for position in range(4000)]
    assert_distributed([drawn.count(name) for name in NAMES], np.array(SHARES))
    pairs = [f"{one} {other}" for one, other in zip(drawn[::2], drawn[1::2], strict=True)]
    both = np.outer(SHARES, SHARES).ravel()
    assert_distributed([pairs.count(f"{one} {other}") for one in NAMES for other in NAMES], both)
    assert [draws(position) for position in (7, 3)] == [drawn[7], drawn[3]]


def test_seeds_draw_apart() -> None:
    one, other = ([Draws(names=NAMES, shares=SHARES, seed=seed)(at) for at in range(50)] for seed in (0, 1))
    assert one != other


def test_a_stage_begins_where_the_one_before_it_ends_and_the_last_has_no_end() -> None:
    stages = Stages(names=NAMES, ends=(4, 6, 10))
    assert [stages(position) for position in range(14)] == ["one"] * 4 + ["other"] * 2 + ["third"] * 8


def test_each_makes_of_a_window_what_it_makes_of_it_alone(text: Windows) -> None:
    alone = {name: CorruptedWindows(text, corrupt, seed=0) for name, corrupt in CORRUPTIONS.items()}
    positions = list(range(2 * len(text)))  # two epochs
    for position, served in zip(positions, mixed(text).__getitems__(positions), strict=True):
        ((name, (window, example)),) = served.items()
        assert name == DRAWS(position)
        expected_window, expected = alone[name][position]
        assert window.index == expected_window.index
        for term, labels in expected.labels.items():
            np.testing.assert_array_equal(example.labels[term], labels)
        for entry in ("encoder_ids", "decoder_ids"):
            np.testing.assert_array_equal(getattr(example, entry), getattr(expected, entry))


def test_without_a_choice_all_see_every_window_and_none_has_labels_behind_the_chosen(text: Windows) -> None:
    members = {name: HeldOutWindows(text, corrupt, seed=0, chosen=4) for name, corrupt in CORRUPTIONS.items()}
    served = MixedExamples(members).__getitems__(list(range(6)))
    assert [set(row) for row in served] == [set(CORRUPTIONS)] * 6
    for place, row in enumerate(served):
        assert len({window.index for window, _ in row.values()}) == 1
        has_labels = {bool((labels != IGNORE).any()) for _, one in row.values() for labels in one.labels.values()}
        assert has_labels == {place < 4}


def rows_of(batch: Batch) -> list[list[int]]:
    ids = batch.encoder_ids_BS if batch.encoder_ids_BS is not None else batch.decoder_ids_BT
    assert ids is not None
    return ids.tolist()


def test_micro_batches_and_workers_change_nothing_but_the_padding(text: Windows) -> None:
    whole, split = batches(text, micro=BATCH), batches(text, micro=3)
    for number, batch in enumerate(whole):
        parts = split[number * 4 : number * 4 + 4]
        assert [index for part in parts for index in part.indices] == batch.indices
        assert sum(part.raw_tokens for part in parts) == batch.raw_tokens == batch.step_raw_tokens
        assert all(part.step_divisors == batch.divisors() == batch.step_divisors for part in parts)
        for name in CORRUPTIONS:
            term = next(iter(batch.parts[name].labels))
            targets = [i for part in parts for i in part.parts[name].labels[term].ids_N.tolist()]
            assert targets == batch.parts[name].labels[term].ids_N.tolist()
    for one, other in zip(split, batches(text, micro=3, workers=2), strict=True):
        assert (one.indices, one.step_divisors) == (other.indices, other.step_divisors)
        assert all(rows_of(one.parts[name]) == rows_of(other.parts[name]) for name in CORRUPTIONS)


def test_who_has_no_window_in_a_micro_batch_reads_one_position_without_a_label(text: Windows) -> None:
    singles = batches(text, micro=1)
    assert {tuple(batch.divisors()) for batch in singles} == {("one/tokens", "other/part")}
    for position, batch in enumerate(singles):
        (idle,) = set(CORRUPTIONS) - {DRAWS(position)}
        (term,) = batch.parts[idle].labels.values()
        assert len(term.ids_N) == 0
        assert len(rows_of(batch.parts[idle])) == len(rows_of(batch.parts[idle])[0]) == 1


def test_a_batch_keeps_its_counts_where_it_is_moved(text: Windows) -> None:
    batch = batches(text, micro=BATCH)[0]
    moved = batch.to(torch.device("meta"))
    assert {part.labels[term].ids_N.device.type for part in moved.parts.values() for term in part.labels} == {"meta"}
    assert (moved.indices, moved.raw_tokens, moved.divisors()) == (batch.indices, batch.raw_tokens, batch.divisors())
    assert (moved.step_divisors, moved.step_raw_tokens) == (batch.step_divisors, batch.step_raw_tokens)
