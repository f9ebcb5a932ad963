"""Fill-in-the-middle: a causal LM that fills gaps as well (Bavarian et al. 2022, 3 and 4; BigCode, Megatron-LM).

    window     Thank you for inviting me to your party last week . </s>
    reads      </s> <|fim_prefix|> Thank you <|fim_suffix|> to your party last week . <|fim_middle|> for inviting me
    predicts   <|fim_prefix|> Thank you <|fim_suffix|> to your party last week . <|fim_middle|> for inviting me </s>

loss = sum of -log p(token | all before it) / number of tokens, marks included
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.random import Generator

from common.errors import UserError
from data.stream.batch import Example, MaxLengths
from data.stream.windows import Window, Windows
from data.tokens.pieces import puts_blank_before
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective, SpecialTokenTemplate, check_share
from objectives.core.noise.hiding import read_from_before
from objectives.inference.fill_middle import FillMiddle

MARKS = ("fim_prefix", "fim_suffix", "fim_middle")
CUT_CHARACTER = "\ufffd"  # decoded from bytes that make no character: the window cuts one
Level = Literal["token", "character"]


class Parts(NamedTuple):
    """A text in three parts, int64 ids each."""

    prefix: np.ndarray
    middle: np.ndarray
    suffix: np.ndarray


def boundaries(length: int, rng: Generator) -> tuple[int, int]:
    """Two places uniform over 0 to `length`, the lesser first; both may be the same, and the middle empty."""
    first, second = np.sort(rng.integers(length + 1, size=2)).tolist()
    return first, second


def cut(tokens: np.ndarray, level: Level, rng: Generator, vocabulary: Vocabulary) -> Parts:
    """Tokens in three parts, between two of them or, by characters, between any two characters of their text.

    Cut by characters, each part is tokenised by itself, so that tokens are cut as a user's cursor cuts them. Tokens
    whose text begins or ends within a character are cut between tokens.
    """
    tokenizer = vocabulary.tokenizer if level == "character" else None
    assert tokenizer is not None or level == "token", "characters need the tokenizer of the vocabulary"
    text = "" if tokenizer is None else tokenizer.decode(tokens.tolist(), skip_special_tokens=False)
    if tokenizer is None or not text or CUT_CHARACTER in text:
        first, second = boundaries(len(tokens), rng)
        return Parts(tokens[:first], tokens[first:second], tokens[second:])
    assert vocabulary.tokenizer is not None
    first, second = boundaries(len(text), rng)
    parts = (text[:first], text[first:second], text[second:])
    encoded = (tokenizer.encode(part, add_special_tokens=False).ids for part in parts)
    return Parts(*(np.array(ids, dtype=np.int64) for ids in encoded))


def rearranged(parts: Parts, *, suffix_first: bool, vocabulary: Vocabulary) -> np.ndarray:
    """int64[length], `<PRE> p <SUF> s <MID> m`, or, the suffix first, `<PRE> <SUF> s <MID> p m` (the paper's SPM)."""
    before, behind, middle = ([vocabulary.id_of(mark)] for mark in MARKS)
    if suffix_first:
        pieces = [before, behind, parts.suffix, middle, parts.prefix, parts.middle]
    else:
        pieces = [before, parts.prefix, behind, parts.suffix, middle, parts.middle]
    return np.concatenate(pieces).astype(np.int64)


def most_documents(window: int) -> int:
    """How many documents of a window are rearranged at most, so that no window grows beyond measure."""
    return 1 + window // 16


class FillInTheMiddle(Objective):
    """Next tokens, after the middle of some documents was moved behind their end.

    Each document of a window is cut and rearranged with probability `rate`, after windows were made (context level: no
    part is lost to a window's edge), and EOS stands behind the middle, also where the window cuts the document.
    Attention and the other documents are a causal LM's; with `rate` 0 this is one.

    What differs from Bavarian et al.: of a window at most one document in 16 tokens is rearranged.

    Args:
        rate: share of the documents that are rearranged.
        suffix_first: share of these in which the suffix comes first (SPM); the rest are prefix, suffix, middle (PSM).
        level: whether documents are cut between `token`s or between `character`s.
        shared: what every objective takes.
    """

    uses_encoder: bool = False
    uses_decoder: bool = True
    template: SpecialTokenTemplate = SpecialTokenTemplate(before=("eos",))  # it ends the document before
    token_term: str = "next_token"
    marks: tuple[str, ...] = MARKS

    def __init__(self, *, rate: float = 0.5, suffix_first: float = 0.5, level: Level = "token", **shared: Any) -> None:
        super().__init__(**shared)
        check_share(rate=rate, suffix_first=suffix_first)
        self.rate, self.suffix_first = rate, suffix_first
        self.level: Level = level
        self.inference = FillMiddle(suffix_first=suffix_first == 1)

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Raises UserError where the vocabulary lacks the marks, or its tokenizer would put blanks into words."""
        super().check_vocabulary(vocabulary)
        if self.level == "character" and vocabulary.tokenizer and puts_blank_before(vocabulary.tokenizer):
            raise UserError(
                "model.init_args.level = 'character' tokenises parts of words, and this data.tokenizer puts a blank "
                "before each text: take level = token"
            )

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """Some documents rearranged; what the character level makes longer than the longest is cut at the end."""
        starts = np.unique(np.concatenate([[0], window.document_starts]))
        tokens = window.tokens.astype(np.int64)
        ids: list[np.ndarray] = []
        origins: list[np.ndarray] = []
        orders: list[bool] = []  # of each rearranged document, whether its suffix comes first
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(window)], strict=True):
            body = tokens[start : end - (tokens[end - 1] == vocabulary.eos)]
            chance, order = rng.random(2)
            if chance < self.rate and len(body) and len(orders) < most_documents(len(window)):
                orders.append(bool(order < self.suffix_first))
                parts = cut(body, self.level, rng, vocabulary)
                whole = rearranged(parts, suffix_first=orders[-1], vocabulary=vocabulary)
                ids.append(np.append(whole, vocabulary.eos))
                origins.append(np.full(len(whole) + 1, start))  # of the document
            else:
                ids.append(tokens[start:end])
                origins.append(np.arange(start, end))
        labels, places, longest = np.concatenate(ids), np.concatenate(origins), self.max_lengths(len(window)).decoder
        measures = {"documents rearranged": len(orders) / len(starts), "tokens cut": max(len(labels) - longest, 0)}
        labels = labels[:longest]
        read, read_origins = read_from_before(window, labels[:-1], places[: len(labels) - 1])
        return Example(
            decoder_ids=read,
            decoder_origins=read_origins,
            labels={self.token_term: labels},
            token_term=self.token_term,
            measures={**measures, **({"suffix first": float(np.mean(orders))} if orders else {})},
        )

    def max_lengths(self, window: int) -> MaxLengths:
        """Three marks and EOS for each document; by characters, twice as many again for the tokens that are cut."""
        grows = (4 if self.level == "token" else 12) * most_documents(window) if self.rate else 0
        return MaxLengths(encoder=0, decoder=window + grows, targets=window + grows)

    def nominal_rates(self, window: int) -> dict[str, float]:
        """Of a window within one document."""
        rates = {"documents rearranged": self.rate, "suffix first": self.suffix_first}
        return {**rates, "targets per raw token": 1 + 4 * self.rate / window}
