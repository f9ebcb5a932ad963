"""Causal language modelling: GPT (Radford et al. 2018, 3.1; 2019, 2.1).

    window     Thank you for inviting me to your party last week .
    reads      </s> Thank you for inviting me to your party last week
    predicts   Thank you for inviting me to your party last week .

loss = sum of -log p(token | all before it) / number of tokens
"""

from typing import Any

import numpy as np
from numpy.random import Generator

from data.stream.batch import EARLIER, IGNORE, Example, MaxLengths
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective, SpecialTokenTemplate
from objectives.inference.continue_text import ContinueText


class CausalLM(Objective):
    """Every token is predicted from those before it.

    The text is one stream with EOS behind each document, cut into windows; no token is lost or predicted twice at their
    edges. Attention crosses documents, as in GPT-2, unless `body.document_masking` is set; EOS belongs to the document
    that it ends.

    Args:
        predict_across_documents: whether the first token of a document is a target, from the document before it.
        shared: what every objective takes.
    """

    uses_encoder: bool = False
    uses_decoder: bool = True
    template: SpecialTokenTemplate = SpecialTokenTemplate(before=("eos",))  # it ends the document before
    token_term: str = "next_token"
    at_unigram_entropy: str = (
        "A causal LM leaves it within a few hundred steps; if it stays, try another optimizer.learning_rate"
    )

    def __init__(self, *, predict_across_documents: bool = True, **shared: Any) -> None:
        super().__init__(**shared)
        self.predict_across_documents = predict_across_documents
        self.inference = ContinueText(predicts_first=predict_across_documents)

    @property
    def likelihood_term(self) -> str | None:
        return self.token_term if self.predict_across_documents else None

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """Hides and draws nothing; the first token is predicted from the one before the window."""
        labels = window.tokens.astype(np.int64)
        ids = np.concatenate([[window.previous], labels[:-1]])
        origins = np.arange(len(window)) - 1
        origins[0] = EARLIER if 0 in window.document_starts else 0
        if not self.predict_across_documents:
            labels[window.document_starts] = IGNORE
        return Example(
            decoder_ids=ids, decoder_origins=origins, labels={self.token_term: labels}, token_term=self.token_term
        )

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=0, decoder=window, targets=window)
