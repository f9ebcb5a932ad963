"""Cleaned documents on disk, each with its hash and its sentences: what lies between the text and its tokens.

A spool is a sequence of records: the document's hash, its UTF-8 bytes and its number of sentences (three uint64), the
bytes, and the characters of each sentence (uint32).
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.text.cleaning import clean

Cut = Callable[[str], Iterable[str]]  # a document into its sentences; joined they are the document
CHARACTERS_AT_ONCE = 1_000_000  # of documents that are cleaned, and later tokenised, in one go
_DOCUMENTS_AT_ONCE = 8_192
_SENTENCES_AT_ONCE = 4_096
_GOLDEN = 0x9E3779B9  # 2^32 / golden ratio: its multiples spread evenly over 32 bits
_HEADER = struct.Struct("<QQQ")


def document_hash(text: str) -> int:
    """64 bits of the SHA-256 of a document: what decides, on every machine alike, to which split it belongs."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class Document(NamedTuple):
    """A cleaned document.

    Attributes:
        key: its hash.
        text: not empty.
        sentences: uint32[sentences], characters of each.
    """

    key: int
    text: str
    sentences: np.ndarray


class Cleaned(NamedTuple):
    """Some cleaned documents.

    Attributes:
        records: of a spool.
        num_documents: that hold text.
        num_bytes: of their text.
        extremes: the least and the greatest of their hashes; empty where there is none.
        characters: `all`, and those that are `bad`, because they stand for bytes that are not UTF-8.
        warnings: what was met in them, by name.
    """

    records: bytes
    num_documents: int
    num_bytes: int
    extremes: list[int]
    characters: Counter[str]
    warnings: Counter[str]


class Cleaner:
    """Cleans documents and finds their sentences."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut

    def __call__(self, texts: list[str]) -> Cleaned:
        """The documents that hold text."""
        warnings, characters = Counter[str](), Counter[str](all=0, bad=0)
        records, keys = bytearray(), list[int]()
        num_bytes = 0
        for text in texts:
            warnings["read"] += 1
            if not (cleaned := clean(text, warnings)):
                continue
            encoded = cleaned.encode()
            lengths = np.array([len(sentence) for sentence in self.cut(cleaned)], dtype="<u4")
            keys.append(document_hash(cleaned))
            records += _HEADER.pack(keys[-1], len(encoded), len(lengths)) + encoded + lengths.tobytes()
            num_bytes += len(encoded)
            characters.update(all=len(cleaned), bad=cleaned.count("\ufffd"))
        extremes = [min(keys), max(keys)] if keys else []
        return Cleaned(bytes(records), len(keys), num_bytes, extremes, characters, warnings)


def in_pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts, as many together as are cleaned in one go."""
    piece, size = list[str](), 0
    for text in texts:
        piece.append(text)
        size += len(text)
        if size >= CHARACTERS_AT_ONCE or len(piece) >= _DOCUMENTS_AT_ONCE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


class Segment(NamedTuple):
    """Some records of a spool: where they lie in the file, and how many bytes of text they hold."""

    path: Path
    start: int
    size: int
    num_bytes: int

    def documents(self, chosen: range) -> Iterator[Document]:
        """The documents whose hashes are in `chosen`, in order."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            records = memoryview(file.read(self.size))
        place = 0
        while place < len(records):
            key, num_bytes, num_sentences = _HEADER.unpack_from(records, place)
            text = place + _HEADER.size
            lengths = text + num_bytes
            place = lengths + 4 * num_sentences
            if key in chosen:
                sentences = np.frombuffer(records[lengths:place], dtype="<u4")
                yield Document(key, str(records[text:lengths], "utf-8"), sentences)


class Spool:
    """The cleaned documents of a corpus, in order.

    Attributes:
        segments: of the file.
        num_documents: in it.
        num_bytes: of their text.
        extremes: the least and the greatest hash; empty where there is no document.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()  # for processes that stand in another folder
        self.segments: list[Segment] = []
        self.num_documents = self.num_bytes = self.size = 0
        self.extremes: list[int] = []
        self.path.touch()

    def add(self, cleaned: Cleaned) -> None:
        """Appends documents."""
        if not cleaned.records:
            return
        with self.path.open("ab") as file:
            file.write(cleaned.records)
        self.segments.append(Segment(self.path, self.size, len(cleaned.records), cleaned.num_bytes))
        self.size += len(cleaned.records)
        self.num_documents += cleaned.num_documents
        self.num_bytes += cleaned.num_bytes
        every = [*self.extremes, *cleaned.extremes]
        self.extremes = [min(every), max(every)]

    def documents(self, chosen: range) -> Iterator[Document]:
        """The documents whose hashes are in `chosen`, in order."""
        for segment in self.segments:
            yield from segment.documents(chosen)

    def sample(self, chosen: range, wanted: int) -> Iterator[list[str]]:
        """Sentences of every document, evenly spread, as many as make `wanted` bytes; some thousand at a time.

        Whole documents would not do: of a few enormous ones it might take none.
        """
        # The first stores reckoned with two numbers before each document; the sample must stay theirs.
        share = min(1.0, wanted / max(self.num_bytes + 16 * self.num_documents, 1))
        return sampled(self.documents(chosen), share)


def sampled(documents: Iterable[Document], share: float) -> Iterator[list[str]]:
    """That share of the sentences of every document, some thousand at a time."""
    for key, text, lengths in documents:
        numbers = np.arange(len(lengths), dtype=np.uint64)
        draws = (np.uint64(key % 2**32) + numbers * np.uint64(_GOLDEN)) % np.uint64(2**32)
        taken = np.flatnonzero(draws < share * 2**32)
        ends = np.cumsum(lengths, dtype=np.int64)
        starts = (ends - lengths)[taken].tolist()
        bounds = list(zip(starts, ends[taken].tolist(), strict=True))
        for first in range(0, len(bounds), _SENTENCES_AT_ONCE):
            yield [text[start:end] for start, end in bounds[first : first + _SENTENCES_AT_ONCE]]
