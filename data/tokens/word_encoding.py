"""Words as tokens: each is encoded once and looked up from then on.

A natural text is a few hundred thousand words that come again and again, and an encoder takes ten times as long for a
word as a dictionary takes to find it. A word includes the white space before it. Most begin with a blank, and are
looked up by what is behind it, which `str.split` gives in a fifth of the time that a pattern takes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from data.tokens.joined_words import bytes_of_tokens, encoded_together, ids_of, numbers

TEXTS_TOGETHER = 32  # that are cut into words at once
KEPT_CHARACTERS = 8_000_000  # of the words that are kept with their tokens, about 200 MB in all
CUT = re.compile(r"(?<=\S) ")  # a text is cut into words before each blank that is not behind other white space
Key = str | tuple[str]  # of a word: what is behind its blank, or a word that does not begin with one


def key_of(word: str) -> Key:
    """What a word is looked up by."""
    return word[1:] if word.startswith(" ") else (word,)


def word_of(key: Key) -> str:
    """The word that has this key."""
    return f" {key}" if isinstance(key, str) else key[0]


def _by_blanks(texts: Sequence[str]) -> list[Key] | None:
    """The keys of the words of texts, where white space is one blank or begins a line; None where it is anything else.

    They are cut in one go, with a blank between texts that no word keeps.
    """
    joined = " ".join([text.removeprefix(" ") for text in texts])
    has_other = "  " in joined or "\n " in joined or joined.startswith(" ")
    if has_other or not joined.replace("\n", "").isprintable():
        return None
    keys: list[Key] = list(joined.split(" "))
    first = 0
    for text in texts:
        has_blank = text.startswith(" ")
        if not has_blank:
            keys[first] = (str(keys[first]),)
        first += text.count(" ") + 1 - has_blank
    return keys


def _by_pattern(text: str) -> list[Key]:
    first, *others = CUT.split(text)
    return [key_of(first), *others]


def keys_of(texts: Sequence[str]) -> list[Key]:
    """The keys of the words of texts, in order."""
    found: list[Key] = []
    texts = [text for text in texts if text]
    for first in range(0, len(texts), TEXTS_TOGETHER):
        some = texts[first : first + TEXTS_TOGETHER]
        keys = _by_blanks(some)
        if keys is None:
            for text in some:
                found += _by_blanks([text]) or _by_pattern(text)
        else:
            found += keys
    return found


def _runs(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64[...], the places of runs that begin at `starts` and have `lengths`, one behind another."""
    places = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    places += np.arange(len(places))
    return places


class Encoded(NamedTuple):
    """Tokens of words, one word behind another.

    Attributes:
        ids: int32[tokens].
        offsets: int32[tokens], characters from the start of its word to each token; zeros where they are not wanted.
        lengths: int64[words], tokens of each word.
        characters: int64[words], of each word.
    """

    ids: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    characters: np.ndarray

    def of(self, places: np.ndarray) -> "Encoded":
        """Words of these, by their places."""
        starts, lengths = (np.cumsum(self.lengths) - self.lengths)[places], self.lengths[places]
        tokens = _runs(starts, lengths)
        return Encoded(self.ids[tokens], self.offsets[tokens], lengths, self.characters[places])

    def followed_by(self, other: "Encoded") -> "Encoded":
        """These words, and others behind them."""
        return Encoded(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


NOTHING = Encoded(*(np.zeros(0, dtype=dtype) for dtype in ("int32", "int32", "int64", "int64")))


class _Places(dict[Key, int]):
    """The place of each word by its key, in the order in which they were first met.

    Attributes:
        new: keys that were met since this was emptied.
    """

    def __init__(self, places: Mapping[Key, int]) -> None:
        super().__init__(places)
        self.new: list[Key] = []

    def __missing__(self, key: Key) -> int:
        self[key] = place = len(self)
        self.new.append(key)
        return place


class WordEncoder:
    """Encodes words, of which it keeps those that it has met, or where these are too many, those met most often.

    Args:
        tokenizer: of the words.
        with_offsets: whether the offsets of tokens are wanted, which take as long as the tokens.
    """

    def __init__(self, tokenizer: Tokenizer, *, with_offsets: bool) -> None:
        self.tokenizer, self.with_offsets = tokenizer, with_offsets
        self._bytes_of = None if with_offsets else bytes_of_tokens(tokenizer)
        self._places = _Places({})
        self._known, self._met = NOTHING, np.zeros(0, dtype=np.int64)  # how often each word was

    def _encode(self, words: Sequence[str]) -> Encoded:
        characters = numbers(map(len, words), len(words))
        together = None if self._bytes_of is None else encoded_together(self.tokenizer, words, self._bytes_of)
        if together is not None:
            ids, lengths = together
            return Encoded(ids, np.zeros_like(ids), lengths, characters)
        encode = self.tokenizer.encode_batch if self.with_offsets else self.tokenizer.encode_batch_fast
        encodings = encode(words, add_special_tokens=False)
        ids, lengths = ids_of(encodings)
        offsets = np.zeros_like(ids)
        if self.with_offsets:
            begins = (start for encoding in encodings for start, _ in encoding.offsets)
            offsets = np.fromiter(begins, dtype=np.int32, count=len(ids))
        return Encoded(ids, offsets, lengths, characters)

    def _learn(self) -> None:
        """Encodes the words that were met for the first time."""
        if new := self._places.new:
            self._known = self._known.followed_by(self._encode(list(map(word_of, new))))
            self._met = np.concatenate([self._met, np.zeros(len(new), dtype=np.int64)])
            self._places.new = []

    def _forget(self) -> None:
        """Keeps the words met most often, half as many characters as may be kept."""
        order = np.argsort(-self._met, kind="stable")
        is_kept = np.cumsum(self._known.characters[order]) <= KEPT_CHARACTERS // 2
        kept = np.sort(order[is_kept])
        keys = list(self._places)
        self._places = _Places({keys[place]: number for number, place in enumerate(kept.tolist())})
        self._known, self._met = self._known.of(kept), self._met[kept]

    def __call__(self, keys: Sequence[Key]) -> Encoded:
        """The tokens of the words that have these keys."""
        places = numbers(map(self._places.__getitem__, keys), len(keys))
        self._learn()
        self._met += np.bincount(places, minlength=len(self._met))
        found = self._known.of(places)
        if self._known.characters.sum() > KEPT_CHARACTERS:
            self._forget()
        return found
