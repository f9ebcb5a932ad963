"""Denoising: BART (Lewis et al. 2020, 2.2; fairseq, data/denoising_dataset.py).

    window     Thank you for inviting me . It was last week .
    reads      <s> It was [MASK] . Thank you [MASK] me . </s>
    says       <s> Thank you for inviting me . It was last week . </s>

loss = sum of -log p(token | source, tokens before it) / number of tokens
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.random import Generator

from data.store.tokenizer import Vocabulary
from data.stream.batch import NOWHERE, Corruption, Example, MaxLengths, documents_of
from data.stream.windows import Window, Windows
from objectives.core.base import Objective, SpecialTokenTemplate, check_between_0_and_1, check_share
from objectives.core.noise import (
    choose_tokens,
    insertion_places,
    overlapping_spans,
    parted_spans,
    permute_sentences,
    poisson_lengths,
    replace_spans,
    rotate,
    shifted,
)
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.core.scorer import Scorer
from objectives.inference.generation import EncodedPrompt, generate_texts, generation_of
from objectives.inference.likelihood import infilled, restored_whole, unread

Sampler = Literal["exact", "fairseq"]


@dataclass(frozen=True, kw_only=True)
class Noises:
    """Which noises, in the order in which they are applied; each rate is a share, 0 turns a noise off.

    Args:
        permute_rate: of the sentences of a document, that change places.
        infill_rate: of the tokens, hidden in spans that one [MASK] each replaces.
        mean_span_length: of those spans, drawn from a Poisson distribution; one of length 0 inserts a [MASK].
        sampler: `exact` parts the spans and hides just that share; `fairseq` lets them overlap and hides less.
        mask_rate: of the tokens, each replaced by a [MASK] of its own.
        delete_rate: of the tokens, left out.
        rotate_rate: of the windows, begun at a random token.
        random_rate: of the [MASK]s, replaced by a random token.
    """

    permute_rate: float = 1.0
    infill_rate: float = 0.3
    mean_span_length: float = 3.0
    sampler: Sampler = "exact"
    mask_rate: float = 0.0
    delete_rate: float = 0.0
    rotate_rate: float = 0.0
    random_rate: float = 0.0


class NoisedTokens:
    """Tokens on their way from the window to what is read, with the place in the window that each stands for."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens, self.origins = tokens.astype(np.int64), np.arange(len(tokens))
        self.order = self.origins  # before anything is hidden

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, places: np.ndarray) -> None:
        """Keeps the tokens at `places`, in that order."""
        self.tokens, self.origins = self.tokens[places], self.origins[places]

    def infill(self, starts: np.ndarray, ends: np.ndarray, mask: int) -> None:
        """Replaces each span by one mask."""
        self.tokens, kept = replace_spans(self.tokens, starts, ends, np.full(len(starts), mask))
        self.origins = self.origins[kept]

    def insert(self, places: np.ndarray, mask: int) -> None:
        """Puts a mask, which stands for no token, before each of `places`."""
        self.tokens = np.insert(self.tokens, places, mask)
        self.origins = np.insert(self.origins, places, NOWHERE)


def permutation(window: Window, rate: float, eos: int, rng: Generator) -> np.ndarray:
    """int64[length] places, with the sentences of each document permuted among themselves.

    EOS keeps its place: it ends its document, whichever sentence comes last.
    """
    bounds = np.unique(np.concatenate([[0], window.document_starts, [len(window)]]))
    parts = []
    for start, end in itertools.pairwise(bounds):
        body_end = end - (window.tokens[end - 1] == eos)
        inner = window.sentence_starts[(window.sentence_starts > start) & (window.sentence_starts < body_end)]
        parts += [start + permute_sentences(body_end - start, inner - start, rate, rng), np.arange(body_end, end)]
    return np.concatenate(parts)


def noised(window: Window, rng: Generator, noises: Noises, *, mask: int, eos: int, pool: np.ndarray) -> NoisedTokens:
    """The window under all noises, in their fixed order; never longer than the window."""
    source = NoisedTokens(window.tokens)
    if noises.permute_rate:
        source.take(permutation(window, noises.permute_rate, eos, rng))
        source.order = source.origins
    if noises.infill_rate:
        wanted, place_spans = round(noises.infill_rate * len(source)), parted_spans
        if noises.sampler == "fairseq":
            wanted, place_spans = math.ceil(noises.infill_rate * len(source)), overlapping_spans
        lengths, num_insertions = poisson_lengths(wanted, noises.mean_span_length, rng)
        source.infill(*place_spans(len(source), lengths, rng), mask)
        num_insertions = min(num_insertions, len(window) - len(source))
        source.insert(insertion_places(len(source), num_insertions, rng), mask)
    if noises.mask_rate:
        places = choose_tokens(source.tokens != mask, round(noises.mask_rate * len(source)), rng)
        source.tokens[places] = mask
    if noises.delete_rate:
        places = choose_tokens(source.tokens != mask, round(noises.delete_rate * len(source)), rng)
        source.take(np.flatnonzero(~places))
    if rng.random() < noises.rotate_rate:
        source.take(rotate(len(source), rng, like_fairseq=noises.sampler == "fairseq"))
    if noises.random_rate:
        masks = np.flatnonzero(source.tokens == mask)
        replaced = masks[rng.random(len(masks)) < noises.random_rate]
        source.tokens[replaced] = pool[rng.integers(len(pool), size=len(replaced))]
    return source


def corrupt(
    window: Window,
    rng: Generator,
    _windows: Windows,
    *,
    vocabulary: Vocabulary,
    pool: np.ndarray,
    noises: Noises,
    keep_documents_apart: bool,
) -> Example:
    """The noised window to be read, and the window as it was to be said, `<s>` before and `</s>` behind each."""
    source = noised(window, rng, noises, mask=vocabulary.mask, eos=vocabulary.eos, pool=pool)
    labels = np.concatenate([[vocabulary.bos], window.tokens, [vocabulary.eos]]).astype(np.int64)
    said = np.concatenate([[NOWHERE], np.arange(len(window)), [NOWHERE]])
    return Example(
        encoder_ids=np.concatenate([[vocabulary.bos], source.tokens, [vocabulary.eos]]),
        encoder_origins=np.concatenate([[NOWHERE], source.origins, [NOWHERE]]),
        decoder_ids=shifted(labels, vocabulary.eos, documents_of(window, said) if keep_documents_apart else None),
        decoder_origins=said,
        order=source.order,
        labels={"token": labels},
    )


def restored(bos: int, said: Sequence[int], *, is_all: bool) -> list[int]:
    """What is said, without its `<s>`."""
    return [*said[1:]] if said[:1] == [bos] else [*said]


class Denoising(Objective):
    """The whole text is said from a noised copy of it.

    What differs from fairseq: sentences are those of the corpus, not what ends with "."; they are permuted within
    their document where a window holds several; by default, spans are parted and hide just `infill_rate` of the
    tokens, where fairseq's overlap and hide 27 % for 30 (`sampler: fairseq`).

    Args:
        permute_rate: share of a document's sentences that change places.
        infill_rate: share of the tokens that is hidden in spans, each replaced by one [MASK].
        mean_span_length: mean of the Poisson distribution of span lengths; one of length 0 inserts a [MASK].
        sampler: `exact` or `fairseq`, how spans are placed.
        mask_rate: share of the tokens of which each is replaced by a [MASK].
        delete_rate: share of the tokens that is left out.
        rotate_rate: share of the windows that begin at a random token.
        random_rate: share of the [MASK]s that a random token replaces.
        shared: what every objective takes.
    """

    uses_encoder: ClassVar[bool] = True
    uses_decoder: ClassVar[bool] = True
    template: ClassVar[SpecialTokenTemplate] = SpecialTokenTemplate(
        before=("bos",), behind=("eos",), decoder_start="eos"
    )
    token_term: ClassVar[str] = "token"

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
        if not 0 < mean_span_length < math.inf:
            raise ValueError(f"model.init_args.mean_span_length = {mean_span_length} must be above 0 and finite")
        self.noises = Noises(
            permute_rate=permute_rate,
            infill_rate=infill_rate,
            mean_span_length=mean_span_length,
            sampler=sampler,
            mask_rate=mask_rate,
            delete_rate=delete_rate,
            rotate_rate=rotate_rate,
            random_rate=random_rate,
        )

    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        return partial(
            corrupt,
            vocabulary=vocabulary,
            pool=vocabulary.ordinary,
            noises=self.noises,
            keep_documents_apart=self.keep_documents_apart,
        )

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=window + 2, decoder=window + 2, targets=window + 2)

    def nominal_rates(self, window: int) -> dict[str, float]:
        noises = self.noises
        hidden = 1 - (1 - noises.infill_rate) * (1 - noises.mask_rate) * (1 - noises.delete_rate)
        of_spans = {
            "mean span length": noises.mean_span_length,
            "spans of length 0": math.exp(-noises.mean_span_length),
        }
        only_infilled = noises.infill_rate and not noises.mask_rate and not noises.delete_rate
        return {"tokens hidden": hidden, **(of_spans if only_infilled else {}), **super().nominal_rates(window)}

    def scorers(self, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """The text restored from one [MASK], or token by token, and from nothing that training knew."""
        common = {"vocabulary": vocabulary, "term": self.token_term}
        start = (vocabulary.eos, vocabulary.bos)
        return {
            "all_mask": Scorer(examples=partial(restored_whole, **common), is_normalised=True),
            "infill_pll": Scorer(examples=partial(infilled, **common)),
            "eos_encoder": Scorer(examples=partial(unread, start=start, **common), is_normalised=True, is_control=True),
        }

    def answer(self, questions: Prompts) -> Iterator[Generation]:
        """Each text restored: every [MASK] stands for any number of tokens, and sentences may have changed places."""
        questions.refuse_candidates("a denoiser says the whole text, and no token for each mask")
        vocabulary, readings = questions.vocabulary, []
        for number, text in enumerate(questions.texts):
            tokens = questions.read(text, MARK, itertools.repeat(vocabulary.mask))
            if not len(tokens):
                raise ValueError(f"{questions.name(number)} is empty: there is nothing to restore")
            read = questions.framed(tokens, self.template.before, self.template.behind)
            start = np.array([vocabulary.eos]), np.array([NOWHERE])
            complete = partial(restored, vocabulary.bos)
            readings.append(
                EncodedPrompt.of(text, questions.window(tokens), encoder=read, decoder=start, complete=complete)
            )
        assert self.body is not None
        for reading, said in generate_texts(
            self.body, questions, readings, keep_documents_apart=self.keep_documents_apart
        ):
            yield generation_of(questions, reading, said)
