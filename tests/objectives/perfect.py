"""All texts of a small Markov source, and what a perfect predictor of hidden tokens loses on them."""

import itertools
import math
from typing import Any

import numpy as np

from objectives.masked_diffusion import rate_and_weight
from tests.objectives.floors.markov import MarkovChain

V, L = 3, 4
CHAIN = MarkovChain.random(V, seed=1)
TEXTS = np.array(list(itertools.product(range(V), repeat=L)))
LIKELY = np.exp([CHAIN.log_probability(text) for text in TEXTS])
ENTROPY = -float((LIKELY * np.log(LIKELY)).sum())
TIMES = (np.arange(4000) + 0.5) / 4000


def posterior(visible: dict[int, int], place: int) -> np.ndarray:
    """float64[V], p(token of a place | the visible ones), by summing over all texts."""
    fits = np.all([TEXTS[:, at] == token for at, token in visible.items()] or [np.ones(len(TEXTS))], axis=0)
    found = np.array([LIKELY[fits.astype(bool) & (TEXTS[:, place] == token)].sum() for token in range(V)])
    return found / found.sum()


def loss_of_hidden(hidden: tuple[bool, ...]) -> float:
    """Mean over all texts of the summed losses of a perfect predictor where these places are hidden."""
    total = 0.0
    for text, likely in zip(TEXTS, LIKELY, strict=True):
        visible = {place: int(text[place]) for place in range(L) if not hidden[place]}
        for place in np.flatnonzero(hidden):
            total -= likely * math.log(posterior(visible, int(place))[text[place]])
    return total


PATTERNS = list(itertools.product([False, True], repeat=L))
LOSSES = {hidden: loss_of_hidden(hidden) for hidden in PATTERNS}


def expected_loss(**knobs: Any) -> float:
    """The mean loss of a text under a perfect predictor, over the times and all patterns."""
    total = 0.0
    for u in TIMES:
        rate, weight = rate_and_weight(u, knobs.get("schedule", "linear"), knobs.get("estimator", "bound"))
        for hidden, loss in LOSSES.items():
            count = sum(hidden)
            total += weight * rate**count * (1 - rate) ** (L - count) * loss / len(TIMES)
    return total
