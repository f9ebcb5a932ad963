"""Windows: runs of W raw tokens, the same for every objective."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, Self

import numpy as np

WindowRule = Literal["contiguous", "within_document"]
COUNTED_AT_ONCE = 1 << 20  # tokens


class TokenSequence(Protocol):
    """Documents one after another: a token store, or arrays in memory.

    `sentence_starts` and `document_starts` are rising indices into `tokens`; a document's start is a sentence's too.
    """

    tokens: np.ndarray
    sentence_starts: np.ndarray
    document_starts: np.ndarray


@dataclass(kw_only=True, eq=False)
class TokensInMemory:
    """Tokens of a few documents."""

    tokens: np.ndarray
    sentence_starts: np.ndarray
    document_starts: np.ndarray

    @classmethod
    def of(cls, documents: Sequence[Sequence[Sequence[int]]]) -> Self:
        """Documents of sentences of ids."""
        sentences = [sentence for document in documents for sentence in document]
        starts = np.cumsum([0, *map(len, sentences)])
        firsts = np.cumsum([0, *map(len, documents)])[:-1]
        return cls(
            tokens=np.array([token for sentence in sentences for token in sentence], dtype=np.uint32),
            sentence_starts=starts[:-1],
            document_starts=starts[firsts],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """A run of raw tokens with what is known of it.

    Attributes:
        index: which window of the split it is.
        tokens: uint16 or uint32[length], a view of the store.
        previous: the token before the first, or the token that ends a document where there is none.
        sentence_starts: int64[...], places in `tokens` where a sentence begins.
        document_starts: int64[...], places in `tokens` where a document begins.
        first_document: number, within the split, of the document that the first token belongs to.
    """

    index: int
    tokens: np.ndarray
    previous: int
    sentence_starts: np.ndarray
    document_starts: np.ndarray
    first_document: int

    def __len__(self) -> int:
        return len(self.tokens)

    def documents(self) -> np.ndarray:
        """int64[length], the number of the document that each token belongs to."""
        begins = np.zeros(len(self.tokens), dtype=np.int64)
        begins[self.document_starts[self.document_starts > 0]] = 1
        return self.first_document + np.cumsum(begins)


class Windows:
    """The windows of one split, by number: together they hold every token once.

    Args:
        store: the tokens.
        length: raw tokens a window; the last of the split, or of a document, may be shorter.
        rule: `contiguous` windows run on through documents; `within_document` ones end where a document ends.
        end_token: stands for what came before the first token of the split.
    """

    def __init__(self, store: TokenSequence, *, length: int, rule: WindowRule = "contiguous", end_token: int) -> None:
        self.store, self.length, self.rule, self.end_token = store, length, rule, end_token
        self.num_tokens = len(store.tokens)
        if rule == "within_document":
            lengths = np.diff(store.document_starts, append=self.num_tokens)
            self._windows_before = np.concatenate([[0], np.cumsum(-(-lengths // length))])

    @cached_property
    def token_counts(self) -> np.ndarray:
        """int64[ids up to the largest], how often each occurs in the text."""
        counts = np.zeros(0, dtype=np.int64)
        for start in range(0, self.num_tokens, COUNTED_AT_ONCE):
            more = np.bincount(self.store.tokens[start : start + COUNTED_AT_ONCE], minlength=len(counts))
            more[: len(counts)] += counts
            counts = more
        return counts

    def __len__(self) -> int:
        if self.rule == "within_document":
            return int(self._windows_before[-1])
        return -(-self.num_tokens // self.length)

    def _bounds(self, index: int) -> tuple[int, int]:
        """First token of a window and the one behind its last."""
        if self.rule == "contiguous":
            return index * self.length, min((index + 1) * self.length, self.num_tokens)
        document = int(np.searchsorted(self._windows_before, index, side="right")) - 1
        start = int(self.store.document_starts[document]) + (index - int(self._windows_before[document])) * self.length
        ends = self.store.document_starts[document + 1 : document + 2]
        return start, min(start + self.length, int(ends[0]) if len(ends) else self.num_tokens)

    def __getitem__(self, index: int) -> Window:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        start, end = self._bounds(index)
        return Window(
            index=index,
            tokens=self.store.tokens[start:end],
            previous=int(self.store.tokens[start - 1]) if start else self.end_token,
            sentence_starts=_within(self.store.sentence_starts, start, end),
            document_starts=_within(self.store.document_starts, start, end),
            first_document=self.document_of(start),
        )

    def document_of(self, token: int) -> int:
        """Number of the document that a token of the split belongs to."""
        return int(self.store.document_starts.searchsorted(token, side="right")) - 1

    def run_from_sentence(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, range]:
        """A run of tokens that begins with a sentence: of any document alike, of any of its sentences alike.

        Returns the tokens, fewer than `length` only at the end of the split, and the numbers of their documents.
        """
        store = self.store
        document = int(rng.integers(len(store.document_starts)))
        first = int(store.document_starts[document])
        ends = store.document_starts[document + 1 : document + 2]
        bounds = np.searchsorted(store.sentence_starts, [first, int(ends[0]) if len(ends) else self.num_tokens])
        start = int(store.sentence_starts[rng.integers(bounds[0], bounds[1])])
        tokens = store.tokens[start : start + length]
        return tokens, range(document, self.document_of(start + len(tokens) - 1) + 1)


def _within(starts: np.ndarray, start: int, end: int) -> np.ndarray:
    """int64[...], those of the rising `starts` that lie in [start, end), counted from `start`."""
    low, high = starts.searchsorted((start, end)).tolist()
    return np.asarray(starts[low:high]) - start
