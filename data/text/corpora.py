"""A corpus: documents, wherever their text comes from, read one after another.

`Corpus` is what to read (a hub name, local files, or the embedded default); `Corpus.texts` reads it, never holding
more than a little of it in memory.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError
from data.text.cleaning import line_sentences, sentences
from data.text.embedded import embedded_documents, versions
from data.text.encodings import AUTO, TextForm
from data.text.files import (
    FORMATS,
    changed_while_read,
    decoded_lines,
    files_of,
    form_of,
    hidden_files,
    local_files,
    saved_split,
    sha256_of_file,
    suffix_of,
)
from data.text.formats import RepeatedColumn, Rows, looked_up, rows_of
from data.text.sources import hub_revision, hub_rows, read_or_named

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

EMBEDDED = "embedded"
SUFFIXES = tuple(suffix for suffix, kind in FORMATS.items() if not kind.startswith("conll"))
FOLDER_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix != ".arrow")  # which lie in caches, too
STREAMS = {"text", "jsonl", "json"}  # of which one corpus may have several kinds
DocumentRule = Literal["auto", "file", "paragraph", "line", "sentence_per_line"]


def text_documents(
    path: Path, rule: DocumentRule, digest: "Digest | None" = None, encoding: str = AUTO
) -> Iterator[str]:
    """Documents of a text file: the whole of it, what blank lines part, or its lines."""
    lines = decoded_lines(path, digest, encoding)
    if rule == "file":
        yield "".join(lines)
    elif rule == "line":
        yield from lines
    else:
        for is_blank, group in itertools.groupby(lines, key=lambda line: not line.strip()):
            if not is_blank:
                yield "".join(group)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What to read.

    Args:
        source: `embedded`, a hub dataset's name, or local files, folders (also of `save_to_disk`) and globs.
        configuration: configuration of a hub dataset (`wikitext-2-raw-v1`).
        split: split of a hub dataset, or of a folder in which `datasets` saved several.
        revision: commit, branch or tag of a hub dataset; by default its main branch.
        text_column: column that holds the text (jsonl, json, csv, tsv, parquet and hub datasets).
        documents: what one document of a `.txt` file is. `auto`: a file, where several are given; the paragraphs
            between blank lines, where it is one file. `sentence_per_line`: what blank lines part, and each line of
            it is a sentence (the form of BERT's own data); so are the lines of texts from other kinds of files.
        encoding: of files that are not UTF-8, as `checked_encoding` gives it; `auto` follows byte-order marks.
        key: the setting that named the source; for messages only.
    """

    source: tuple[str, ...] = (EMBEDDED,)
    configuration: str | None = None
    split: str = "train"
    revision: str | None = None
    text_column: str = "text"
    documents: DocumentRule = "auto"
    encoding: str = AUTO
    key: str = "data.corpus"

    @property
    def is_embedded(self) -> bool:
        return self.source == (EMBEDDED,)

    def files(self) -> list[Path]:
        """The local files this corpus is read from; empty for the embedded corpus and for hub datasets.

        Raises:
            UserError: where a path names nothing, or a file's kind is unknown.
        """
        if self.is_embedded:
            return []
        if not all(self.source or [""]):
            raise UserError(f"{self.key} names nothing: give '{EMBEDDED}', a hub dataset, or files")
        names = tuple(saved_split(name, self.split, self.key) for name in self.source)
        files = files_of(names, key=self.key, folder_suffixes=FOLDER_SUFFIXES)
        for file in files:
            if suffix_of(file) not in SUFFIXES:
                kinds = ", ".join(sorted(SUFFIXES))
                raise UserError(f"{self.key}: '{file}' is none of {kinds} (or one of these with .gz)")
        return files

    def hidden_files(self) -> list[Path]:
        """The hidden files of folders and globs, which are left out."""
        return [file for name in self.source for file in hidden_files(name, FOLDER_SUFFIXES)] if self.files() else []

    def held_out(self, validation: tuple[str, ...]) -> "Corpus":
        """The corpus that validation reads: another split of a hub dataset or a saved one, else other files."""
        is_saved = len(self.source) == 1 and saved_split(self.source[0], self.split, self.key) != self.source[0]
        is_local = (self.is_embedded or self.files()) and not (is_saved and not local_files(validation[0]))
        change = {"source": validation} if is_local else {"split": validation[0]}
        return replace(self, key="data.validation", **change)

    def document_rule(self) -> DocumentRule:
        """`documents` with `auto` decided."""
        if self.documents != "auto":
            return self.documents
        return "paragraph" if len(self.hashed_files) == 1 else "file"

    @property
    def cut(self) -> Callable[[str], Iterator[str]]:
        """What cuts a cleaned document into sentences; joined they are the document."""
        return line_sentences if self.documents == "sentence_per_line" else sentences

    def num_bytes(self) -> int | None:
        """Bytes of the files, a little more than those of their text; None where they are packed, or no files."""
        files = [file for file, _ in self.hashed_files]
        is_plain = files and all(file.suffix != ".gz" and FORMATS[suffix_of(file)] in STREAMS for file in files)
        return sum(file.stat().st_size for file in files) if is_plain else None

    @cached_property
    def hashed_files(self) -> list[tuple[Path, str]]:
        """`files` with the hash of each, taken once: the text is what they held then, and `texts` holds to it."""
        return [(file, sha256_of_file(file)) for file in self.files()]

    @cached_property
    def commit(self) -> str | None:
        """The commit of a hub dataset, taken once: the text is what it held then. None where it cannot be learned."""
        return hub_revision(self.source[0], self.configuration, self.revision)

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the text without reading it as documents: file hashes, versions, or the hub's names."""
        identity: dict[str, Any] = asdict(self)
        del identity["key"], identity["encoding"], identity["revision"]  # each file has an encoding of its own
        if self.is_embedded:
            identity["versions"] = versions()
        elif self.hashed_files:
            identity["source"] = [
                {"name": file.name, "sha256": digest, **self._other_form(file)} for file, digest in self.hashed_files
            ]
            identity["documents"] = self.document_rule()
        elif self.commit is not None:
            identity["revision"] = self.commit
        return identity

    def _other_form(self, file: Path) -> dict[str, str]:
        """How a file is read where it is not read as UTF-8 of lines that line feeds end."""
        if FORMATS[suffix_of(file)] in ("parquet", "arrow"):
            return {}
        try:
            form = form_of(file, self.encoding)
        except UserError as error:
            raise UserError(f"{self.key}: {error}") from error
        usual = asdict(TextForm())
        return {name: value for name, value in asdict(form).items() if value != usual[name]}

    def _texts_of(self, rows: Rows) -> Iterator[Any]:
        for origin, row in rows:
            found = looked_up(row, self.text_column)
            if found is None:
                has = ", ".join(row)
                raise UserError(f"{origin} has no column '{self.text_column}' (it has: {has}); set data.text_column")
            if isinstance(found[0], RepeatedColumn):
                raise UserError(found[0].refusal())
            yield found[0]

    def _read(self) -> Iterator[Any]:
        column, rule = self.text_column, self.document_rule()
        if not self.hashed_files:
            name, commit = self.source[0], self.commit
            rows = hub_rows(name, self.configuration, self.split, column=column, revision=commit)
            yield from self._texts_of(rows)
        for file, sha256 in self.hashed_files:
            kind = FORMATS[suffix_of(file)]
            digest = hashlib.sha256()
            if kind == "text":
                yield from text_documents(file, rule, digest, self.encoding)
            else:
                yield from self._texts_of(rows_of(file, kind, column=column, digest=digest, encoding=self.encoding))
            if digest.hexdigest() != sha256:
                raise changed_while_read(file)

    def texts(self) -> Iterator[Any]:
        """The documents' texts as they stand, in order; not yet cleaned, and not yet known to be strings.

        Raises:
            UserError: where the source cannot be read, has no such column, or is no longer what was hashed.
        """
        if self.is_embedded:
            yield from embedded_documents()
            return
        kinds = {FORMATS[suffix_of(file)] for file, _ in self.hashed_files}
        if len(kinds) > 1 and not kinds <= STREAMS:
            raise UserError(f"{self.key}: {' and '.join(sorted(kinds))} files cannot be mixed; give one kind")
        yield from read_or_named(self._read(), key=self.key, name=", ".join(self.source))
