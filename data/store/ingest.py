"""Text to tokens: cleaned documents, set apart by hash, tokenised in parallel and written as flat arrays.

Nothing is held in memory but a few thousand sentences at a time, however large the corpus.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tokenizers import Tokenizer

from common.errors import UserError
from data.store.fit import SAMPLE_BYTES as FIT_SAMPLE_BYTES
from data.store.fit import described, warn_of_misfit, warn_of_unknown
from data.store.pieces import Cut, sentence_tokens
from data.store.recipe import Recipe
from data.store.tokenizer import KINDS, load_tokenizer, train_tokenizer, vocabulary_of
from data.text.cleaning import clean
from data.text.corpora import Corpus

SPLITS = ("train", "validation")
TOKENIZER_SAMPLE_BYTES = 200_000_000  # of training text, from which a tokenizer is trained
_GOLDEN = 0x9E3779B9  # 2^32 / golden ratio: its multiples spread evenly over 32 bits
_HEADER = struct.Struct("<QQ")  # of a document in the spool: hash, number of bytes


def document_hash(text: str) -> int:
    """64 bits of the SHA-256 of a document: what decides, on every machine alike, to which split it belongs."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _warn_of_replacements(corpus: Corpus, characters: Counter[str], report: Callable[[str], None]) -> None:
    """Reports which share of the text stands for bytes that were not UTF-8."""
    if bad := characters["bad"]:
        report(
            f"warning: {bad:,} of {characters['all']:,} characters ({bad / characters['all']:.2%}) of {corpus.key} are "
            f"U+FFFD, which stands for bytes that are not UTF-8; where they are of another encoding, name it with "
            f"data.encoding"
        )


def _spool(corpus: Corpus, path: Path, warnings: Counter[str], report: Callable[[str], None]) -> list[int]:
    """Writes the cleaned documents of a corpus one after another; returns the least and the greatest hash.

    Raises:
        UserError: where the text column does not hold text.
    """
    extremes: list[int] = []
    characters: Counter[str] = Counter()
    if hidden := len(corpus.hidden_files()):
        warnings["hidden files (left out)"] += hidden
    with path.open("wb") as file:
        for text in corpus.texts():
            warnings["read"] += 1
            if text is not None and not isinstance(text, str):
                kind = type(text).__name__
                raise UserError(f"data.text_column = '{corpus.text_column}' holds {kind}, not text: {text!r:.60}")
            if cleaned := clean(text or "", warnings):
                encoded, key = cleaned.encode(), document_hash(cleaned)
                file.write(_HEADER.pack(key, len(encoded)) + encoded)
                extremes = [min([key, *extremes]), max([key, *extremes])]
                characters.update(all=len(cleaned), bad=cleaned.count("\ufffd"))
    _warn_of_replacements(corpus, characters, report)
    return extremes


def _spooled(path: Path) -> Iterator[tuple[int, str]]:
    """The documents of a spool with their hashes, in order."""
    with path.open("rb") as file:
        while header := file.read(_HEADER.size):
            key, length = _HEADER.unpack(header)
            yield key, file.read(length).decode()


def _tokenizer_sample(texts: Iterator[tuple[int, str]], num_bytes: int, cut: Cut, wanted: int) -> Iterator[str]:
    """Sentences of every document, evenly spread, as many as make `wanted` bytes.

    Whole documents would not do: of a few enormous ones it might take none.
    """
    share = min(1.0, wanted / max(num_bytes, 1))
    for key, text in texts:
        for number, sentence in enumerate(cut(text)):
            if (key + number * _GOLDEN) % 2**32 < share * 2**32:
                yield sentence


class _SplitWriter:
    """Appends tokens to the files of one split and notes where documents and sentences begin."""

    def __init__(self, folder: Path, dtype: str, end: int | None, unknown: int, warnings: Counter[str]) -> None:
        folder.mkdir()
        self.files: dict[str, BinaryIO] = {
            name: (folder / f"{name}.bin").open("wb") for name in ("tokens", "sentence_starts", "document_starts")
        }
        self.dtype, self.end, self.unknown, self.warnings = dtype, end, unknown, warnings
        self.counts = Counter(tokens=0, sentences=0, documents=0, bytes=0, words=0, unknown=0)
        self._document_tokens = 0

    def _append(self, name: str, values: list[int], dtype: str) -> None:
        self.files[name].write(np.asarray(values, dtype=dtype).tobytes())

    def add_sentence(self, ids: list[int], num_bytes: int) -> None:
        """Adds the next sentence of the open document."""
        if not ids:
            return
        if self._document_tokens == 0:
            self._append("document_starts", [self.counts["tokens"]], "int64")
            self.counts["documents"] += 1
        self._append("sentence_starts", [self.counts["tokens"]], "int64")
        self._append("tokens", ids, self.dtype)
        self._document_tokens += len(ids)
        self.counts.update(tokens=len(ids), sentences=1, bytes=num_bytes, unknown=ids.count(self.unknown))

    def close_document(self) -> None:
        """Ends the open document; one without a token leaves no trace but its count."""
        if self._document_tokens == 0:
            self.warnings["empty"] += 1
        elif self.end is not None:
            self._append("tokens", [self.end], self.dtype)
            self.counts["tokens"] += 1
        self.warnings["of one token"] += self._document_tokens == 1
        self._document_tokens = 0

    def close(self) -> dict[str, Any]:
        for file in self.files.values():
            file.close()
        return dict(self.counts)


def _write_split(texts: Iterator[str], cut: Cut, tokenizer: Tokenizer, writer: _SplitWriter) -> None:
    """Tokenises documents, thousands of sentences at a time on all cores."""

    def counted() -> Iterator[str]:
        for text in texts:
            writer.counts["words"] += len(text.split())
            yield text

    for sentences in sentence_tokens(counted(), cut, tokenizer):
        for ids, num_bytes in sentences:
            writer.add_sentence(ids, num_bytes)
        if not sentences:
            writer.close_document()


def _threshold(recipe: Recipe, extremes: list[int]) -> int:
    """Hash below which a document is set aside: the wanted share of them, but at least one, and never all.

    Raises:
        UserError: where there are not two different documents to part.
    """
    least, greatest = extremes
    if least == greatest:
        raise UserError(
            "data.corpus holds 1 document, and validation needs another: name one with data.validation, or cut the "
            "file into documents with data.documents (paragraph or line)"
        )
    return min(max(int(recipe.validation_fraction * 2**64), least + 1), greatest)


def ingest(recipe: Recipe, folder: Path, report: Callable[[str], None]) -> tuple[dict[str, Any], Counter[str]]:
    """Writes the tokenizer and both splits into `folder`.

    Returns the counts for the manifest, and what was met in the documents.

    Raises:
        UserError: where the corpus cannot be read, holds no text, or leaves nothing to validate on.
    """
    warnings: Counter[str] = Counter()
    spools = {split: folder / f"{split}.spool" for split in SPLITS}
    report(f"reading {', '.join(recipe.corpus.source)}")
    extremes = _spool(recipe.corpus, spools["train"], warnings, report)
    threshold = 0
    if recipe.validation and not _spool(recipe.validation, spools["validation"], warnings, report):
        raise UserError(f"data.validation = '{', '.join(recipe.validation.source)}' holds no text")
    if not extremes:
        raise UserError(f"data.corpus = '{', '.join(recipe.corpus.source)}' holds no text ({_listed(warnings)})")
    if not recipe.validation:
        threshold = _threshold(recipe, extremes)

    def documents(split: str) -> Iterator[tuple[int, str]]:
        if recipe.validation:
            return _spooled(spools[split])
        chosen = range(threshold, 2**64) if split == "train" else range(threshold)
        return ((key, text) for key, text in _spooled(spools["train"]) if key in chosen)

    num_bytes = spools["train"].stat().st_size
    if recipe.tokenizer in KINDS:
        report(f"training a {recipe.tokenizer} tokenizer of {recipe.vocab_size:,} ids")
        sample = _tokenizer_sample(documents("train"), num_bytes, recipe.corpus.sentences, TOKENIZER_SAMPLE_BYTES)
        size, vocabulary_format = recipe.vocab_size, recipe.vocabulary_format
        tokenizer = train_tokenizer(sample, kind=recipe.tokenizer, vocab_size=size, vocabulary_format=vocabulary_format)
    else:
        sha256 = recipe.description["tokenizer"]["sha256"]
        tokenizer = load_tokenizer(Path(recipe.tokenizer), recipe.vocabulary_format, sha256=sha256)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = vocabulary_of(tokenizer)
    counts: dict[str, Any] = {"dtype": "uint16" if vocabulary.size <= 2**16 else "uint32"}
    for split in SPLITS:
        report(f"tokenising {split}")
        end = vocabulary.eos if recipe.end_of_document else None
        writer = _SplitWriter(folder / split, counts["dtype"], end, vocabulary.unk, warnings)
        _write_split((text for _, text in documents(split)), recipe.corpus.sentences, tokenizer, writer)
        counts[split] = writer.close()
        if not counts[split]["tokens"]:
            raise UserError(f"data.corpus: the {split} split holds no token ({_listed(warnings)})")
        report(described(counts[split]))
        warn_of_unknown(counts[split], split, report)
    if recipe.tokenizer not in KINDS:
        sample = _tokenizer_sample(documents("train"), num_bytes, recipe.corpus.sentences, FIT_SAMPLE_BYTES)
        warn_of_misfit(sample, tokenizer, counts["train"]["tokens"], report)
    for spool in spools.values():
        spool.unlink(missing_ok=True)
    report(f"documents: {_listed(warnings)}")
    return counts, warnings


def _listed(warnings: Counter[str]) -> str:
    """`12 read, 3 empty (left out)`."""
    left_out = {"empty": "empty (left out)"}
    return (
        ", ".join(f"{count:,} {left_out.get(name, name)}" for name, count in warnings.items() if count) or "none read"
    )
