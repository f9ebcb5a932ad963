"""Filling spans: a text-to-text model generates the text of any length that each sentinel stands for."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from common.errors import UserError
from data.tokens.tokenizer import Vocabulary
from data.tokens.tokenizer import sentinel as spelling
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.core.strategy import InferenceStrategy, Scorer
from objectives.inference.decoding import EncodedPrompt, generate_tokens, generation_of
from objectives.inference.likelihood import span_copies, unread

MARKS = re.compile(rf"{MARK.pattern}|<extra_id_\d+>")  # either way, the k-th of them is the k-th sentinel


def spans_of(generated: Sequence[int], sentinels: Sequence[int]) -> dict[int, list[int]]:
    """The tokens generated after each sentinel, by its number; those after a sentinel out of order are dropped."""
    numbers = {token: number for number, token in enumerate(sentinels)}
    spans: dict[int, list[int]] = {}
    span: list[int] = []
    for token in generated:
        if token not in numbers:
            span.append(token)
            continue
        span = []
        if numbers[token] > max(spans, default=-1):
            spans[numbers[token]] = span
    return spans


def filled_in(
    text: Sequence[int], sentinels: Sequence[int], num_marks: int, generated: Sequence[int], *, is_all: bool
) -> list[int]:
    """The text with spans in place of their sentinels: up to the last span so far, or all of it where `is_all`.

    A sentinel without a span stays.
    """
    spans, ids = spans_of(generated, sentinels), []
    numbers = {token: number for number, token in enumerate(sentinels[:num_marks])}
    last = num_marks if is_all else max(spans, default=-1)
    for token in text:
        number = numbers.get(token)
        if number is not None and number > last:
            break
        ids += [token] if number is None else spans.get(number, [token])
        if number == last:
            break
    return ids


class FillSpans(InferenceStrategy):
    """Fills in the spans that the marks of each text stand for; the k-th mark is read as the k-th sentinel."""

    reads_marks = True
    example: str | None = "Thank you [MASK] party ."

    def special_targets(self, vocabulary: Vocabulary) -> list[int]:
        return vocabulary.sentinels.tolist()

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        prompts.refuse_candidates("span corruption generates text of any length, and no token, for each mark")
        vocabulary, encoded = prompts.vocabulary, []
        sentinels: list[int] = vocabulary.sentinels.tolist()
        for number, text in enumerate(prompts.texts):
            num_marks = prompts.check_marks(number, MARKS, f"[MASK] or {spelling(0)}")
            if num_marks > len(sentinels):
                raise UserError(
                    f"{prompts.name(number)} has {num_marks} marks, and there are {len(sentinels)} sentinels"
                )
            tokens = prompts.encode(text, MARKS, sentinels)
            encoder = prompts.with_special_tokens(tokens, objective.template.before, objective.template.behind)
            start = np.array([vocabulary.pad]), np.array([0])  # of the document of the first span
            complete = partial(filled_in, tokens.tolist(), sentinels, num_marks)
            window = prompts.window(tokens)
            encoded.append(EncodedPrompt.of(text, window, encoder=encoder, decoder=start, complete=complete))
        apart = objective.keep_documents_apart
        settings: dict[str, Any] = {"keep_documents_apart": apart, "special_targets": self.special_targets(vocabulary)}
        for one, generated in generate_tokens(network.body, prompts, encoded, **settings):
            assert one.source is not None
            spans, marks = spans_of(generated.ids, sentinels), [token for token in one.source if token in sentinels]
            texts = [prompts.decode(spans[number]) if number in spans else None for number in range(len(marks))]
            notes = [f"  {spelling(k)}   {'-' if text is None else text.strip()}" for k, text in enumerate(texts)]
            yield replace(generation_of(prompts, one, generated, spans=texts), notes=notes)

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """The text word by word, or as one span, after its sentinel; and as a control with an empty source."""
        common = {"vocabulary": vocabulary, "term": objective.token_term}
        spans = partial(span_copies, **common)
        return {
            "span_pll": Scorer(examples=partial(spans, one_by_one=True)),
            "one_span": Scorer(
                examples=partial(spans, one_by_one=False),
                is_normalised=True,
                caveat="the span is longer than those of training",
            ),
            "eos_encoder": Scorer(
                examples=partial(unread, start=(vocabulary.pad,), **common), is_normalised=True, is_control=True
            ),
        }
