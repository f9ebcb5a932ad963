"""Causal language modelling: GPT (Radford et al. 2018, 3.1; 2019, 2.1).

    window     Thank you for inviting me to your party last week .
    reads      </s> Thank you for inviting me to your party last week
    says       Thank you for inviting me to your party last week .

loss = sum of -log p(token | all before it) / number of tokens
"""

from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from data.batch import EARLIER, IGNORE, Corruption, Example, Extent
from data.tokenizer import Vocabulary
from data.windows import Window, Windows
from objectives.base import Objective


def corrupt(window: Window, _rng: Generator, _windows: Windows, *, predict_across_documents: bool) -> Example:
    """Every token of the window is said once, the first of them from the token before the window."""
    labels = window.tokens.astype(np.int64)
    ids = np.concatenate([[window.previous], labels[:-1]])
    origins = np.arange(len(window)) - 1
    begins_a_document = 0 in window.document_starts
    origins[0] = EARLIER if begins_a_document else 0
    if not predict_across_documents:
        labels[window.document_starts] = IGNORE
    return Example(decoder_ids=ids, decoder_origins=origins, labels={"next_token": labels})


class CausalLM(Objective):
    """Every token is said from those before it.

    The text is one stream with EOS behind each document, cut into windows; no token is lost or said twice at their
    edges. Attention crosses documents, as GPT-2's did, unless `transformer.document_masking` keeps them apart; EOS
    belongs to the document that it ends.

    Args:
        predict_across_documents: whether the first token of a document is said, from the document before it.
        shared: what every objective takes.
    """

    uses_encoder: ClassVar[bool] = False
    uses_decoder: ClassVar[bool] = True
    token_term: ClassVar[str] = "next_token"

    def __init__(self, *, predict_across_documents: bool = True, **shared: Any) -> None:
        super().__init__(**shared)
        self.predict_across_documents = predict_across_documents

    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        return partial(corrupt, predict_across_documents=self.predict_across_documents)

    def extent(self, window: int) -> Extent:
        return Extent(encoder=0, decoder=window, targets=window)
