"""How the next token is chosen from its logits.

Shapes: B rows, T previous tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from common.ranges import SEED, Range, check_ranges, count, positive

RANGES = {
    "max_new_tokens": count(1 << 24),
    "temperature": Range(0, 1e4),
    "top_k": count(1 << 24),
    "top_p": Range(0, 1, low_open=True),
    "repetition_penalty": positive(1e4),
    "beams": count(1024),
    "length_penalty": Range(-1000, 1000),
    "seed": SEED,
    "steps": count(1 << 24),
}


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the next token is chosen; greedily by default.

    Args:
        max_new_tokens: the most tokens generated, fewer where EOS comes; by default as many as there are positions.
        temperature: 0 takes the likeliest token; above that, tokens are drawn, from logits divided by it.
        top_k: draws from that many likeliest tokens.
        top_p: draws from the fewest likeliest tokens that hold this share of the probability (Holtzman et al. 2020).
        repetition_penalty: divides the positive logits of tokens that stand before, multiplies the negative ones
            (Keskar et al. 2019, 4.1).
        beams: hypotheses that are followed; above 1, the best of them by log-probability / length ** length_penalty.
        length_penalty: above 0 favours longer texts, below 0 shorter ones.
        seed: decides what is drawn, for each prompt by its number.
        steps: of masked diffusion: passes in which the masks of a text are filled, as many in each; by default one mask
            a pass.
        order: of masked diffusion: `confidence` fills those first whose tokens are the likeliest, and is the default;
            `random` draws the places, so that texts follow the model's own distribution.

    Raises:
        UserError: where a value is impossible, or values contradict each other.
    """

    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    beams: int = 1
    length_penalty: float = 1.0
    seed: int = 0
    steps: int | None = None
    order: Literal["confidence", "random"] | None = None

    def __post_init__(self) -> None:
        check_ranges("", RANGES, vars(self))
        if self.beams > 1 and self.temperature:
            raise UserError(f"beams = {self.beams} with temperature = {self.temperature}: beam search draws nothing")
        if not self.temperature and (self.top_k is not None or self.top_p < 1):
            raise UserError("top_k and top_p need a temperature above 0: at 0 the likeliest token is taken")


def penalised(scores_BV: Tensor, previous_BT: Tensor, penalty: float) -> Tensor:
    """Scores with the repetition penalty applied to the tokens of `previous_BT`."""
    if penalty == 1:
        return scores_BV
    before_BT = scores_BV.gather(1, previous_BT)
    return scores_BV.scatter(1, previous_BT, torch.where(before_BT < 0, before_BT * penalty, before_BT / penalty))


def without(scores_BV: Tensor, never: Sequence[int] | np.ndarray) -> Tensor:
    """Scores in which ids that must not be generated have -inf."""
    if not len(never):
        return scores_BV
    return scores_BV.index_fill(1, torch.as_tensor(np.asarray(never), device=scores_BV.device), -torch.inf)


def candidates(logits_BV: Tensor, decoding: Decoding) -> Tensor:
    """[B, V], probabilities of what may be drawn; 0 for all that top_k and top_p leave out."""
    logits_BV = logits_BV / decoding.temperature
    if decoding.top_k is not None:
        least_B1 = logits_BV.topk(min(decoding.top_k, logits_BV.shape[1])).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < least_B1, -torch.inf)
    probabilities_BV = logits_BV.softmax(dim=-1)
    if decoding.top_p < 1:
        falling_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True)
        held_before_BV = falling_BV.cumsum(dim=-1) - falling_BV
        falling_BV = falling_BV.masked_fill(held_before_BV >= decoding.top_p, 0)
        probabilities_BV = torch.zeros_like(probabilities_BV).scatter(1, order_BV, falling_BV)
        probabilities_BV = probabilities_BV / probabilities_BV.sum(dim=-1, keepdim=True)
    return probabilities_BV


def draw(probabilities_BV: Tensor, chances_B: Tensor) -> Tensor:
    """int64[B], the token at which each row's probabilities, summed up, exceed a number in [0, 1).

    Summed in float64 on the CPU, which every machine has; a parallel sum in float32 need not even rise.
    """
    sums_BV = probabilities_BV.cpu().double().cumsum(dim=-1)
    limits_B1 = chances_B.cpu().double()[:, None] * sums_BV[:, -1:]
    return torch.searchsorted(sums_BV, limits_B1, right=True)[:, 0].to(probabilities_BV.device)
