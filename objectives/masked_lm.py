"""Masked language modelling and next-sentence prediction: BERT (Devlin et al. 2019, 3.1).

    window     Thank you for inviting me to your party last week .
    reads      [CLS] Thank you [MASK] inviting me [SEP] to [MASK] party last apple . [SEP]
    predicts                  for                         your            week
    and        whether the second segment follows the first in the text: it does

loss = sum of -log p(hidden token | all the rest) / number of hidden tokens
     + sum of -log p(follows or not | both segments) / number of pairs
"""

from typing import Any

import numpy as np
from numpy.random import Generator
from torch import Tensor, nn

from common.errors import UserError
from data.store.tokenizer import Vocabulary
from data.stream.batch import IGNORE, Batch, Example, MaxLengths
from data.stream.windows import Window, Windows
from models.bodies.make import BodyConfig
from objectives.core.base import Objective, SpecialTokenTemplate, check_between_0_and_1, check_share
from objectives.core.network import Network, at_labels
from objectives.core.noise.masking import Unit, budget, choose, mask_keep_or_randomise
from objectives.core.predictions import Prediction
from objectives.core.segments import NextSentenceHead, Segments, check_pairs, pair, shortened, whole
from objectives.core.strategy import InferenceStrategy
from objectives.inference.fill_masks import FillMasks


class MaskedLM(Objective):
    """Hidden tokens are predicted from both sides, and whether two segments follow each other from the state of [CLS].

    What differs from Devlin et al.: masks are drawn anew in every epoch (RoBERTa); random tokens are never special
    ones; a segment pair is a window cut at a sentence, so that every token of the corpus is read once an epoch except
    those that a random segment replaces; a window that cannot be cut has no label, where BERT's is always "random".

    Args:
        noise_density: share of the positions, special tokens included, that are hidden.
        unit: what is hidden: `token`; `word`, all pieces of a word or none (whole-word masking); `span`, words in a
            row (SpanBERT).
        mask_rate: share of the hidden tokens that are replaced by [MASK].
        random_rate: share of the hidden tokens that are replaced by random ones; the rest stay as they are.
        next_sentence: whether segment pairs are classified; without, a window is one segment (RoBERTa).
        short_rate: share of the windows of which only a beginning of random length is read, as BERT did with 0.1.
        shared: what every objective takes.
    """

    uses_encoder: bool = True
    uses_decoder: bool = False
    template: SpecialTokenTemplate = SpecialTokenTemplate(before=("cls",), behind=("sep",))
    token_term: str = "masked"
    at_unigram_entropy: str = (
        "A masked LM may rest here for thousands of steps: that is normal (README, Expected curves)"
    )
    inference: InferenceStrategy = FillMasks()

    def __init__(
        self,
        *,
        noise_density: float = 0.15,
        unit: Unit = "token",
        mask_rate: float = 0.8,
        random_rate: float = 0.1,
        next_sentence: bool = True,
        short_rate: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_between_0_and_1(noise_density=noise_density)
        check_share(mask_rate=mask_rate, random_rate=random_rate, short_rate=short_rate)
        check_share(**{"mask_rate + random_rate": round(mask_rate + random_rate, 9)})
        if next_sentence and self.keep_documents_apart:
            raise UserError(
                "body.document_masking keeps a random segment from the one that it is compared with: set "
                "model.init_args.next_sentence to false, or document_masking to false"
            )
        self.noise_density = noise_density
        self.unit: Unit = unit
        self.mask_rate, self.random_rate = mask_rate, random_rate
        self.next_sentence, self.short_rate = next_sentence, short_rate

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """A window, or its beginning, as one segment or two, with some tokens hidden."""
        if self.short_rate and rng.random() < self.short_rate:
            window = shortened(window, rng)
        segments = pair(window, rng, windows) if self.next_sentence else whole(window)
        return self.masked(segments, rng, vocabulary)

    def masked(self, segments: Segments, rng: Generator, vocabulary: Vocabulary) -> Example:
        """`[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, with `budget(length, noise_density)` tokens hidden.

        Special tokens are never hidden, nor drawn as random ones. By words, fewer may be hidden than the budget allows.
        """
        ids, origins, numbers = segments.encoded(cls=vocabulary.cls, sep=vocabulary.sep)
        candidates, starts = ~vocabulary.is_special[ids], vocabulary.word_starts(ids)
        chosen, as_one = choose(self.unit, candidates, starts, budget(len(ids), self.noise_density), rng)
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
        if self.next_sentence:
            labels["next_sentence"] = np.full(len(ids), IGNORE)
            labels["next_sentence"][0] = segments.label
        return Example(
            encoder_ids=noised,
            encoder_origins=origins,
            segments=numbers,
            labels=labels,
            token_term=self.token_term,
        )

    def max_lengths(self, window: int) -> MaxLengths:
        length = window + 2 + self.next_sentence
        return MaxLengths(encoder=length, decoder=0, targets=budget(length, self.noise_density))

    def nominal_rates(self, window: int) -> dict[str, float]:
        rates = {
            "positions hidden": self.noise_density,
            "of these [MASK]": self.mask_rate,
            "of these kept": 1 - self.mask_rate - self.random_rate,
            "of these random": self.random_rate,
        }
        segments = {"random segments": 0.5} if self.next_sentence else {}
        return {**rates, **segments, **super().nominal_rates(window)}

    def check_data(self, windows: Windows) -> None:
        """Raises UserError where the text allows no segment pair, or no random segment."""
        if self.next_sentence:
            check_pairs(windows)

    def heads(self, config: BodyConfig) -> dict[str, nn.Module]:
        return {"next_sentence_head": NextSentenceHead(config.width)} if self.next_sentence else {}

    def predictions(self, network: Network, batch: Batch) -> dict[str, Prediction]:
        states_BSD = network.states(batch)
        found = {"masked": self.predicted_tokens(network, states_BSD, batch)}
        if self.next_sentence:
            labels, head = batch.labels["next_sentence"], network.head("next_sentence_head")
            found["next_sentence"] = Prediction(at_labels(states_BSD, labels), head, labels, loss=self.cross_entropy)
        return found

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        return {"random_segment_share": batch.labels["next_sentence"].ids_N} if self.next_sentence else {}
