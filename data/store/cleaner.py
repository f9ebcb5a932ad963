"""Documents cleaned and cut into sentences, as the records of a spool; an enormous one in parts.

A record is a document's hash, its UTF-8 bytes and its number of sentences (three uint64), and whether the next record
goes on with it (a byte); then the bytes, and the characters of each sentence (uint32). An enormous document is several
records, so that it is cut into sentences and encoded on all processors.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from data.text.cleaning import clean, parts_of

Cut = Callable[[str], Iterable[str]]  # a document into its sentences; joined they are the document
CHARACTERS_AT_ONCE = 1_000_000  # of documents that are cleaned, and later tokenised, in one go
ENORMOUS = 2 * CHARACTERS_AT_ONCE  # a longer document is cut into parts
_DOCUMENTS_AT_ONCE = 8_192
HEADER = struct.Struct("<QQQ?")


def document_hash(parts: Iterable[bytes]) -> int:
    """64 bits of the SHA-256 of a document: what decides, on every machine alike, to which split it belongs."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest()[:8], "big")


class DocumentPart(NamedTuple):
    """A part of an enormous document, which is cleaned already.

    Attributes:
        key: the document's hash.
        before: the white space that ends the part before, and begins a sentence of this one.
        text: as `parts_of` gives it.
        goes_on: whether there is another part.
        warnings: of the first part, what was met in the document.
    """

    key: int
    before: str
    text: str
    goes_on: bool
    warnings: Counter[str]

    def sentences(self, cut: Cut) -> list[str]:
        """Those of the document; white space at the end is left to the next part."""
        found = list(cut(self.text))
        found[0] = self.before + found[0]
        if self.goes_on:
            found[-1] = found[-1].rstrip()
        return found


def _record(key: int, encoded: bytes, sentences: list[str], *, goes_on: bool = False) -> bytes:
    lengths = struct.pack(f"<{len(sentences)}I", *map(len, sentences))
    return HEADER.pack(key, len(encoded), len(sentences), goes_on) + encoded + lengths


class Cleaned(NamedTuple):
    """Some cleaned documents, or a part of one.

    Attributes:
        records: of a spool.
        num_documents: that hold text, and end here.
        sentences_left_open: of a document that goes on behind them; 0 where none does.
        num_bytes: of their text.
        extremes: the least and the greatest of their hashes; empty where there is none.
        characters: `all`, and those that are `bad`, because they stand for bytes that are not UTF-8.
        warnings: what was met in them, by name.
    """

    records: bytes
    num_documents: int
    sentences_left_open: int
    num_bytes: int
    extremes: list[int]
    characters: Counter[str]
    warnings: Counter[str]


class Cleaner:
    """Cleans documents and finds their sentences."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut

    def __call__(self, piece: "list[str] | DocumentPart") -> Cleaned:
        """The documents that hold text, or the part of one."""
        if isinstance(piece, DocumentPart):
            sentences = piece.sentences(self.cut)
            cleaned = "".join(sentences)
            encoded = cleaned.encode()
            record = _record(piece.key, encoded, sentences, goes_on=piece.goes_on)
            characters, left_open = Counter(all=len(cleaned), bad=cleaned.count("\ufffd")), len(sentences)
            return Cleaned(
                record,
                num_documents=int(not piece.goes_on),
                sentences_left_open=left_open if piece.goes_on else 0,
                num_bytes=len(encoded),
                extremes=[piece.key, piece.key],
                characters=characters,
                warnings=piece.warnings,
            )
        warnings = Counter(read=len(piece))
        records, keys = bytearray(), list[int]()
        num_bytes = num_characters = num_bad = 0
        for text in piece:
            if not (cleaned := clean(text, warnings)):
                continue
            encoded = cleaned.encode()
            keys.append(document_hash([encoded]))
            records += _record(keys[-1], encoded, list(self.cut(cleaned)))
            num_bytes += len(encoded)
            num_characters += len(cleaned)
            num_bad += cleaned.count("\ufffd")
        extremes = [min(keys), max(keys)] if keys else []
        characters = Counter(all=num_characters, bad=num_bad)
        return Cleaned(bytes(records), len(keys), 0, num_bytes, extremes, characters, warnings)


def _in_parts(text: str) -> Iterator[DocumentPart]:
    """The parts of an enormous document; none where it is empty, or can be cut nowhere."""
    warnings = Counter(read=1)
    cleaned = clean(text, warnings)
    before, parts = "", parts_of(cleaned, CHARACTERS_AT_ONCE)
    part, following = next(parts), next(parts, None)
    if following is None:
        return
    starts = range(0, len(cleaned), CHARACTERS_AT_ONCE)
    key = document_hash(cleaned[start : start + CHARACTERS_AT_ONCE].encode() for start in starts)
    while part is not None:
        yield DocumentPart(key, before, part, following is not None, warnings)
        before, warnings = part[len(part.rstrip()) :], Counter[str]()
        part, following = following, next(parts, None)


def in_pieces(texts: Iterable[str]) -> Iterator[list[str] | DocumentPart]:
    """Texts, as many together as are cleaned in one go; an enormous one in parts."""
    piece, size = list[str](), 0
    for text in texts:
        if len(text) > ENORMOUS and (first := next(parts := _in_parts(text), None)):
            if piece:
                yield piece
            yield first
            yield from parts
            piece, size = [], 0
            continue
        piece.append(text)
        size += len(text)
        if size >= CHARACTERS_AT_ONCE or len(piece) >= _DOCUMENTS_AT_ONCE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
