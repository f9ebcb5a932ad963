"""Documents as the flat arrays of a split: tokens, and where sentences and documents begin."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from data.store.spool import Document, Segment
from data.tokens.encoding import DocumentEncoder

Hashes = Mapping[str, range]  # those of the documents of each split


class SplitPart(NamedTuple):
    """Some documents of a split, or a part of one.

    Attributes:
        tokens: of the split's type, an EOS token behind each document where there is to be one.
        sentence_starts, document_starts: int64[...], indices into `tokens`.
        counts: of the manifest.
        warnings: what was met in the documents, by name.
        goes_on: of a part of a document, which has neither start nor EOS here, whether there is another; else None.
    """

    tokens: np.ndarray
    sentence_starts: np.ndarray
    document_starts: np.ndarray
    counts: Counter[str]
    warnings: Counter[str]
    goes_on: bool | None = None


class Tokeniser:
    """Makes the documents of a spool into parts of splits.

    Args:
        encode: gives the tokens of documents.
        dtype: of the tokens.
        end: the token behind each document; None for none.
        unknown: the token that stands for what the vocabulary lacks.
    """

    def __init__(self, encode: DocumentEncoder, *, dtype: str, end: int | None, unknown: int) -> None:
        self.encode, self.dtype, self.end, self.unknown = encode, dtype, end, unknown

    def __call__(self, piece: tuple[Segment, Hashes]) -> dict[str, SplitPart]:
        """The documents of a segment, by split; one without a token leaves no trace but its count."""
        segment, chosen = piece
        return {split: self._part(list(segment.documents(hashes))) for split, hashes in chosen.items()}

    def _part(self, documents: Sequence[Document]) -> SplitPart:
        is_part = any(one.goes_on or one.sentences_before for one in documents)
        end = None if is_part else self.end
        texts, sentences = [one.text for one in documents], [one.sentences for one in documents]
        ids, lengths_S = self.encode(texts, sentences)  # S: sentences, D: documents
        counts_D = np.array([len(one) for one in sentences], dtype=np.int64)
        document_S = np.repeat(np.arange(len(texts)), counts_D)
        lengths_D = np.zeros(len(texts), dtype=np.int64)
        np.add.at(lengths_D, document_S, lengths_S)
        is_held_D, is_held_S = lengths_D > 0, lengths_S > 0
        ends_before_D = (np.cumsum(is_held_D) - is_held_D) * (end is not None)
        starts_D = np.cumsum(lengths_D) - lengths_D + ends_before_D
        starts_S = np.cumsum(lengths_S) - lengths_S + ends_before_D[document_S]
        tokens = ids.astype(self.dtype)
        if end is not None:
            tokens = np.insert(tokens, np.cumsum(lengths_D)[is_held_D], end)
        bytes_S = np.concatenate([np.zeros(0, dtype=np.int64), *map(_bytes_of, texts, sentences)])
        counts = Counter(
            tokens=len(tokens),
            sentences=int(is_held_S.sum()),
            documents=int(is_held_D.sum()),
            bytes=int(bytes_S[is_held_S].sum()),
            words=sum(len(text.split()) for text in texts),
            unknown=int((ids == self.unknown).sum()),
        )
        if is_part:
            del counts["documents"]
            none = np.zeros(0, dtype=np.int64)
            return SplitPart(tokens, starts_S[is_held_S], none, counts, Counter(), goes_on=documents[0].goes_on)
        warnings = Counter({"of one token": int((lengths_D == 1).sum())})
        if not is_held_D.all():
            warnings["empty"] = int((~is_held_D).sum())
        return SplitPart(tokens, starts_S[is_held_S], starts_D[is_held_D], counts, warnings)


def _bytes_of(text: str, sentences: np.ndarray) -> np.ndarray:
    """int64[sentences], the UTF-8 bytes of each sentence, of which the characters are given."""
    if text.isascii():
        return sentences.astype(np.int64)
    ends = np.cumsum(sentences, dtype=np.int64)
    bounds = zip((ends - sentences).tolist(), ends.tolist(), strict=True)
    return np.array([len(text[start:end].encode()) for start, end in bounds], dtype=np.int64)


class SplitWriter:
    """Writes the files of a split, part by part.

    Args:
        folder: is made.
        end: the token behind each document; None for none.
    """

    def __init__(self, folder: Path, *, end: int | None) -> None:
        folder.mkdir()
        self.end, self._tokens_of_open = end, 0  # of a document whose other parts follow
        self.files: dict[str, BinaryIO] = {
            name: (folder / f"{name}.bin").open("wb") for name in ("tokens", "sentence_starts", "document_starts")
        }
        self.counts = Counter(tokens=0, sentences=0, documents=0, bytes=0, words=0, unknown=0)

    def add(self, part: SplitPart) -> Counter[str]:
        """Appends documents, or the next part of one; returns what was met in them, by name."""
        if part.goes_on is not None:
            part = self._of_document(part, goes_on=part.goes_on)
        before = self.counts["tokens"]
        self.files["tokens"].write(part.tokens.tobytes())
        self.files["sentence_starts"].write((part.sentence_starts + before).tobytes())
        self.files["document_starts"].write((part.document_starts + before).tobytes())
        self.counts.update(part.counts)
        return part.warnings

    def _of_document(self, part: SplitPart, *, goes_on: bool) -> SplitPart:
        """The part with the start of its document, where that is here, and its EOS."""
        begins = not self._tokens_of_open and len(part.tokens) > 0
        length = self._tokens_of_open + len(part.tokens)
        self._tokens_of_open = length if goes_on else 0
        warnings = Counter[str]()
        tokens = part.tokens
        if not goes_on:
            warnings["empty" if not length else "of one token"] += length < 2
            if self.end is not None and length:
                tokens = np.append(tokens, np.array([self.end], dtype=tokens.dtype))
        counts = part.counts + Counter(documents=int(begins), tokens=len(tokens) - len(part.tokens))
        starts = np.zeros(int(begins), dtype=np.int64)
        return part._replace(tokens=tokens, document_starts=starts, counts=counts, warnings=warnings)

    def close(self) -> dict[str, Any]:
        """Closes the files and returns the counts."""
        for file in self.files.values():
            file.close()
        return dict(self.counts)
