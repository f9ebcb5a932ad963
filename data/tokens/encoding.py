"""Documents as tokens: exactly those of the whole text, though each of its words is encoded but once.

A natural text is a few hundred thousand words that come again and again, and an encoder takes ten times as long for a
word as a dictionary takes to find it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from common.errors import UserError
from data.tokens.pieces import cuts_before_blanks, cuts_before_white_space

WHOLE_CHARACTERS = 20_000_000  # of one document that is encoded at once: its tokens and offsets take 2 GB
CHARACTERS_AT_ONCE = 1_000_000  # of texts whose words are looked up together
KEPT_CHARACTERS = 4_000_000  # of the words that are kept with their tokens, about 100 MB in all
# White space and what follows it, cut before a blank that stands behind no white space; white space at the end that
# does not begin with a blank stays with what is before it.
_WORD = re.compile(r"\s*\S+(?:[^\S ]\s*\S+)*(?:[^\S ]\s*\Z)?|\s+")
_CUT = re.compile(r"(?<=\S) ")


def _runs(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The runs of `values` that begin at `starts` and have `lengths`, one behind another."""
    places = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    places += np.arange(len(places))
    return values[places]


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64[len(counts)], the sum of each run of that many values."""
    sums = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(counts)
    return sums[ends] - sums[ends - counts]


def _numbers(values: Iterable[int], count: int) -> np.ndarray:
    return np.fromiter(values, dtype=np.int64, count=count)


class Encoded(NamedTuple):
    """Tokens of words, one word behind another.

    Attributes:
        ids: int32[tokens].
        offsets: int32[tokens], characters from the start of its word to each token; zeros where they are not wanted.
        lengths: int64[words], tokens of each word.
    """

    ids: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray


class _Places(dict[str, int]):
    """The place of each word in the order in which they were first met."""

    def __missing__(self, word: str) -> int:
        self[word] = place = len(self)
        return place


class WordEncoder:
    """Encodes words, of which it keeps those it has met.

    Args:
        tokenizer: of the words.
        with_offsets: whether the offsets of tokens are wanted, which take as long as the tokens.
    """

    def __init__(self, tokenizer: Tokenizer, *, with_offsets: bool) -> None:
        self.tokenizer, self.with_offsets = tokenizer, with_offsets
        self._forget()

    def _forget(self) -> None:
        self._places, self._characters = _Places(), 0
        self._known = Encoded(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64))
        self._starts = np.zeros(0, dtype=np.int64)

    def _learn(self) -> None:
        """Encodes the words that were met for the first time."""
        new = list(islice(self._places, len(self._starts), None))
        if not new:
            return
        encode = self.tokenizer.encode_batch if self.with_offsets else self.tokenizer.encode_batch_fast
        encodings = encode(new, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        lengths = _numbers(map(len, ids), len(ids))
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=lengths.sum())
        offsets = np.zeros_like(flat)
        if self.with_offsets:
            begins = (start for encoding in encodings for start, _ in encoding.offsets)
            offsets = np.fromiter(begins, dtype=np.int32, count=len(flat))
        self._starts = np.concatenate([self._starts, len(self._known.ids) + np.cumsum(lengths) - lengths])
        pairs = zip(self._known, (flat, offsets, lengths), strict=True)
        self._known = Encoded(*(np.concatenate(pair) for pair in pairs))
        self._characters += sum(map(len, new))

    def __call__(self, words: Sequence[str]) -> Encoded:
        """The tokens of words."""
        places = _numbers(map(self._places.__getitem__, words), len(words))
        self._learn()
        starts, lengths = self._starts[places], self._known.lengths[places]
        ids = _runs(self._known.ids, starts, lengths)
        offsets = _runs(self._known.offsets, starts, lengths) if self.with_offsets else np.zeros_like(ids)
        if self._characters > KEPT_CHARACTERS:
            self._forget()
        return Encoded(ids, offsets, lengths)


def _one_word(text: str) -> list[str]:
    return [text]


def _parts(text: str) -> Iterator[str]:
    """A long text in several parts, cut as words are."""
    start = 0
    while len(text) - start > CHARACTERS_AT_ONCE and (cut := _CUT.search(text, start + CHARACTERS_AT_ONCE)):
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]


def _numbered(texts: Iterable[str], cut: Callable[[str], Iterable[str]]) -> Iterator[tuple[int, str]]:
    """The parts of texts, each with the number of its text; one that is looked up at once is its own part."""
    for number, text in enumerate(texts):
        if len(text) <= CHARACTERS_AT_ONCE:
            yield number, text
        else:
            yield from ((number, part) for part in cut(text))


def _grouped(parts: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Numbered parts, as many together as are looked up at once."""
    group, size = [], 0
    for number, part in parts:
        group.append((number, part))
        size += len(part)
        if size >= CHARACTERS_AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group


class DocumentEncoder:
    """Gives the tokens of documents by their sentences; it goes to other processes as its tokenizer alone.

    A tokenizer that cuts before white space, and puts nothing before a text, sees in each sentence what it sees in the
    whole text, and is given sentences. Any other is given documents, whose tokens belong to the sentence in which they
    begin: word by word, where its way of cutting text is known, and else whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.by_sentence = cuts_before_white_space(tokenizer)
        self.by_word = self.by_sentence or cuts_before_blanks(tokenizer)
        self._words_of = _WORD.findall if self.by_word else _one_word
        self._encode_words = WordEncoder(tokenizer, with_offsets=not self.by_sentence)

    def __reduce__(self) -> tuple[Any, ...]:
        return _document_encoder, (self.tokenizer.to_str(), self.tokenizer.encode_special_tokens)

    def _tokens_of(self, texts: Iterable[str], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of texts, where each begins in all of their characters, and how many each text has."""
        cut = _parts if self.by_word else _one_word
        ids, begins = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int64)]
        lengths = np.zeros(count, dtype=np.int64)
        start = 0
        for group in _grouped(_numbered(texts, cut)):
            words = [self._words_of(part) for _, part in group]
            flat = list(chain.from_iterable(words))
            found = self._encode_words(flat)
            ids.append(found.ids)
            owners = _numbers((number for number, _ in group), len(group))
            np.add.at(lengths, owners, _sums(found.lengths, _numbers(map(len, words), len(words))))
            if not self.by_sentence:
                characters = _numbers(map(len, flat), len(flat))
                starts = start + np.cumsum(characters) - characters
                begins.append(np.repeat(starts, found.lengths) + found.offsets)
                start += characters.sum()
        return np.concatenate(ids), np.concatenate(begins), lengths

    def __call__(self, documents: Sequence[str], sentences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of documents, one behind another, and how many each sentence has.

        Args:
            documents: none of them empty.
            sentences: for each document int[...], how many characters each of its sentences has.

        Returns:
            int32[tokens] and int64[sentences].

        Raises:
            UserError: where a document is too long for a tokenizer that must read it whole.
        """
        characters = np.concatenate([np.zeros(0, dtype=np.int64), *sentences])
        if self.by_sentence:
            joined = "".join(documents)
            cut = (joined[start:end] for start, end in pairwise([0, *np.cumsum(characters).tolist()]))
            ids, _, lengths = self._tokens_of(cut, len(characters))
            return ids, lengths
        longest = max(map(len, documents), default=0)
        if longest > WHOLE_CHARACTERS and not self.by_word:
            raise UserError(
                f"a document of {longest:,} characters is too long for this data.tokenizer, which must read a document "
                f"whole and takes {WHOLE_CHARACTERS:,} at most: cut the text with data.documents (paragraph or line), "
                f"or train a tokenizer (data.tokenizer = byte_bpe)"
            )
        ids, begins, _ = self._tokens_of(documents, len(documents))
        firsts = np.searchsorted(np.maximum.accumulate(begins), np.cumsum(characters) - characters, side="left")
        return ids, np.diff(firsts, append=len(ids))


def _document_encoder(content: str, encode_special_tokens: bool) -> DocumentEncoder:
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = encode_special_tokens
    return DocumentEncoder(tokenizer)
