"""The least loss that any model can have on an example, by what it may see: exact, on text of a Markov chain.

Of one example it is minus the logarithm of the exact posterior of all its labels, in nats; the mean over many examples
is the floor under the objective's loss.
"""

from collections.abc import Callable

import numpy as np

from data.stream.batch import IGNORE, Example
from data.stream.windows import TokensInMemory, Window, Windows
from objectives.core.noise.masking import budget
from objectives.core.noise.spans import span_counts
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.helpers import NUM_SPECIAL, make_vocabulary
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

NUM_TOKENS = 16
VOCABULARY = make_vocabulary(NUM_SPECIAL + NUM_TOKENS)

Optimum = Callable[[MarkovChain, Window, Example], float]  # nats, of all labels of the example together


def windows_of(chain: MarkovChain, number: int, *, length: int, seed: int) -> Windows:
    """Windows of one long text."""
    tokens = NUM_SPECIAL + chain.sample(number * length, np.random.default_rng(seed))
    start = np.zeros(1, dtype=np.int64)
    text = TokensInMemory(tokens=tokens.astype(np.uint32), sentence_starts=start, document_starts=start)
    return Windows(text, length=length, end_token=VOCABULARY.eos)


def tokens_of(ids: np.ndarray) -> np.ndarray:
    """int64[length], ids as the chain counts its tokens; HIDDEN where an id stands for none."""
    return np.where(ids >= NUM_SPECIAL, ids.astype(np.int64) - NUM_SPECIAL, HIDDEN)


def ways_of_masked_lm(objective: MaskedLM, example: Example, num_tokens: int = NUM_TOKENS) -> Ways:
    """Of a window between [CLS] and [SEP]."""
    assert example.encoder_ids is not None
    assert not objective.next_sentence
    assert objective.unit == "token"
    return masked_or_kept(
        tokens_of(example.encoder_ids[1:-1]),
        count=budget(len(example.encoder_ids), objective.noise_density),
        mask_rate=objective.mask_rate,
        random_rate=objective.random_rate,
        num_tokens=num_tokens,
    )


def ways_of_denoising(objective: Denoising, example: Example, num_tokens: int = NUM_TOKENS) -> Ways:
    """Of a window between `<s>` and `</s>` under one noise."""
    assert example.encoder_ids is not None
    rates = (
        objective.permute_rate,
        objective.infill_rate,
        objective.mask_rate,
        objective.delete_rate,
        objective.rotate_rate,
    )
    assert sum(rate > 0 for rate in rates) == 1, "one noise at a time"
    assert objective.sampler == "exact"
    assert not objective.random_rate
    read, length = tokens_of(example.encoder_ids[1:-1]), len(example.labels["token"]) - 2
    if objective.infill_rate:
        total, mean = round(objective.infill_rate * length), objective.mean_span_length
        return infilled(read, num_hidden=total, mean_span_length=mean, num_tokens=num_tokens)
    if objective.mask_rate:
        return masked_one_by_one(read, num_tokens=num_tokens)
    if objective.delete_rate:
        return deleted(read, length=length, num_tokens=num_tokens)
    assert objective.rotate_rate
    return rotated(read, rate=objective.rotate_rate, num_tokens=num_tokens)


def ways_of_span_corruption(
    objective: SpanCorruption, window: Window, example: Example, num_tokens: int = NUM_TOKENS
) -> Ways:
    """Of a window before EOS."""
    assert example.encoder_ids is not None
    assert not objective.roll
    num_noise, _ = span_counts(len(window), objective.noise_density, objective.mean_span_length)
    return spans_of_t5(tokens_of(example.encoder_ids[:-1]), num_noise=num_noise, num_tokens=num_tokens)


def hidden_by_spans(window: Window, example: Example) -> np.ndarray:
    """bool[window], the places that span corruption asks for."""
    assert example.decoder_origins is not None
    is_text = tokens_of(example.labels["span"]) != HIDDEN
    return np.isin(np.arange(len(window)), example.decoder_origins[is_text])


def of_masked_lm(objective: MaskedLM) -> Optimum:
    """Each label for itself, from both sides, whatever a place shows: a mask, the token, or a random one."""

    def nats(chain: MarkovChain, window: Window, example: Example) -> float:
        targets = np.flatnonzero(example.labels["masked"][1:-1] != IGNORE)
        likely_WV = chain.marginals(ways_of_masked_lm(objective, example))
        return -float(np.log(likely_WV[targets, tokens_of(window.tokens)[targets]]).sum())

    return nats


def of_masked_diffusion() -> Optimum:
    """Each hidden token for itself, from all that is visible, the token before the window among it."""

    def nats(chain: MarkovChain, window: Window, example: Example) -> float:
        assert example.encoder_ids is not None
        read, hidden = tokens_of(example.encoder_ids), np.flatnonzero(example.labels["hidden"] != IGNORE)
        if not len(hidden):
            return 0.0
        likely_WV = chain.marginals(masked_one_by_one(read, num_tokens=NUM_TOKENS))
        return -float(np.log(likely_WV[hidden, tokens_of(window.tokens)[hidden - 1]]).sum())

    return nats


def of_causal_lm() -> Optimum:
    """The chain's own entropy."""

    def nats(chain: MarkovChain, window: Window, _example: Example) -> float:
        previous = int(tokens_of(np.array([window.previous]))[0])
        known = None if previous == HIDDEN else previous
        return -chain.log_probability(tokens_of(window.tokens), previous=known)

    return nats


def of_denoising(objective: Denoising) -> Optimum:
    """The whole text; `<s>` and `</s>` are certain in windows of one length."""

    def nats(chain: MarkovChain, window: Window, example: Example) -> float:
        return -chain.log_posterior(ways_of_denoising(objective, example), tokens_of(window.tokens))

    return nats


def of_span_corruption(objective: SpanCorruption) -> Optimum:
    """The hidden tokens, and the sentinels between them, which say how long each span is."""

    def nats(chain: MarkovChain, window: Window, example: Example) -> float:
        ways, hidden_W = ways_of_span_corruption(objective, window, example), hidden_by_spans(window, example)
        return -chain.log_posterior(ways, tokens_of(window.tokens), hidden_W=hidden_W)

    return nats
