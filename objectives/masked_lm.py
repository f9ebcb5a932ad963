"""Masked language modelling, and what two segments have to do with each other: BERT (Devlin et al. 2019, 3.1).

    window     Thank you for inviting me to your party last week .
    reads      [CLS] Thank you [MASK] inviting me [SEP] to [MASK] party last apple . [SEP]
    predicts                  for                         your            week
    and        whether the second segment follows the first in the text: it does

loss = sum of -log p(hidden token | all the rest) / number of hidden tokens
     + sum of -log p(follows or not | both segments) / number of pairs

With sentence order (ALBERT: Lan et al. 2020, 3.1) both segments stand in the text one behind the other, and change
places in half of the pairs; the label is whether they did.
"""

from typing import Any

import numpy as np
from numpy.random import Generator
from torch import Tensor, nn

from common.errors import UserError
from common.ranges import Range, check_ranges
from data.stream.batch import IGNORE, Batch, Example, MaxLengths
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from models.bodies.make import BodyConfig
from objectives.core.base import Objective, SpecialTokenTemplate, check_between_0_and_1, check_share
from objectives.core.network import Network, at_labels
from objectives.core.noise.masking import Unit, budget, choose, choose_rare, mask_keep_or_randomise
from objectives.core.predictions import Prediction
from objectives.core.segments import (
    SecondSegment,
    SegmentPairHead,
    Segments,
    check_pairs,
    ordered,
    pair,
    shortened,
    whole,
)
from objectives.core.strategy import InferenceStrategy
from objectives.inference.fill_masks import FillMasks


class MaskedLM(Objective):
    """Hidden tokens are predicted from both sides, and what became of two segments from the state of [CLS].

    What differs from Devlin et al.: masks are drawn anew in every epoch (RoBERTa); random tokens are never special
    ones; a segment pair is a window cut at a sentence, so that every token of the corpus is read once an epoch except
    those that a random segment replaces; a window that cannot be cut has no label, where BERT's is always "random".
    For sentence order a window of several documents is not cut either, so that both segments are of one; ALBERT's
    reference takes a random document for a missing second segment, and calls it swapped.

    Args:
        noise_density: share of the positions, special tokens included, that are hidden.
        unit: what is hidden: `token`; `word`, all pieces of a word or none (whole-word masking); `span`, words in a
            row (SpanBERT); `ngram`, one to three words (ALBERT). Words begin at white space, in Korean as well.
        mask_rate: share of the hidden tokens that are replaced by [MASK].
        random_rate: share of the hidden tokens that are replaced by random ones; the rest stay as they are.
        second_segment: `next_sentence` replaces half of the second segments by random ones; `sentence_order` swaps
            half of the pairs (ALBERT); with `none`, a window is one segment (RoBERTa).
        next_sentence: the same for two of the three: true is `next_sentence`, false `none`.
        smoothing: hides tokens one after another with weights max(count in the corpus, 1)^-smoothing, so that rare ones
            are hidden more often (XLM and DistilBERT: 0.7); with 0 all alike.
        short_rate: share of the windows of which only a beginning of random length is read, as BERT did with 0.1.
        shared: what every objective takes.
    """

    uses_encoder: bool = True
    uses_decoder: bool = False
    template: SpecialTokenTemplate = SpecialTokenTemplate(before=("cls",), behind=("sep",))
    token_term: str = "masked"
    at_unigram_entropy: str = "A masked LM may rest here for thousands of steps: that is normal (docs/objectives)"
    inference: InferenceStrategy = FillMasks()

    def __init__(
        self,
        *,
        noise_density: float = 0.15,
        unit: Unit = "token",
        mask_rate: float = 0.8,
        random_rate: float = 0.1,
        second_segment: SecondSegment = "next_sentence",
        next_sentence: bool | None = None,
        smoothing: float = 0.0,
        short_rate: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_between_0_and_1(noise_density=noise_density)
        check_share(mask_rate=mask_rate, random_rate=random_rate, short_rate=short_rate)
        check_share(**{"mask_rate + random_rate": round(mask_rate + random_rate, 9)})
        check_ranges("model.init_args.", {"smoothing": Range(0, 10)}, {"smoothing": smoothing})
        if smoothing and unit != "token":
            raise UserError(f"model.init_args.smoothing = {smoothing:g} is of single tokens, and unit = {unit}")
        if next_sentence is not None:
            if second_segment == "sentence_order":
                raise UserError(
                    f"model.init_args.next_sentence = {next_sentence} and second_segment = sentence_order: leave "
                    f"next_sentence out"
                )
            second_segment = "next_sentence" if next_sentence else "none"
        if second_segment == "next_sentence" and self.keep_documents_apart:
            raise UserError(
                "body.document_masking keeps a random segment from the one that it is compared with: set "
                "model.init_args.next_sentence to false, or document_masking to false"
            )
        self.noise_density = noise_density
        self.unit: Unit = unit
        self.mask_rate, self.random_rate, self.smoothing = mask_rate, random_rate, smoothing
        self.second_segment: SecondSegment = second_segment
        self.next_sentence, self.short_rate = second_segment == "next_sentence", short_rate

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """A window, or its beginning, as one segment or two, with some tokens hidden."""
        if self.short_rate and rng.random() < self.short_rate:
            window = shortened(window, rng)
        if self.second_segment == "none":
            segments = whole(window)
        elif self.next_sentence:
            segments = pair(window, rng, windows)
        else:
            segments = ordered(window, rng)
        return self.masked(segments, rng, vocabulary, windows.token_counts if self.smoothing else None)

    def masked(
        self, segments: Segments, rng: Generator, vocabulary: Vocabulary, counts: np.ndarray | None = None
    ) -> Example:
        """`[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, with `budget(length, noise_density)` tokens hidden.

        `counts` are those of the corpus's tokens, where rare ones are hidden more often.
        Special tokens are never hidden, nor drawn as random ones. By words, fewer may be hidden than the budget allows.
        """
        ids, origins, numbers = segments.encoded(cls=vocabulary.cls, sep=vocabulary.sep)
        candidates, starts = ~vocabulary.is_special[ids], vocabulary.word_starts(ids)
        number = budget(len(ids), self.noise_density)
        if counts is None:
            chosen, as_one = choose(self.unit, candidates, starts, number, rng)
        else:
            counts = np.pad(counts, (0, vocabulary.size))  # ids that the text lacks have none
            chosen, as_one = choose_rare(ids, candidates, number, counts, self.smoothing, rng), None
        noised = mask_keep_or_randomise(
            ids,
            chosen,
            mask=vocabulary.mask,
            pool=vocabulary.ordinary,
            mask_rate=self.mask_rate,
            random_rate=self.random_rate,
            rng=rng,
            as_one=as_one,
        )
        labels = {"masked": np.where(chosen, ids, IGNORE)}
        if self.second_segment != "none":
            labels[self.second_segment] = np.full(len(ids), IGNORE)
            labels[self.second_segment][0] = segments.label
        return Example(
            encoder_ids=noised,
            encoder_origins=origins,
            segments=numbers,
            labels=labels,
            token_term=self.token_term,
        )

    def max_lengths(self, window: int) -> MaxLengths:
        length = window + 2 + (self.second_segment != "none")
        return MaxLengths(encoder=length, decoder=0, targets=budget(length, self.noise_density))

    def nominal_rates(self, window: int) -> dict[str, float]:
        rates = {
            "positions hidden": self.noise_density,
            "of these [MASK]": self.mask_rate,
            "of these kept": 1 - self.mask_rate - self.random_rate,
            "of these random": self.random_rate,
        }
        names = {"next_sentence": "random segments", "sentence_order": "swapped segments"}
        segments = {names[self.second_segment]: 0.5} if self.second_segment != "none" else {}
        return {**rates, **segments, **super().nominal_rates(window)}

    def check_data(self, windows: Windows) -> None:
        """Raises UserError where the text allows no segment pair, or no random segment."""
        if self.second_segment != "none":
            check_pairs(windows, self.second_segment)

    def heads(self, config: BodyConfig) -> dict[str, nn.Module]:
        return {} if self.second_segment == "none" else {f"{self.second_segment}_head": SegmentPairHead(config.width)}

    def predictions(self, network: Network, batch: Batch) -> dict[str, Prediction]:
        states_BSD = network.states(batch)
        found = {"masked": self.predicted_tokens(network, states_BSD, batch)}
        if self.second_segment != "none":
            labels, head = batch.labels[self.second_segment], network.head(f"{self.second_segment}_head")
            states_ND = at_labels(states_BSD, labels)
            found[self.second_segment] = Prediction(states_ND, head, labels, loss=self.cross_entropy)
        return found

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        names = {"next_sentence": "random_segment_share", "sentence_order": "swapped_segment_share"}
        if self.second_segment == "none":
            return {}
        return {names[self.second_segment]: batch.labels[self.second_segment].ids_N}
