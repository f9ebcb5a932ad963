"""Denoising: BART (Lewis et al. 2020, 2.2; fairseq, data/denoising_dataset.py).

    window     Thank you for inviting me . It was last week .
    reads      <s> It was [MASK] . Thank you [MASK] me . </s>
    predicts   <s> Thank you for inviting me . It was last week . </s>

loss = sum of -log p(token | source, tokens before it) / number of tokens
"""

import math
from typing import Any, Literal

import numpy as np
from numpy.random import Generator

from common.ranges import check_ranges, positive
from data.stream.batch import NOWHERE, Example, MaxLengths
from data.stream.collate import documents_of
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective, SpecialTokenTemplate, check_between_0_and_1, check_share, check_spans_fit
from objectives.core.noise.masking import choose_tokens
from objectives.core.noise.rewriting import (
    NoisedTokens,
    insertion_places,
    overlapping_spans,
    permutation,
    poisson_lengths,
    rotate,
    separate_spans,
)
from objectives.core.noise.spans import shifted
from objectives.core.strategy import InferenceStrategy
from objectives.inference.rewrite import Rewrite

Sampler = Literal["exact", "fairseq"]


class Denoising(Objective):
    """The whole text is predicted from a noised copy of it.

    What differs from fairseq: sentences are those of the corpus, not what ends with "."; they are permuted within
    their document where a window holds several; by default, spans are separate and hide exactly `infill_rate` of the
    tokens, where fairseq's overlap and hide 27 % in place of 30 % (`sampler: fairseq`).

    Args:
        permute_rate: share of a document's sentences that change places.
        infill_rate: share of the tokens that are hidden in spans, each span replaced by one [MASK].
        mean_span_length: mean of the Poisson distribution of span lengths; one of length 0 inserts a [MASK].
        sampler: `exact` separates the spans and hides exactly that share; `fairseq` lets them overlap and hides less.
        mask_rate: share of the tokens that are replaced by [MASK] one by one.
        delete_rate: share of the tokens that are deleted.
        rotate_rate: share of the windows that are rotated to begin at a random token.
        random_rate: share of the [MASK]s that are replaced by random tokens.
        shared: what every objective takes.
    """

    uses_encoder: bool = True
    uses_decoder: bool = True
    template: SpecialTokenTemplate = SpecialTokenTemplate(("bos",), ("eos",), decoder_start="eos")
    token_term: str = "token"
    at_unigram_entropy: str = (
        "A denoiser leaves it when its decoder has learned to copy what the encoder reads (docs/objectives)"
    )
    inference: InferenceStrategy = Rewrite()

    def __init__(
        self,
        *,
        permute_rate: float = 1.0,
        infill_rate: float = 0.3,
        mean_span_length: float = 3.0,
        sampler: Sampler = "exact",
        mask_rate: float = 0.0,
        delete_rate: float = 0.0,
        rotate_rate: float = 0.0,
        random_rate: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_share(permute_rate=permute_rate, rotate_rate=rotate_rate, random_rate=random_rate)
        for name, rate in {"infill_rate": infill_rate, "mask_rate": mask_rate, "delete_rate": delete_rate}.items():
            if rate:
                check_between_0_and_1(**{name: rate})
        check_ranges(
            "model.init_args.", {"mean_span_length": positive(1 << 22)}, {"mean_span_length": mean_span_length}
        )
        self.permute_rate, self.infill_rate, self.mean_span_length = permute_rate, infill_rate, mean_span_length
        self.sampler, self.mask_rate, self.delete_rate = sampler, mask_rate, delete_rate
        self.rotate_rate, self.random_rate = rotate_rate, random_rate

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """The encoder reads the noised window, the target is the original one, each between `<s>` and `</s>`."""
        source = self.noised(window, rng, vocabulary)
        labels = np.concatenate([[vocabulary.bos], window.tokens, [vocabulary.eos]]).astype(np.int64)
        origins = np.concatenate([[NOWHERE], np.arange(len(window)), [NOWHERE]])
        documents = documents_of(window, origins) if self.keep_documents_apart else None
        return Example(
            encoder_ids=np.concatenate([[vocabulary.bos], source.tokens, [vocabulary.eos]]),
            encoder_origins=np.concatenate([[NOWHERE], source.origins, [NOWHERE]]),
            decoder_ids=shifted(labels, vocabulary.eos, documents),
            decoder_origins=origins,
            order=source.order,
            labels={self.token_term: labels},
            token_term=self.token_term,
        )

    def noised(self, window: Window, rng: Generator, vocabulary: Vocabulary) -> NoisedTokens:
        """The window under all noises in a fixed order, never longer than the window. A rate of 0 skips its noise."""
        source, mask = NoisedTokens(window.tokens), vocabulary.mask
        if self.permute_rate:
            source.permute(permutation(window, self.permute_rate, vocabulary.eos, rng))
        if self.infill_rate:
            exact = self.sampler == "exact"
            hidden, place = (round, separate_spans) if exact else (math.ceil, overlapping_spans)
            lengths, insertions = poisson_lengths(hidden(self.infill_rate * len(source)), self.mean_span_length, rng)
            source.infill(*place(len(source), lengths, rng), mask)
            insertions = min(insertions, len(window) - len(source))
            source.insert(insertion_places(len(source), insertions, rng), mask)
        if self.mask_rate:
            source.tokens[choose_tokens(source.tokens != mask, round(self.mask_rate * len(source)), rng)] = mask
        if self.delete_rate:
            deleted = choose_tokens(source.tokens != mask, round(self.delete_rate * len(source)), rng)
            source.take(np.flatnonzero(~deleted))
        if rng.random() < self.rotate_rate:
            source.take(rotate(len(source), rng, like_fairseq=self.sampler == "fairseq"))
        if self.random_rate:
            source.randomise(mask, self.random_rate, vocabulary.ordinary, rng)
        return source

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=window + 2, decoder=window + 2, targets=window + 2)

    def check_window(self, window: int) -> None:
        if self.infill_rate:
            check_spans_fit(self.mean_span_length, window)

    def nominal_rates(self, window: int) -> dict[str, float]:
        hidden = 1 - (1 - self.infill_rate) * (1 - self.mask_rate) * (1 - self.delete_rate)
        spans = {"mean span length": self.mean_span_length, "spans of length 0": math.exp(-self.mean_span_length)}
        only_infilled = self.infill_rate and not self.mask_rate and not self.delete_rate
        return {"tokens hidden": hidden, **(spans if only_infilled else {}), **super().nominal_rates(window)}
