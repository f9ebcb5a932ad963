"""The dual objective: next tokens, left to right and from both sides (Samuel & Charpentier 2025, 2512.14549; GPT-BERT).

    window     Thank you for inviting me to your party last week .
    reads      </s> Thank you for inviting me to your party last week           each position sees those before it, or
               </s> Thank [MASK] for [MASK] me to your [MASK] last week .       all of them
    predicts   Thank you for inviting me to your party last week .              or
                     you     inviting           party

loss = a · sum of -log p(token | all before it) / number of tokens
     + (1-a) · sum of -w(t) log p(hidden token | all that is visible) / number of tokens, hidden or not
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator

from data.stream.batch import IGNORE, Batch, Example, MaxLengths
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective, SpecialTokenTemplate, check_share
from objectives.core.network import Network, at_labels
from objectives.core.predictions import Prediction
from objectives.masked_diffusion import Estimator, MaskedDiffusion, NoiseSchedule
from objectives.mixtures.by_member import ByMember, as_member
from objectives.mixtures.mixture import drawn


class Dual(Objective):
    """One decoder predicts the next position twice over: as a causal LM, or as masked diffusion that sees both sides.

    Which of the two has a window is drawn by its key, with probability `causal_share`, whatever the devices; each
    corrupts it as in a run of its own, and a batch holds both. Their means are taken apart and then weighted, since a
    mean over all tokens would count the weights of diffusion as tokens. A share of 1 is a causal LM, one of 0 masked
    diffusion with `predicts: next`, bit for bit.

    Args:
        causal_share: a, the share of the windows, and the weight, of the causal LM. With R repetitions of the text,
            nearly 1 up to R = 16, and about 16 / R from R = 32 on (Samuel & Charpentier 2025).
        schedule, estimator: of the masked diffusion.
        draws: noise levels for the diffusion's likelihood of a text.
        shared: what every objective takes.
    """

    uses_encoder: bool = False
    uses_decoder: bool = True
    template: SpecialTokenTemplate = SpecialTokenTemplate(before=("eos",))  # it ends the document before

    def __init__(
        self,
        *,
        causal_share: float = 0.5,
        schedule: NoiseSchedule = "linear",
        estimator: Estimator = "bound",
        draws: int = 128,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_share(causal_share=causal_share)
        common = {"z_loss": self.cross_entropy.z_loss, "keep_documents_apart": self.keep_documents_apart}
        causal = CausalLM(**common)
        hidden = MaskedDiffusion(schedule=schedule, estimator=estimator, predicts="next", draws=draws, **common)
        shares = {causal: causal_share, hidden: 1 - causal_share}
        self.members = {one.token_term: one for one, share in shares.items() if share}
        self.shares = np.array([share for share in shares.values() if share])
        self.token_term = next(iter(self.members))
        pure = next(iter(self.members.values())).decoder_attention
        self.decoder_attention = "either" if len(self.members) > 1 else pure
        ways = [(as_member(one, token_term=self.token_term), None) for one in self.members.values()]
        self.inference = ByMember(ways[::-1])

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """What the window's own objective makes of it, with no label of the other."""
        number = drawn(self.shares, rng)
        own = list(self.members)[number]
        example = self.members[own].corrupt(window, rng, windows, vocabulary=vocabulary)
        others = [term for term in self.members if term != own]
        labels = {term: example.labels[own] if term == own else _none(example.labels[own]) for term in self.members}
        return replace(
            example,
            labels=labels,
            token_term=self.token_term,
            divisors={**example.divisors, **dict.fromkeys(others, 0.0)},
            measures={**example.measures, "causal share": float(own == "next_token")},
        )

    def max_lengths(self, window: int) -> MaxLengths:
        lengths = np.array([one.max_lengths(window) for one in self.members.values()]).max(axis=0)
        return MaxLengths(*lengths.tolist())

    def nominal_rates(self, window: int) -> dict[str, float]:
        share = float(self.shares[0]) if "next_token" in self.members else 0.0
        return {"causal share": share}

    # --- examples to loss terms ---

    def predictions(self, network: Network, batch: Batch) -> dict[str, Prediction]:
        """Of both objectives, from one pass; each with its share as weight."""
        states = network.states(batch)
        return {
            term: Prediction(
                at_labels(states, batch.labels[term]),
                network.body.logits,
                batch.labels[term],
                loss=self.cross_entropy,
                weight=float(share),
            )
            for term, share in zip(self.members, self.shares, strict=True)
        }

    @property
    def likelihood_term(self) -> str | None:
        return "next_token" if "next_token" in self.members else None

    def validation_weight(self, term: str) -> float:
        return float(self.shares[list(self.members).index(term)])

    def mean_lengths(self, windows: Windows, vocabulary: Vocabulary) -> tuple[float, float, float]:
        """With the targets of both."""
        encoder, decoder, _ = super().mean_lengths(windows, vocabulary)
        examples = self._first_examples(windows, vocabulary)
        return encoder, decoder, float(np.mean([_labelled(example) for example in examples]))


def _none(labels: np.ndarray) -> np.ndarray:
    return np.full_like(labels, IGNORE)


def _labelled(example: Example) -> int:
    return sum(int((labels != IGNORE).sum()) for labels in example.labels.values())
