"""Span corruption: T5 (Raffel et al. 2020, 3.1.4 and 3.3.4; t5/data/preprocessors.py, denoise).

    window     Thank you for inviting me to your party last week .
    reads      Thank you <extra_id_0> me to your party <extra_id_1> week . </s>
    predicts   <extra_id_0> for inviting <extra_id_1> last <extra_id_2> </s>

loss = sum of -log p(target token | source, targets before it) / number of target tokens
"""

from typing import Any

import numpy as np
from numpy.random import Generator

from common.errors import UserError
from common.ranges import Range, check_ranges
from data.stream.batch import NOWHERE, Example, MaxLengths
from data.stream.collate import documents_of
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import NUM_SENTINELS, Vocabulary
from objectives.core.base import Objective, SpecialTokenTemplate, check_between_0_and_1, check_spans_fit
from objectives.core.noise.spans import cut_runs, ended, inputs_and_targets, random_spans, shifted, span_counts
from objectives.core.strategy import InferenceStrategy
from objectives.inference.fill_spans import FillSpans


class SpanCorruption(Objective):
    """Spans of the text are replaced by sentinels, and predicted, each after its sentinel.

    What differs from Raffel et al.: EOS separates documents where `data.end_of_document` is set (T5 joins them
    without); a window of one token hides nothing.

    Args:
        noise_density: share of the tokens that are hidden.
        mean_span_length: mean length of a hidden span.
        roll: whether the mask is rotated by a random offset, so that every place is hidden equally often; the mask of
            the reference never hides the first token and always the last.
        shared: what every objective takes.
    """

    uses_encoder: bool = True
    uses_decoder: bool = True
    template: SpecialTokenTemplate = SpecialTokenTemplate(behind=("eos",), decoder_start="pad")
    token_term: str = "span"
    at_unigram_entropy: str = (
        "Sentinels, a third of the labels, are learned soon: the tokens of the text rest here until the decoder finds "
        "the places in the encoder that sentinels stand for (docs/objectives)"
    )
    inference: InferenceStrategy = FillSpans()

    def __init__(
        self, *, noise_density: float = 0.15, mean_span_length: float = 3.0, roll: bool = False, **shared: Any
    ) -> None:
        super().__init__(**shared)
        check_between_0_and_1(noise_density=noise_density)
        check_ranges(
            "model.init_args.", {"mean_span_length": Range(1, 1 << 22)}, {"mean_span_length": mean_span_length}
        )
        self.noise_density, self.mean_span_length, self.roll = noise_density, mean_span_length, roll

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """The encoder reads sentinels in place of spans; the targets are each sentinel with its span; EOS ends both."""
        length, apart = len(window), self.keep_documents_apart
        noise = random_spans(length, noise_density=self.noise_density, mean_span_length=self.mean_span_length, rng=rng)
        if self.roll:
            noise = np.roll(noise, int(rng.integers(length)))
        starts, ends = cut_runs(noise, window.document_starts if apart else np.zeros(0, dtype=np.int64))
        num_sentinels = len(starts) + (ends[-1:] < length).sum()  # text behind the last span takes one more
        if num_sentinels > len(vocabulary.sentinels):  # only where documents cut spans; the rest stays text
            starts, ends = starts[: len(vocabulary.sentinels) - 1], ends[: len(vocabulary.sentinels) - 1]
        source, target = inputs_and_targets(window.tokens, starts, ends, vocabulary.sentinels)
        labels, origins = ended(target[0], vocabulary.eos), ended(target[1], NOWHERE)
        return Example(
            encoder_ids=ended(source[0], vocabulary.eos),
            encoder_origins=ended(source[1], NOWHERE),
            decoder_ids=shifted(labels, vocabulary.pad, documents_of(window, origins) if apart else None),
            decoder_origins=origins,
            labels={self.token_term: labels},
            token_term=self.token_term,
        )

    def max_lengths(self, window: int) -> MaxLengths:
        num_noise, num_spans = span_counts(window, self.noise_density, self.mean_span_length)
        if self.keep_documents_apart:
            num_spans = num_noise  # documents of one token each would cut every span
        # A rotated mask may cut a span at the edge, or leave text after the last one, which takes a sentinel.
        edge = int(self.roll and num_noise > 0)
        encoder, decoder = window - num_noise + min(num_spans + edge, num_noise) + 1, num_noise + num_spans + edge + 1
        return MaxLengths(encoder=encoder, decoder=decoder, targets=decoder)

    def check_window(self, window: int) -> None:
        check_spans_fit(self.mean_span_length, window)
        needed = span_counts(window, self.noise_density, self.mean_span_length)[1] + self.roll
        if needed > NUM_SENTINELS:
            raise UserError(
                f"data.window = {window} with noise_density = {self.noise_density} and mean_span_length = "
                f"{self.mean_span_length} makes {needed} spans, each with a sentinel of its own, and the vocabulary "
                f"has {NUM_SENTINELS}: raise model.init_args.mean_span_length, or lower noise_density or data.window"
            )

    def nominal_rates(self, window: int) -> dict[str, float]:
        num_targets = sum(span_counts(window, self.noise_density, self.mean_span_length)) + 1
        rates = {"tokens hidden": self.noise_density, "mean span length": self.mean_span_length}
        return {**rates, "targets per raw token": num_targets / window}
