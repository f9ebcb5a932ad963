"""Span corruption: T5 (Raffel et al. 2020, 3.1.4 and 3.3.4; t5/data/preprocessors.py, denoise).

    window     Thank you for inviting me to your party last week .
    reads      Thank you <extra_id_0> me to your party <extra_id_1> week . </s>
    says       <extra_id_0> for inviting <extra_id_1> last <extra_id_2> </s>

loss = sum of -log p(target token | source, targets before it) / number of target tokens
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from data.store.tokenizer import NUM_SENTINELS, Vocabulary
from data.store.tokenizer import sentinel as spelling
from data.stream.batch import NOWHERE, Corruption, Example, MaxLengths, documents_of
from data.stream.windows import Window, Windows
from objectives.core.base import Objective, SpecialTokenTemplate, check_between_0_and_1
from objectives.core.noise import cut_runs, random_spans, replace_spans, shifted, span_counts
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.core.scorer import Scorer
from objectives.inference.generation import EncodedPrompt, generate_texts, generation_of
from objectives.inference.likelihood import span_copies, unread

MARKS = re.compile(rf"{MARK.pattern}|<extra_id_\d+>")  # either way, the k-th of them is the k-th sentinel


def inputs_and_targets(
    tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray, sentinels: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """What is read and what is said, each as int64 tokens and their origins, without EOS.

    In what is read the k-th noise span is the k-th sentinel; what is said is each sentinel with the span it stands
    for. Text behind the last span is closed by one more sentinel, as in the paper's example; the reference's masks
    end with noise and never need it. The same as T5's `noise_span_to_unique_sentinel` of the mask and of its
    complement, but for masks that begin with noise, where T5's numbers on the two sides do not fit.
    """
    source = replace_spans(tokens, starts, ends, sentinels[: len(starts)])
    said, origins = [], []
    for sentinel, start, end in zip(sentinels, starts, ends, strict=False):
        said += [[sentinel], tokens[start:end]]
        origins += [[start], np.arange(start, end)]
    if len(ends) and ends[-1] < len(tokens):
        said.append([sentinels[len(starts)]])
        origins.append([ends[-1]])
    empty = np.zeros(0, dtype=np.int64)
    return source, (np.concatenate([empty, *said]).astype(np.int64), np.concatenate([empty, *origins]).astype(np.int64))


def corrupt(
    window: Window,
    rng: Generator,
    _windows: Windows,
    *,
    vocabulary: Vocabulary,
    noise_density: float,
    mean_span_length: float,
    roll: bool,
    keep_documents_apart: bool,
) -> Example:
    """A window with spans of it replaced by sentinels, and those spans to be said; EOS closes both."""
    length = len(window)
    noise = random_spans(length, noise_density=noise_density, mean_span_length=mean_span_length, rng=rng)
    if roll:
        noise = np.roll(noise, int(rng.integers(length)))
    cuts = window.document_starts if keep_documents_apart else np.zeros(0, dtype=np.int64)
    starts, ends = cut_runs(noise, cuts)
    num_sentinels = len(starts) + (ends[-1:] < length).sum()  # text behind the last span takes one more
    if num_sentinels > len(vocabulary.sentinels):  # only where documents part spans; the rest stays text
        starts, ends = starts[: len(vocabulary.sentinels) - 1], ends[: len(vocabulary.sentinels) - 1]
    source, target = inputs_and_targets(window.tokens, starts, ends, vocabulary.sentinels)
    labels, said = np.append(target[0], vocabulary.eos), np.append(target[1], NOWHERE)
    return Example(
        encoder_ids=np.append(source[0], vocabulary.eos),
        encoder_origins=np.append(source[1], NOWHERE),
        decoder_ids=shifted(labels, vocabulary.pad, documents_of(window, said) if keep_documents_apart else None),
        decoder_origins=said,
        labels={"span": labels},
    )


def spans_said(said: Sequence[int], sentinels: Sequence[int]) -> dict[int, list[int]]:
    """What is said behind each sentinel, by its number; behind one that goes back, nothing is."""
    numbers = {token: number for number, token in enumerate(sentinels)}
    spans: dict[int, list[int]] = {}
    span: list[int] = []
    for token in said:
        if token not in numbers:
            span.append(token)
            continue
        span = []
        if numbers[token] > max(spans, default=-1):
            spans[numbers[token]] = span
    return spans


def filled(
    text: Sequence[int], sentinels: Sequence[int], num_marks: int, said: Sequence[int], *, is_all: bool
) -> list[int]:
    """The text with the spans in the places of their sentinels, as far as the last one said or, if that is all, whole.

    A sentinel without a span stays.
    """
    spans, ids = spans_said(said, sentinels), []
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


class SpanCorruption(Objective):
    """Spans are cut out of the text, and said, each behind the sentinel that stands in its place.

    What differs from Raffel et al.: documents are parted by EOS where `data.end_of_document` has it so (T5 joins them
    without); a window of one token hides nothing.

    Args:
        noise_density: share of the tokens that is hidden.
        mean_span_length: mean length of a hidden span.
        roll: whether the mask is rotated by a random offset, so that every place is hidden alike; the reference's
            never hides the first token and always the last.
        shared: what every objective takes.
    """

    uses_encoder: ClassVar[bool] = True
    uses_decoder: ClassVar[bool] = True
    template: ClassVar[SpecialTokenTemplate] = SpecialTokenTemplate(behind=("eos",), decoder_start="pad")
    token_term: ClassVar[str] = "span"

    def __init__(
        self, *, noise_density: float = 0.15, mean_span_length: float = 3.0, roll: bool = False, **shared: Any
    ) -> None:
        super().__init__(**shared)
        check_between_0_and_1(noise_density=noise_density)
        if not mean_span_length >= 1:
            raise ValueError(f"model.init_args.mean_span_length = {mean_span_length} must be at least 1")
        self.noise_density, self.mean_span_length, self.roll = noise_density, mean_span_length, roll

    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        return partial(
            corrupt,
            vocabulary=vocabulary,
            noise_density=self.noise_density,
            mean_span_length=self.mean_span_length,
            roll=self.roll,
            keep_documents_apart=self.keep_documents_apart,
        )

    def max_lengths(self, window: int) -> MaxLengths:
        num_noise, num_spans = span_counts(window, self.noise_density, self.mean_span_length)
        if self.keep_documents_apart:
            num_spans = num_noise  # documents of one token each would part every span
        # A rotated mask may part a span at the edge, or leave text behind the last one, which takes a sentinel.
        edge = int(self.roll and num_noise > 0)
        encoder, decoder = window - num_noise + min(num_spans + edge, num_noise) + 1, num_noise + num_spans + edge + 1
        return MaxLengths(encoder=encoder, decoder=decoder, targets=decoder)

    def check_window(self, window: int) -> None:
        super().check_window(window)
        needed = span_counts(window, self.noise_density, self.mean_span_length)[1] + self.roll
        if needed > NUM_SENTINELS:
            raise ValueError(
                f"data.window = {window} with noise_density = {self.noise_density} and mean_span_length = "
                f"{self.mean_span_length} makes {needed} spans, each with a sentinel of its own, and the vocabulary "
                f"has {NUM_SENTINELS}: raise model.init_args.mean_span_length, or lower noise_density or data.window"
            )

    def nominal_rates(self, window: int) -> dict[str, float]:
        num_targets = sum(span_counts(window, self.noise_density, self.mean_span_length)) + 1
        rates = {"tokens hidden": self.noise_density, "mean span length": self.mean_span_length}
        return {**rates, "targets per raw token": num_targets / window}

    def scorers(self, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """The text said word by word, or all of it, behind the sentinel that stands for it, and with nothing read."""
        common = {"vocabulary": vocabulary, "term": self.token_term}
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

    def answer(self, questions: Prompts) -> Iterator[Generation]:
        """Each text with the spans filled in that its marks stand for, which are sentinels in their order."""
        questions.refuse_candidates("span corruption says text of any length, and no token, for each mark")
        vocabulary, readings = questions.vocabulary, []
        sentinels: list[int] = vocabulary.sentinels.tolist()
        for number, text in enumerate(questions.texts):
            num_marks = questions.check_marks(number, MARKS, f"[MASK] or {spelling(0)}")
            if num_marks > len(sentinels):
                raise ValueError(
                    f"{questions.name(number)} has {num_marks} marks, and there are {len(sentinels)} sentinels"
                )
            tokens = questions.read(text, MARKS, sentinels)
            read = questions.framed(tokens, self.template.before, self.template.behind)
            start = np.array([vocabulary.pad]), np.array([0])  # of the document of the first span
            complete = partial(filled, tokens.tolist(), sentinels, num_marks)
            readings.append(
                EncodedPrompt.of(text, questions.window(tokens), encoder=read, decoder=start, complete=complete)
            )
        assert self.body is not None
        for reading, said in generate_texts(
            self.body, questions, readings, keep_documents_apart=self.keep_documents_apart
        ):
            assert reading.source is not None
            spans, marks = spans_said(said.ids, sentinels), [token for token in reading.source if token in sentinels]
            texts = [questions.text_of(spans[number]) if number in spans else None for number in range(len(marks))]
            notes = [f"  {spelling(k)}   {'-' if text is None else text.strip()}" for k, text in enumerate(texts)]
            yield replace(generation_of(questions, reading, said, spans=texts), notes=notes)
