"""Masked language modelling and next-sentence prediction: BERT (Devlin et al. 2019, 3.1).

    window     Thank you for inviting me to your party last week .
    reads      [CLS] Thank you [MASK] inviting me [SEP] to [MASK] party last apple . [SEP]
    says                      for                         your            week
    and        whether the second segment follows the first in the text: it does

loss = sum of -log p(hidden token | all the rest) / number of hidden tokens
     + sum of -log p(follows or not | both segments) / number of pairs
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.random import Generator
from torch import Tensor, nn

from data.store.tokenizer import Vocabulary
from data.stream.batch import IGNORE, NOWHERE, Batch, Corruption, Example, MaxLengths
from data.stream.windows import Window, Windows
from objectives.core.base import Objective, Prediction, SpecialTokenTemplate, check_between_0_and_1, check_share
from objectives.core.noise import budget, choose_spans, choose_tokens, choose_words, mask_keep_or_randomise
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.core.scorer import Scorer
from objectives.inference.generation import fill
from objectives.inference.likelihood import masked_copies, rest_of_text, rest_of_word, token_alone

FOLLOWS, RANDOM_SEGMENT = 0, 1  # as in BERT and in Hugging Face's classes
TRIES_FOR_A_RANDOM_SEGMENT = 10  # as in BERT, which keeps the tenth whatever it is; here the pair is given up

Unit = Literal["token", "word", "span"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """One or two runs of text with their places in the window, and whether the second follows the first."""

    tokens: list[np.ndarray]
    origins: list[np.ndarray]
    label: int


def whole(window: Window) -> Segments:
    """The window as one segment."""
    return Segments(tokens=[window.tokens], origins=[np.arange(len(window))], label=IGNORE)


def pair(window: Window, rng: Generator, windows: Windows) -> Segments:
    """The window cut at a sentence within a document, its second part replaced every other time.

    The replacement begins with a sentence, is as long as what it replaces, and holds no document of the first part. A
    window without such a cut, and one for which no stranger is found, stays one segment without a label.
    """
    cuts = np.setdiff1d(window.sentence_starts, window.document_starts)
    cuts = cuts[cuts > 0]
    if not len(cuts):
        return whole(window)
    cut = int(rng.choice(cuts))
    first, second, places = window.tokens[:cut], window.tokens[cut:], np.arange(len(window))
    if rng.random() < 0.5:
        return Segments(tokens=[first, second], origins=[places[:cut], places[cut:]], label=FOLLOWS)
    inner_starts = window.document_starts[(window.document_starts > 0) & (window.document_starts < cut)]
    own = range(window.first_document, window.first_document + len(inner_starts) + 1)
    for _ in range(TRIES_FOR_A_RANDOM_SEGMENT):
        stranger, documents = windows.run_from_sentence(rng, len(second))
        if len(stranger) == len(second) and (documents.stop <= own.start or own.stop <= documents.start):
            nowhere = np.full(len(stranger), NOWHERE)
            return Segments(tokens=[first, stranger], origins=[places[:cut], nowhere], label=RANDOM_SEGMENT)
    return whole(window)


def shortened(window: Window, rng: Generator) -> Window:
    """The beginning of a window, of 2 tokens to all of them, every length alike."""
    length = int(rng.integers(2, len(window) + 1)) if len(window) > 2 else len(window)
    return replace(
        window,
        tokens=window.tokens[:length],
        sentence_starts=window.sentence_starts[window.sentence_starts < length],
        document_starts=window.document_starts[window.document_starts < length],
    )


def masked(
    segments: Segments,
    rng: Generator,
    *,
    vocabulary: Vocabulary,
    pool: np.ndarray,
    noise_density: float,
    unit: Unit,
    mask_rate: float,
    random_rate: float,
) -> Example:
    """`[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, with `budget(length, noise_density)` tokens hidden.

    Special tokens are never hidden, nor drawn as random ones. By words, fewer may be hidden than the budget allows.
    """
    parts, places, numbers = [[vocabulary.cls]], [[NOWHERE]], [[0]]
    for number, (tokens, origins) in enumerate(zip(segments.tokens, segments.origins, strict=True)):
        parts += [tokens, [vocabulary.sep]]
        places += [origins, [NOWHERE]]
        numbers += [[number] * (len(tokens) + 1)]
    ids = np.concatenate(parts).astype(np.int64)
    candidates = ~vocabulary.is_special[ids]
    count = budget(len(ids), noise_density)
    as_one = None
    if unit == "token":
        chosen = choose_tokens(candidates, count, rng)
    elif unit == "word":
        chosen = choose_words(candidates, vocabulary.word_starts(ids), count, rng)
    else:
        chosen = choose_spans(candidates, vocabulary.word_starts(ids), count, rng)
        as_one = np.cumsum(np.diff(chosen.astype(np.int8), prepend=0) == 1)
    noised = mask_keep_or_randomise(
        ids,
        chosen,
        mask=vocabulary.mask,
        pool=pool,
        mask_rate=mask_rate,
        random_rate=random_rate,
        rng=rng,
        as_one=as_one,
    )
    is_next = np.full(len(ids), IGNORE)
    is_next[0] = segments.label
    return Example(
        encoder_ids=noised,
        encoder_origins=np.concatenate(places),
        segments=np.concatenate(numbers),
        labels={"masked": np.where(chosen, ids, IGNORE), "next_sentence": is_next},
    )


def corrupt(
    window: Window, rng: Generator, windows: Windows, *, next_sentence: bool, short_rate: float, **masking: Any
) -> Example:
    """A window as masked language modelling sees it; `masking` is what `masked` takes."""
    if short_rate and rng.random() < short_rate:
        window = shortened(window, rng)
    example = masked(pair(window, rng, windows) if next_sentence else whole(window), rng, **masking)
    if not next_sentence:
        del example.labels["next_sentence"]
    return example


class NextSentenceHead(nn.Module):
    """BERT's pooler and classifier: [B, D] states of [CLS] -> [B, 2]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, states_BD: Tensor) -> Tensor:
        return self.classifier(self.pooler(states_BD).tanh())


class MaskedLM(Objective):
    """Hidden tokens are said from both sides, and whether two segments follow each other from [CLS].

    What differs from Devlin et al.: masks are drawn anew in every epoch (RoBERTa); random tokens are never special
    ones; a segment pair is a window cut at a sentence, so that every token of the corpus is read once an epoch but
    those that a stranger replaces; a window that cannot be cut has no label instead of always "stranger".

    Args:
        noise_density: share of the positions, special ones included, that is hidden.
        unit: what is hidden: `token`; `word`, all pieces of a word or none (whole-word masking); `span`, words in a
            row (SpanBERT).
        mask_rate: share of the hidden tokens that [MASK] replaces.
        random_rate: share of the hidden tokens that a random one replaces; the rest stay as they are.
        next_sentence: whether segment pairs are told apart; without, a window is one segment (RoBERTa).
        short_rate: share of the windows of which only a beginning of random length is read, as BERT did with 0.1.
        shared: what every objective takes.
    """

    uses_encoder: ClassVar[bool] = True
    uses_decoder: ClassVar[bool] = False
    template: ClassVar[SpecialTokenTemplate] = SpecialTokenTemplate(before=("cls",), behind=("sep",))
    token_term: ClassVar[str] = "masked"

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
            raise ValueError(
                "body.document_masking keeps a stranger from the segment it should be told from: set "
                "model.init_args.next_sentence to false, or document_masking to false"
            )
        self.noise_density, self.unit = noise_density, unit
        self.mask_rate, self.random_rate = mask_rate, random_rate
        self.next_sentence, self.short_rate = next_sentence, short_rate

    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        return partial(
            corrupt,
            vocabulary=vocabulary,
            pool=vocabulary.ordinary,
            noise_density=self.noise_density,
            unit=self.unit,
            mask_rate=self.mask_rate,
            random_rate=self.random_rate,
            next_sentence=self.next_sentence,
            short_rate=self.short_rate,
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
        strangers = {"strangers": 0.5} if self.next_sentence else {}
        return {**rates, **strangers, **super().nominal_rates(window)}

    def check_data(self, windows: Windows) -> None:
        """Refuses text in which no segment pair can be made, or no stranger found."""
        if not self.next_sentence:
            return
        store = windows.store
        inner_starts = np.setdiff1d(store.sentence_starts[:], store.document_starts[:])
        documents = np.searchsorted(store.document_starts, inner_starts, side="right")
        if len(np.unique(documents)) < 2:
            raise ValueError(
                f"next-sentence prediction needs two documents of several sentences, and data.corpus has "
                f"{len(np.unique(documents))} among its {len(store.document_starts)}: cut the text otherwise "
                f"(data.documents), or set model.init_args.next_sentence to false"
            )

    def build_heads(self) -> None:
        if self.next_sentence:
            self.next_sentence_head = NextSentenceHead(self.config.width)

    def predictions(self, batch: Batch) -> dict[str, Prediction]:
        logits_NV, states_BSD = self.run_transformer(batch)
        said = {"masked": Prediction(logits_NV, batch.labels["masked"].ids_N)}
        if self.next_sentence:
            labels = batch.labels["next_sentence"]
            self.measure("random_segment_share", labels.ids_N)
            states_ND = states_BSD.flatten(0, 1)[labels.positions_N]
            said["next_sentence"] = Prediction(self.next_sentence_head(states_ND), labels.ids_N)
        return said

    def scorers(self, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """Pseudo-log-likelihoods of the text as one segment, and a chain."""
        copies = partial(masked_copies, vocabulary=vocabulary, term=self.token_term)
        return {
            "pll_word_l2r": Scorer(examples=partial(copies, hidden_to=rest_of_word)),
            "pll": Scorer(examples=partial(copies, hidden_to=token_alone)),
            "chain": Scorer(
                examples=partial(copies, hidden_to=rest_of_text),
                is_normalised=True,
                caveat="more is masked than ever in training, and the number of masks tells the length",
            ),
        }

    def answer(self, questions: Prompts) -> Iterator[Generation]:
        """Each text, as one segment, with every [MASK] filled, whatever the others are filled with."""
        questions.refuse_decoding("a masked LM names the likeliest tokens of each mask, and draws none")
        mask, read = questions.vocabulary.mask, []
        for number, text in enumerate(questions.texts):
            questions.check_marks(number, MARK, "[MASK]")
            tokens = questions.read(text, MARK, itertools.repeat(mask))
            ids, origins = questions.framed(tokens, self.template.before, self.template.behind)
            questions.check_length(number, len(ids))
            labels = {self.token_term: np.where(ids == mask, ids, IGNORE)}
            segments = np.zeros(len(ids), dtype=np.int64)
            example = Example(encoder_ids=ids, encoder_origins=origins, segments=segments, labels=labels)
            read.append((questions.window(tokens), example))
        return fill(
            lambda batch: self.run_transformer(batch.to(self.device))[0],
            questions,
            read,
            keep_documents_apart=self.keep_documents_apart,
        )
