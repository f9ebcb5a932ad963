"""What the analytic floors stand on: exact inference on a Markov chain, against every text and every draw there is."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from data.stream.batch import IGNORE, Example
from data.stream.order import Purpose, generator
from data.stream.windows import TokensInMemory, Window, Windows
from objectives.core.base import Objective
from objectives.core.noise.spans import span_counts
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.helpers import NUM_SPECIAL, make_vocabulary
from tests.objectives.floors import optimum
from tests.objectives.floors.floors import (
    HIDDEN,
    deleted,
    infilled,
    masked_one_by_one,
    masked_or_kept,
    rotated,
    spans_of_t5,
)
from tests.objectives.floors.markov import MarkovChain, Ways
from tests.objectives.texts import assert_distributed, made

V = 3
CHAIN = MarkovChain.random(V, seed=0)


class Noise(NamedTuple):
    """A noise on windows of `length`: the ways behind what is read, and how long that can be."""

    length: int
    read_lengths: range
    ways: Callable[[np.ndarray], Ways]
    is_possible: Callable[[np.ndarray], bool]


def num_hidden(read: np.ndarray) -> int:
    return int((read == HIDDEN).sum())


def could_be_t5s(read: np.ndarray) -> bool:
    """Text before each of two sentinels, and nothing behind the last."""
    sentinels = np.flatnonzero(read == HIDDEN)
    return len(sentinels) == 2 and sentinels[0] > 0 and sentinels[1] == len(read) - 1 > sentinels[0] + 1


NOISES = {
    "masked or kept": Noise(
        5,
        range(5, 6),
        lambda read: masked_or_kept(read, count=2, mask_rate=0.7, random_rate=0.2, num_tokens=V),
        lambda read: num_hidden(read) <= 2,
    ),
    "masked one by one": Noise(
        5, range(5, 6), lambda read: masked_one_by_one(read, num_tokens=V), lambda read: num_hidden(read) == 2
    ),
    "deleted": Noise(
        6, range(4, 5), lambda read: deleted(read, length=6, num_tokens=V), lambda read: num_hidden(read) == 0
    ),
    "rotated": Noise(
        5, range(5, 6), lambda read: rotated(read, rate=0.3, num_tokens=V), lambda read: num_hidden(read) == 0
    ),
    "infilled": Noise(
        6,
        range(4, 7),
        lambda read: infilled(read, num_hidden=3, mean_span_length=1.5, num_tokens=V),
        lambda read: len(read) - num_hidden(read) == 3 and num_hidden(read) > 0,
    ),
    "spans of T5": Noise(7, range(6, 7), lambda read: spans_of_t5(read, num_noise=3, num_tokens=V), could_be_t5s),
}
every_noise = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)


def all_texts(length: int) -> np.ndarray:
    """int64[V^length, length]."""
    return np.array(list(itertools.product(range(V), repeat=length)))


def all_that_can_be_read(noise: Noise) -> list[np.ndarray]:
    reads = [
        np.array(read)
        for length in noise.read_lengths
        for read in itertools.product((HIDDEN, *range(V)), repeat=length)
    ]
    return [read for read in reads if noise.is_possible(read)]


# --- the chain ---


def test_all_texts_of_a_length_together_are_certain() -> None:
    for previous in (None, 0, 2):
        likely = [CHAIN.log_probability(text, previous=previous) for text in all_texts(5)]
        assert np.exp(likely).sum() == pytest.approx(1, abs=1e-12)


def test_the_first_token_is_as_frequent_as_any_other() -> None:
    np.testing.assert_allclose(CHAIN.stationary_V @ CHAIN.transition_VV, CHAIN.stationary_V, rtol=1e-12)


def test_texts_are_drawn_as_often_as_they_are_likely() -> None:
    """Every tenth pair of a long text: neighbours depend on each other, pairs ten apart hardly do."""
    text = CHAIN.sample(300_000, np.random.default_rng(1))
    pairs = Counter(zip(text[:-1:10].tolist(), text[1::10].tolist(), strict=True))
    likely = CHAIN.stationary_V[:, None] * CHAIN.transition_VV
    counts = [pairs[pair] for pair in itertools.product(range(V), range(V))]
    assert_distributed(counts, likely.ravel())


# --- what is behind what is read ---


@every_noise
def test_whatever_the_text_something_is_read(noise: Noise) -> None:
    """The probabilities of all that can be read of a text sum to 1."""
    for text in (np.arange(noise.length) % V, np.zeros(noise.length, dtype=int), np.array([0, 0, 1, 2, 2, 1, 1])):
        total = sum(noise.ways(read).given(text[: noise.length]).sum() for read in all_that_can_be_read(noise))
        assert total == pytest.approx(1, abs=1e-12)


@every_noise
def test_the_posterior_is_that_of_all_texts_weighed_one_by_one(noise: Noise) -> None:
    """Forward-backward against a sum over every text there is."""
    texts = all_texts(noise.length)
    prior = np.exp([CHAIN.log_probability(text) for text in texts])
    reads = all_that_can_be_read(noise)
    for number in np.random.default_rng(0).choice(len(reads), size=12, replace=False):
        ways = noise.ways(reads[number])
        joint = prior[:, None] * np.array([ways.given(text) for text in texts])  # [texts, P]
        np.testing.assert_allclose(CHAIN.evidence(ways), joint.sum(axis=0), rtol=1e-12)
        targets_WV = np.zeros((noise.length, V))
        for place, token in np.ndindex(targets_WV.shape):
            targets_WV[place, token] = joint[texts[:, place] == token][:, ways.targets_PW[:, place]].sum()
        is_target = ways.targets_PW.any(axis=0)
        expected_WV = targets_WV[is_target] / targets_WV[is_target].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(CHAIN.marginals(ways)[is_target], expected_WV, rtol=1e-12)
        for index in np.flatnonzero(joint.sum(axis=1))[:5]:
            whole = np.log(joint[index].sum() / joint.sum())
            assert CHAIN.log_posterior(ways, texts[index]) == pytest.approx(whole, rel=1e-12)
            way = int(joint[index].argmax())
            same = (ways.targets_PW == ways.targets_PW[way]).all(axis=1)
            found = CHAIN.log_posterior(ways, texts[index], hidden_W=ways.targets_PW[way])
            assert found == pytest.approx(np.log(joint[index, same].sum() / joint.sum()), rel=1e-12)


# --- the ways are those of the objectives ---


def windows_of(text: list[int]) -> Windows:
    start = np.zeros(1, dtype=np.int64)
    tokens = NUM_SPECIAL + np.array(text, dtype=np.uint32)
    store = TokensInMemory(tokens=tokens, sentence_starts=start, document_starts=start)
    return Windows(store, length=len(text), end_token=optimum.VOCABULARY.eos)


Outcome = tuple[tuple[int, ...], tuple[bool, ...]]  # what is read, and where labels stand


def outcome(read: np.ndarray, targets: np.ndarray) -> Outcome:
    return tuple(read.tolist()), tuple(targets.tolist())


def expected_of(noise: Noise, text: np.ndarray, *, with_targets: bool) -> dict[Outcome, float]:
    """The probability of each outcome; where nothing is asked for, of what is read alone."""
    likely: defaultdict[Outcome, float] = defaultdict(float)
    for read in all_that_can_be_read(noise):
        ways = noise.ways(read)
        for probability, targets in zip(ways.given(text), ways.targets_PW, strict=True):
            likely[outcome(read, targets if with_targets else np.zeros(0, dtype=bool))] += float(probability)
    return {which: probability for which, probability in likely.items() if probability > 0}


def seen(objective: Objective, window: Window, example: Example) -> Outcome:
    assert example.encoder_ids is not None
    if isinstance(objective, MaskedLM):
        return outcome(optimum.tokens_of(example.encoder_ids[1:-1]), example.labels["masked"][1:-1] != IGNORE)
    if isinstance(objective, SpanCorruption):
        return outcome(optimum.tokens_of(example.encoder_ids[:-1]), optimum.hidden_by_spans(window, example))
    return outcome(optimum.tokens_of(example.encoder_ids[1:-1]), np.zeros(0, dtype=bool))


def only(**noise: Any) -> Denoising:
    return made(Denoising, **{"permute_rate": 0.0, "infill_rate": 0.0, **noise})


REAL: dict[str, Objective] = {
    "masked or kept": made(MaskedLM, next_sentence=False, noise_density=0.3, mask_rate=0.7, random_rate=0.2),
    "masked one by one": only(mask_rate=0.4),
    "deleted": only(delete_rate=0.34),
    "rotated": only(rotate_rate=0.3),
    "infilled": only(infill_rate=0.5, mean_span_length=1.5),
    "spans of T5": made(SpanCorruption, noise_density=0.4, mean_span_length=2.0),
}


@pytest.mark.parametrize("name", NOISES)
def test_the_objectives_read_a_text_as_often_in_every_way_as_the_ways_say(name: str) -> None:
    """Chi-square of the real corruption against the exact probabilities; rare outcomes count as one."""
    noise, objective, draws = NOISES[name], REAL[name], 3000
    windows = windows_of([0, 1, 2, 2, 1, 0, 0][: noise.length])
    text = windows[0].tokens.astype(int) - NUM_SPECIAL
    corrupt = objective.corruption(make_vocabulary(NUM_SPECIAL + V))
    found = Counter(
        seen(objective, windows[0], corrupt(windows[0], generator(0, Purpose.NOISE, 0, draw), windows))
        for draw in range(draws)
    )
    likely = expected_of(noise, text, with_targets=isinstance(objective, MaskedLM | SpanCorruption))
    assert found.keys() <= likely.keys()
    common = [which for which, probability in likely.items() if probability * draws > 6]
    rest = 1 - sum(likely[which] for which in common)
    counts = [found[which] for which in common]
    if rest * draws > 6:
        counts, probabilities = [*counts, draws - sum(counts)], [*(likely[which] for which in common), rest]
    else:
        probabilities = [likely[which] / (1 - rest) for which in common]
    assert_distributed(counts, np.array(probabilities))


def test_the_counts_here_are_those_that_the_objectives_come_to() -> None:
    assert span_counts(7, 0.4, 2.0) == (3, 2)
