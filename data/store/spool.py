"""Cleaned documents on disk, each with its hash and its sentences: what lies between the text and its tokens."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.store.cleaner import HEADER, Cleaned

_SENTENCES_AT_ONCE = 4_096
_GOLDEN = 0x9E3779B9  # 2^32 / golden ratio: its multiples spread evenly over 32 bits


class Document(NamedTuple):
    """A cleaned document, or a part of one.

    Attributes:
        key: its hash.
        text: not empty.
        sentences: uint32[sentences], characters of each.
        sentences_before: of the document, in other parts.
        goes_on: whether there is another part.
    """

    key: int
    text: str
    sentences: np.ndarray
    sentences_before: int = 0
    goes_on: bool = False


class Segment(NamedTuple):
    """Some records of a spool: documents, or a part of one.

    Attributes:
        path: of the spool.
        start, size: where they lie in the file, in bytes.
        num_bytes: of their text.
        sentences_before: of the document that they go on with, in segments before.
        goes_on: whether the next segment goes on with their document.
    """

    path: Path
    start: int
    size: int
    num_bytes: int
    sentences_before: int = 0
    goes_on: bool = False

    def documents(self, chosen: range) -> Iterator[Document]:
        """The documents whose hashes are in `chosen`, in order; several parts of one that lie here are one."""
        before, parts, key = self.sentences_before, list[tuple[str, np.ndarray]](), 0
        for key, text, sentences, goes_on in self._records(chosen):
            parts.append((text, sentences))
            if not goes_on:
                yield _joined(key, parts, before, goes_on=False)
                before, parts = 0, []
        if parts:
            yield _joined(key, parts, before, goes_on=True)

    def _records(self, chosen: range) -> Iterator[tuple[int, str, np.ndarray, bool]]:
        with self.path.open("rb") as file:
            file.seek(self.start)
            records = memoryview(file.read(self.size))
        place = 0
        while place < len(records):
            key, num_bytes, num_sentences, goes_on = HEADER.unpack_from(records, place)
            text = place + HEADER.size
            lengths = text + num_bytes
            place = lengths + 4 * num_sentences
            if key in chosen:
                sentences = np.frombuffer(records[lengths:place], dtype="<u4")
                yield key, str(records[text:lengths], "utf-8"), sentences, goes_on


def _joined(key: int, parts: list[tuple[str, np.ndarray]], before: int, *, goes_on: bool) -> Document:
    if len(parts) == 1:
        return Document(key, *parts[0], before, goes_on)
    texts, sentences = zip(*parts, strict=True)
    return Document(key, "".join(texts), np.concatenate(sentences), before, goes_on)


def whole(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The same with each document in one segment."""
    first: Segment | None = None
    for segment in segments:
        if first is not None:
            first = first._replace(size=first.size + segment.size, num_bytes=first.num_bytes + segment.num_bytes)
        if not segment.goes_on:
            yield first or segment
            first = None
        elif first is None:
            first = segment._replace(goes_on=False)


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
        self._sentences_before = 0  # of a document that goes on
        self.path.touch()

    def add(self, cleaned: Cleaned) -> None:
        """Appends documents, or the next part of one."""
        if not cleaned.records:
            return
        with self.path.open("ab") as file:
            file.write(cleaned.records)
        before, left_open = self._sentences_before, cleaned.sentences_left_open
        self.segments.append(
            Segment(self.path, self.size, len(cleaned.records), cleaned.num_bytes, before, goes_on=left_open > 0)
        )
        self._sentences_before = before + left_open if left_open else 0
        self.size += len(cleaned.records)
        self.num_documents += cleaned.num_documents
        self.num_bytes += cleaned.num_bytes
        every = [*self.extremes, *cleaned.extremes]
        self.extremes = [min(every), max(every)]

    def sample(self, chosen: range, wanted: int) -> Iterator[list[str]]:
        """Sentences of every document, evenly spread, as many as make `wanted` bytes; some thousand at a time.

        Whole documents would not do: of a few enormous ones it might take none.
        """
        # The first stores reckoned with two numbers before each document; the sample must stay theirs.
        share = min(1.0, wanted / max(self.num_bytes + 16 * self.num_documents, 1))
        for segment in self.segments:
            yield from sampled(list(segment.documents(chosen)), share)


def sampled(documents: Sequence[Document], share: float) -> Iterator[list[str]]:
    """That share of the sentences of every document, some thousand at a time."""
    # S: sentences of all documents, whose texts are put together.
    counts = np.array([len(document.sentences) for document in documents], dtype=np.int64)
    lengths_S = np.concatenate([np.zeros(0, dtype=np.uint32), *(document.sentences for document in documents)])
    firsts = np.cumsum(counts) - counts
    before = np.array([document.sentences_before for document in documents], dtype=np.int64)
    numbers_S = (np.arange(len(lengths_S)) + np.repeat(before - firsts, counts)).astype(np.uint64)
    keys_S = np.repeat(np.array([document.key % 2**32 for document in documents], dtype=np.uint64), counts)
    draws_S = (keys_S + numbers_S * np.uint64(_GOLDEN)) % np.uint64(2**32)
    taken = np.flatnonzero(draws_S < share * 2**32)
    ends_S = np.cumsum(lengths_S, dtype=np.int64)
    bounds = list(zip((ends_S - lengths_S)[taken].tolist(), ends_S[taken].tolist(), strict=True))
    text = "".join(document.text for document in documents)
    for first in range(0, len(bounds), _SENTENCES_AT_ONCE):
        yield [text[start:end] for start, end in bounds[first : first + _SENTENCES_AT_ONCE]]
