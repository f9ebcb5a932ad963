"""Documents as tokens: exactly those of the whole text, though each of its words is encoded but once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from common.errors import UserError
from data.tokens.pieces import cuts_before_blanks, cuts_before_white_space
from data.tokens.word_encoding import CUT, Key, WordEncoder, key_of, keys_of, numbers

WHOLE_CHARACTERS = 20_000_000  # of one document that is encoded at once: its tokens and offsets take 2 GB
CHARACTERS_AT_ONCE = 1_000_000  # of texts whose words are looked up together


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64[len(counts)], the sum of each run of that many values."""
    sums = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(counts)
    return sums[ends] - sums[ends - counts]


def _whole(text: str) -> list[str]:
    return [text]


def _one_key(text: str) -> list[Key]:
    return [key_of(text)]


def _parts(text: str) -> Iterator[str]:
    """A long text in several parts, cut as words are."""
    start = 0
    while len(text) - start > CHARACTERS_AT_ONCE and (cut := CUT.search(text, start + CHARACTERS_AT_ONCE)):
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]


def _groups(texts: Iterable[str], cut: Callable[[str], Iterable[str]]) -> Iterator[tuple[list[int], list[str]]]:
    """Texts, as many together as are looked up at once, each with its number; a longer one is cut into parts."""
    owners, parts, size = list[int](), list[str](), 0
    for number, text in enumerate(texts):
        for part in (text,) if len(text) <= CHARACTERS_AT_ONCE else cut(text):
            owners.append(number)
            parts.append(part)
            size += len(part)
            if size >= CHARACTERS_AT_ONCE:
                yield owners, parts
                owners, parts, size = [], [], 0
    if parts:
        yield owners, parts


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
        self._keys_of = keys_of if self.by_word else _one_key
        self._encode_words = WordEncoder(tokenizer, with_offsets=not self.by_sentence)

    def __reduce__(self) -> tuple[Any, ...]:
        return _document_encoder, (self.tokenizer.to_str(), self.tokenizer.encode_special_tokens)

    def _tokens_of(self, texts: Iterable[str], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of texts, where each begins in all of their characters, and how many each text has."""
        cut = _parts if self.by_word else _whole
        ids, begins = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int64)]
        lengths = np.zeros(count, dtype=np.int64)
        start = 0
        for owners, parts in _groups(texts, cut):
            keys = list(map(self._keys_of, parts))
            found = self._encode_words(list(chain.from_iterable(keys)))
            ids.append(found.ids)
            np.add.at(lengths, np.array(owners), _sums(found.lengths, numbers(map(len, keys), len(keys))))
            if not self.by_sentence:
                starts = start + np.cumsum(found.characters) - found.characters
                begins.append(np.repeat(starts, found.lengths) + found.offsets)
                start += found.characters.sum()
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
