"""Documents as tokens: exactly those of the whole text, though each of its words is encoded but once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from common.errors import UserError
from data.tokens.pieces import cuts_before_blanks, cuts_before_white_space
from data.tokens.word_encoding import CUT, Key, WordEncoder, key_of, keys_of

WHOLE_CHARACTERS = 20_000_000  # of one document that is encoded at once: its tokens and offsets take 2 GB
CHARACTERS_AT_ONCE = 1_000_000  # of texts whose words are looked up together


def _as_words(texts: Sequence[str]) -> list[Key]:
    """The keys of texts of which each is a word to its tokenizer."""
    return list(map(key_of, texts))


def _whole(text: str) -> list[str]:
    return [text]


def _parts(text: str) -> Iterator[str]:
    """A long text in several parts, cut as words are."""
    start = 0
    while len(text) - start > CHARACTERS_AT_ONCE and (cut := CUT.search(text, start + CHARACTERS_AT_ONCE)):
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]


def _groups(texts: Iterable[str], cut: Callable[[str], Iterable[str]]) -> Iterator[list[str]]:
    """Texts, as many together as are looked up at once; a longer one is cut into parts."""
    group, size = list[str](), 0
    for text in texts:
        for part in (text,) if len(text) <= CHARACTERS_AT_ONCE else cut(text):
            group.append(part)
            size += len(part)
            if size >= CHARACTERS_AT_ONCE:
                yield group
                group, size = [], 0
    if group:
        yield group


def _stretches(documents: Sequence[str], starts: Sequence[int]) -> Iterator[str]:
    """Documents, cut where sentences begin, but not where words are cut anyway: before a blank behind a word."""
    joined = "".join(documents)
    cuts = (at for at in starts if not at or joined[at : at + 1] != " " or joined[at - 1].isspace())
    return (joined[start:end] for start, end in pairwise([*cuts, len(joined)]))


class DocumentEncoder:
    """Gives the tokens of documents by their sentences; it goes to other processes as its tokenizer alone.

    A tokenizer that cuts before white space, and puts nothing before a text, sees in each sentence what it sees in the
    whole text, and its words are cut where sentences begin. Any other is given documents, whose tokens belong to the
    sentence in which they begin: word by word, where its way of cutting text is known, and else whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.by_sentence = cuts_before_white_space(tokenizer)
        self.by_word = self.by_sentence or cuts_before_blanks(tokenizer)
        self._keys_of = keys_of if self.by_word else _as_words
        self._encode_words = WordEncoder(tokenizer, with_offsets=not self.by_sentence)

    def __reduce__(self) -> tuple[Any, ...]:
        return _document_encoder, (self.tokenizer.to_str(), self.tokenizer.encode_special_tokens)

    def _tokens_of(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of texts, and where each begins in all of their characters, or where its word does."""
        ids, begins = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int64)]
        start = 0
        for group in _groups(texts, _parts if self.by_word else _whole):
            found = self._encode_words(self._keys_of(group))
            starts = start + np.cumsum(found.characters) - found.characters
            ids.append(found.ids)
            begins.append(np.repeat(starts, found.lengths) + found.offsets)
            start += found.characters.sum()
        return np.concatenate(ids), np.concatenate(begins)

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
        starts = np.cumsum(characters) - characters
        longest = max(map(len, documents), default=0)
        if longest > WHOLE_CHARACTERS and not self.by_word:
            raise UserError(
                f"a document of {longest:,} characters is too long for this data.tokenizer, which must read a document "
                f"whole and takes {WHOLE_CHARACTERS:,} at most: cut the text with data.documents (paragraph or line), "
                f"or train a tokenizer (data.tokenizer = byte_bpe)"
            )
        ids, begins = self._tokens_of(_stretches(documents, starts.tolist()) if self.by_sentence else documents)
        firsts = np.searchsorted(np.maximum.accumulate(begins), starts, side="left")
        return ids, np.diff(firsts, append=len(ids))


def _document_encoder(content: str, encode_special_tokens: bool) -> DocumentEncoder:
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = encode_special_tokens
    return DocumentEncoder(tokenizer)
