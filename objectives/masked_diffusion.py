"""Masked diffusion: MDLM (Sahoo et al. 2024, 3.2-3.3) and LLaDA (Nie et al. 2025, 2 and A).

    window     Thank you for inviting me to your party last week .      at noise level t = 0.4
    reads      </s> Thank [MASK] for inviting [MASK] to [MASK] party last [MASK] .
    predicts              you                 me        your             week

loss = sum of -w(t) log p(hidden token | all that is visible) / number of tokens, hidden or not
"""

import math
from dataclasses import replace
from typing import Any, Literal

from numpy.random import Generator

from common.ranges import check_ranges, count
from data.stream.batch import Example, MaxLengths
from data.stream.order import epoch_stream
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective, SpecialTokenTemplate
from objectives.core.noise.hiding import with_hidden
from objectives.inference.unmask import Unmask

GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, modulo 1, fill [0, 1) evenly however many there are
EPSILON = 1e-3  # the least rate at which tokens are hidden (LLaDA), or the least t (MDLM)
LEVELS = 1  # the stream of random numbers that times are shifted by
NoiseSchedule = Literal["linear", "cosine"]
Estimator = Literal["bound", "mdlm"]


def hidden_share(t: float, schedule: NoiseSchedule) -> float:
    """q(t), the share of the tokens that is hidden at time t, from 0 at t = 0 to 1 at t = 1."""
    return t if schedule == "linear" else 1 - math.cos(t * math.pi / 2)


def slope(t: float, schedule: NoiseSchedule) -> float:
    """q'(t)."""
    return 1.0 if schedule == "linear" else math.sin(t * math.pi / 2) * math.pi / 2


def rate_and_weight(u: float, schedule: NoiseSchedule, estimator: Estimator) -> tuple[float, float]:
    """The probability with which each token is hidden, and the weight of the losses there, at a time u in [0, 1).

    The exact weight of a schedule is q'(t) / q(t). `bound` (LLaDA) hides with p = (1-e) q(t) + e and weights by
    q'(t) / p: the mean lies above the negative log-likelihood. `mdlm` hides with (1-e) q(t) and weights by
    q'(t) / q(t), for t in [e, 1]: the mean lies 0.1 % lower, and is no bound.
    """
    if estimator == "bound":
        rate = (1 - EPSILON) * hidden_share(u, schedule) + EPSILON
        return rate, slope(u, schedule) / rate
    t = (1 - EPSILON) * u + EPSILON
    share = hidden_share(t, schedule)
    return (1 - EPSILON) * share, slope(t, schedule) / share


class MaskedDiffusion(Objective):
    """Each token is hidden with the probability of a random noise level, and predicted from all that is visible.

    The mean loss is an upper bound of the negative log-likelihood of the window, given the token before it: on one axis
    with a causal LM's. That token is always visible; EOS within the window is text, and may be hidden. Times are
    stratified over the windows of an epoch (an even sequence over their numbers, shifted by a random number for the
    epoch), so that they depend on neither batch nor order.

    What differs from MDLM and LLaDA: MDLM stratifies times over a batch, LLaDA draws them; MDLM gives [MASK] no
    probability, here its logit is one among all, as LLaDA's; LLaDA cuts one batch in a hundred to a random length.

    Args:
        schedule: `linear` hides the share t of the tokens at time t, `cosine` 1 - cos(t pi/2), which trains more on few
            hidden ones.
        estimator: `bound` never estimates below the negative log-likelihood (LLaDA); `mdlm` does, by 0.1 % (MDLM).
        predicts: `same`, at the position of the hidden token, on an encoder; `next`, at the position before it, on a
            decoder that looks to both sides, as a causal LM predicts.
        draws: noise levels that the likelihood of a text is estimated from when it is scored.
        shared: what every objective takes.
    """

    token_term: str = "hidden"
    template: SpecialTokenTemplate = SpecialTokenTemplate(before=("eos",))  # it ends the document before

    def __init__(
        self,
        *,
        schedule: NoiseSchedule = "linear",
        estimator: Estimator = "bound",
        predicts: Literal["same", "next"] = "same",
        draws: int = 128,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_ranges("model.init_args.", {"draws": count(10**6)}, {"draws": draws})
        self.schedule: NoiseSchedule = schedule
        self.estimator: Estimator = estimator
        self.is_shifted = predicts == "next"
        self.uses_encoder, self.uses_decoder = not self.is_shifted, self.is_shifted
        self.decoder_attention = "bidirectional"
        self.inference = Unmask(draws=draws, is_shifted=self.is_shifted)

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """Tokens hidden at the window's noise level."""
        shift = epoch_stream(rng, LEVELS).random()
        u = (window.index * GOLDEN + shift) % 1
        rate, weight = rate_and_weight(u, self.schedule, self.estimator)
        example = with_hidden(
            window,
            rng.random(len(window)) < rate,
            weight=weight,
            mask=vocabulary.mask,
            term=self.token_term,
            is_shifted=self.is_shifted,
        )
        return replace(example, measures={"noise level": rate})

    def max_lengths(self, window: int) -> MaxLengths:
        length = window + 1
        return MaxLengths(encoder=length * self.uses_encoder, decoder=length * self.uses_decoder, targets=window)

    def nominal_rates(self, window: int) -> dict[str, float]:
        share = 0.5 if self.schedule == "linear" else 1 - 2 / math.pi
        level = (1 - EPSILON) * share + EPSILON * (self.estimator == "bound")
        return {"noise level": level, "targets per raw token": level}
