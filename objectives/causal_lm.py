"""Causal language modelling: GPT (Radford et al. 2018, 3.1; 2019, 2.1).

    window     Thank you for inviting me to your party last week .
    reads      </s> Thank you for inviting me to your party last week
    says       Thank you for inviting me to your party last week .

loss = sum of -log p(token | all before it) / number of tokens
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from data.store.tokenizer import Vocabulary
from data.stream.batch import EARLIER, IGNORE, Corruption, Example, MaxLengths
from data.stream.windows import Window, Windows
from objectives.core.base import Objective, SpecialTokenTemplate
from objectives.core.prompts import Generation, Prompts
from objectives.core.scorer import Scorer
from objectives.inference.generation import EncodedPrompt, generate_texts, generation_of
from objectives.inference.likelihood import document


def next_tokens(window: Window, *, predict_across_documents: bool) -> Example:
    """Every token of the window is said once, the first of them from the token before the window."""
    labels = window.tokens.astype(np.int64)
    ids = np.concatenate([[window.previous], labels[:-1]])
    origins = np.arange(len(window)) - 1
    begins_a_document = 0 in window.document_starts
    origins[0] = EARLIER if begins_a_document else 0
    if not predict_across_documents:
        labels[window.document_starts] = IGNORE
    return Example(decoder_ids=ids, decoder_origins=origins, labels={"next_token": labels})


def corrupt(window: Window, _rng: Generator, _windows: Windows, *, predict_across_documents: bool) -> Example:
    """Nothing is hidden, and nothing drawn."""
    return next_tokens(window, predict_across_documents=predict_across_documents)


def continued(text: list[int], said: Sequence[int], *, is_all: bool) -> list[int]:
    """The text with what is said behind it."""
    return [*text, *said]


class CausalLM(Objective):
    """Every token is said from those before it.

    The text is one stream with EOS behind each document, cut into windows; no token is lost or said twice at their
    edges. Attention crosses documents, as GPT-2's did, unless `body.document_masking` keeps them apart; EOS
    belongs to the document that it ends.

    Args:
        predict_across_documents: whether the first token of a document is said, from the document before it.
        shared: what every objective takes.
    """

    uses_encoder: ClassVar[bool] = False
    uses_decoder: ClassVar[bool] = True
    template: ClassVar[SpecialTokenTemplate] = SpecialTokenTemplate(
        before=("eos",)
    )  # the end of the document before it
    token_term: ClassVar[str] = "next_token"

    def __init__(self, *, predict_across_documents: bool = True, **shared: Any) -> None:
        super().__init__(**shared)
        self.predict_across_documents = predict_across_documents

    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        return partial(corrupt, predict_across_documents=self.predict_across_documents)

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=0, decoder=window, targets=window)

    def scorers(self, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """The text as a document's beginning, read just as in training; the EOS that would end it does not count."""

        def examples(prefix: np.ndarray, text: np.ndarray) -> list[Example]:
            window = document(np.concatenate([prefix, text]), vocabulary.eos)
            example = next_tokens(window, predict_across_documents=self.predict_across_documents)
            example.labels[self.token_term][: len(prefix)] = IGNORE
            return [example]

        return {"log_likelihood": Scorer(examples=examples, is_normalised=True)}

    def answer(self, questions: Prompts) -> Iterator[Generation]:
        """Each text, as the beginning of a document, continued; an empty one may become any document."""
        questions.refuse_candidates("a causal LM continues a text, and fills no masks")
        readings = []
        for number, text in enumerate(questions.texts):
            tokens = questions.read(text)
            if not len(tokens) and not self.predict_across_documents:
                raise ValueError(
                    f"{questions.name(number)} is empty, and with model.init_args.predict_across_documents = false "
                    f"this model never says the first token of a document: begin the text"
                )
            read = questions.framed(tokens, self.template.before, origin=EARLIER)
            window = questions.window(np.append(tokens, questions.vocabulary.eos))  # the last stands for what is said
            complete = partial(continued, tokens.tolist())
            readings.append(EncodedPrompt.of(text, window, decoder=read, complete=complete))
        assert self.body is not None
        for reading, said in generate_texts(
            self.body, questions, readings, keep_documents_apart=self.keep_documents_apart
        ):
            yield generation_of(questions, reading, said, continuation=questions.text_of(said.ids))
