"""Documents as the flat arrays of a split: tokens, and where sentences and documents begin."""

from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from data.store.spool import Segment
from data.tokens.encoding import DocumentEncoder


class SplitPart(NamedTuple):
    """Some documents of a split.

    Attributes:
        tokens: of the split's type, an EOS token behind each document where there is to be one.
        sentence_starts, document_starts: int64[...], indices into `tokens`.
        counts: of the manifest.
        warnings: what was met in the documents, by name.
    """

    tokens: np.ndarray
    sentence_starts: np.ndarray
    document_starts: np.ndarray
    counts: Counter[str]
    warnings: Counter[str]


class Tokeniser:
    """Makes the documents of a spool into parts of a split.

    Args:
        encode: gives the tokens of documents.
        chosen: hashes of the documents that are taken.
        dtype: of the tokens.
        end: the token behind each document; None for none.
        unknown: the token that stands for what the vocabulary lacks.
    """

    def __init__(self, encode: DocumentEncoder, *, chosen: range, dtype: str, end: int | None, unknown: int) -> None:
        self.encode, self.chosen, self.dtype, self.end, self.unknown = encode, chosen, dtype, end, unknown

    def __call__(self, segment: Segment) -> SplitPart:
        """The documents of a segment; one without a token leaves no trace but its count."""
        documents = list(segment.documents(self.chosen))
        texts, sentences = [one.text for one in documents], [one.sentences for one in documents]
        ids, lengths_S = self.encode(texts, sentences)  # S: sentences, D: documents
        counts_D = np.array([len(one) for one in sentences], dtype=np.int64)
        document_S = np.repeat(np.arange(len(texts)), counts_D)
        lengths_D = np.zeros(len(texts), dtype=np.int64)
        np.add.at(lengths_D, document_S, lengths_S)
        is_held_D, is_held_S = lengths_D > 0, lengths_S > 0
        ends_before_D = (np.cumsum(is_held_D) - is_held_D) * (self.end is not None)
        starts_D = np.cumsum(lengths_D) - lengths_D + ends_before_D
        starts_S = np.cumsum(lengths_S) - lengths_S + ends_before_D[document_S]
        tokens = ids.astype(self.dtype)
        if self.end is not None:
            tokens = np.insert(tokens, np.cumsum(lengths_D)[is_held_D], self.end)
        bytes_S = np.concatenate([np.zeros(0, dtype=np.int64), *map(_bytes_of, texts, sentences)])
        counts = Counter(
            tokens=len(tokens),
            sentences=int(is_held_S.sum()),
            documents=int(is_held_D.sum()),
            bytes=int(bytes_S[is_held_S].sum()),
            words=sum(len(text.split()) for text in texts),
            unknown=int((ids == self.unknown).sum()),
        )
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
    """Writes the files of a split, part by part."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.files: dict[str, BinaryIO] = {
            name: (folder / f"{name}.bin").open("wb") for name in ("tokens", "sentence_starts", "document_starts")
        }
        self.counts = Counter(tokens=0, sentences=0, documents=0, bytes=0, words=0, unknown=0)

    def add(self, part: SplitPart) -> None:
        """Appends documents."""
        before = self.counts["tokens"]
        self.files["tokens"].write(part.tokens.tobytes())
        self.files["sentence_starts"].write((part.sentence_starts + before).tobytes())
        self.files["document_starts"].write((part.document_starts + before).tobytes())
        self.counts.update(part.counts)

    def close(self) -> dict[str, Any]:
        """Closes the files and returns the counts."""
        for file in self.files.values():
            file.close()
        return dict(self.counts)
