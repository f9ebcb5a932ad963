"""A corpus: documents, wherever their text comes from, read one after another.

`Corpus` is what to read: hub datasets, local files, the embedded default, or several of these; `Corpus.texts` reads
it, never holding more than a little of it in memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import UserError
from data.files.encodings import AUTO
from data.files.local import FORMATS, is_packed, local_files, looks_like_a_path, suffix_of
from data.text.cleaning import line_sentences, sentences
from data.text.parts import EMBEDDED, STREAMS, CorpusPart, DocumentRule

# Settings that each source may have of its own.
BY_PART = ("configuration", "split", "revision", "text_column", "encoding")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What to read.

    Of `BY_PART` each is one for all sources, or a tuple with one for each.

    Args:
        source: `embedded`, hub datasets' names, and local files, folders (also of `save_to_disk`) and globs.
        configuration: configuration of a hub dataset (`wikitext-2-raw-v1`).
        split: split of a hub dataset, or of a folder in which `datasets` saved several.
        revision: commit, branch or tag of a hub dataset; by default its main branch.
        text_column: column that holds the text (jsonl, json, csv, tsv, parquet and hub datasets).
        documents: what one document of a `.txt` file is. `auto`: a file, where several are given; the paragraphs
            between blank lines, where it is one file. `sentence_per_line`: what blank lines part, and each line of
            it is a sentence (the form of BERT's own data); so are the lines of texts from other kinds of files.
        encoding: of files that are not UTF-8, as `checked_encoding` gives it; `auto` follows byte-order marks.
        key: the setting that named the source; for messages only.

    Raises:
        UserError: where a tuple has not one for each source.
    """

    source: tuple[str, ...] = (EMBEDDED,)
    configuration: str | tuple[str | None, ...] | None = None
    split: str | tuple[str, ...] = "train"
    revision: str | tuple[str | None, ...] | None = None
    text_column: str | tuple[str, ...] = "text"
    documents: DocumentRule = "auto"
    encoding: str | tuple[str, ...] = AUTO
    key: str = "data.corpus"

    def __post_init__(self) -> None:
        for name in BY_PART:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.source):
                raise UserError(
                    f"data.{name} = {list(value)} has {len(value)} for the {len(self.source)} of {self.key}: give one "
                    f"for all, or one for each"
                )

    @cached_property
    def parts(self) -> list[CorpusPart]:
        """The sources one by one."""
        settings = [
            {name: value[place] if isinstance(value := getattr(self, name), tuple) else value for name in BY_PART}
            for place in range(len(self.source))
        ]
        return [CorpusPart(name=name, key=self.key, **own) for name, own in zip(self.source, settings, strict=True)]

    def files(self) -> list[Path]:
        """The local files this corpus is read from; empty for the embedded corpus and for hub datasets.

        Raises:
            UserError: where a path names nothing, or a file's kind is unknown.
        """
        if not all(self.source or [""]):
            raise UserError(f"{self.key} names nothing: give '{EMBEDDED}', a hub dataset, or files")
        return [file for part in self.parts for file in part.files]

    def hidden_files(self) -> list[Path]:
        """The hidden files of folders and globs, which are left out."""
        return [file for part in self.parts for file in part.hidden_files]

    def held_out(self, validation: tuple[str, ...]) -> "Corpus":
        """The corpus that validation reads: another split of those sources that have several, else other files."""
        are_files = any(looks_like_a_path(name) or local_files(name) for name in validation)
        kept = [] if are_files else [place for place, part in enumerate(self.parts) if part.has_splits]
        settings = {name: getattr(self, name) for name in BY_PART}
        if not kept:
            own = {name: None for name in ("configuration", "revision") if isinstance(settings[name], tuple)}
            own |= {"split": "train"} if isinstance(self.split, tuple) else {}
            own |= {"encoding": AUTO} if isinstance(self.encoding, tuple) else {}
            return replace(self, key="data.validation", source=validation, **own)
        chosen = {
            name: tuple(value[place] for place in kept) for name, value in settings.items() if isinstance(value, tuple)
        }
        source = tuple(self.source[place] for place in kept)
        return replace(self, key="data.validation", source=source, **{**chosen, "split": "+".join(validation)})

    def document_rule(self) -> DocumentRule:
        """`documents` with `auto` decided."""
        if self.documents != "auto":
            return self.documents
        return "paragraph" if len(self.files()) == 1 else "file"

    @property
    def cut(self) -> Callable[[str], Iterator[str]]:
        """What cuts a cleaned document into sentences; joined they are the document."""
        return line_sentences if self.documents == "sentence_per_line" else sentences

    def num_bytes(self) -> int | None:
        """Bytes of the files, a little more than those of their text; None where they are packed, or no files."""
        files = self.files()
        is_plain = all(part.files for part in self.parts) and all(
            not is_packed(file) and FORMATS[suffix_of(file)] in STREAMS for file in files
        )
        return sum(file.stat().st_size for file in files) if is_plain else None

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the text without reading it as documents: file hashes, versions, or the hub's commits."""
        identity: dict[str, Any] = asdict(self)
        del identity["key"], identity["encoding"], identity["revision"]  # each file has an encoding of its own
        if self.files():
            identity["documents"] = self.document_rule()
        if len(self.parts) == 1 and not self.files():
            return {**identity, **self.parts[0].identities()[0]}
        identity["source"] = [{**found, **self._own(part)} for part in self.parts for found in part.identities()]
        return identity

    def _own(self, part: CorpusPart) -> dict[str, Any]:
        """What names a source among others beside its content: its settings, where they are its own."""
        if not part.files:
            return {name: getattr(part, name) for name in ("name", *BY_PART) if name not in ("revision", "encoding")}
        return {"text_column": part.text_column} if isinstance(self.text_column, tuple) else {}

    def texts(self) -> Iterator[str]:
        """The documents' texts as they stand, in order, "" for those that are missing; not yet cleaned.

        Raises:
            UserError: where a source cannot be read, has no such column, or is no longer what was hashed.
        """
        rule = self.document_rule()
        for part in self.parts:
            yield from part.texts(rule)
