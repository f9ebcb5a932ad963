"""One of the sources of a corpus: the embedded text, a hub data set, or the files of one name."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError
from common.files import sha256_of_file
from data.files.encodings import AUTO, TextForm
from data.files.formats import Rows, looked_up, rows_of
from data.files.local import FORMATS, PACKED, files_of, hidden_files, saved_split, suffix_of
from data.files.tables import RepeatedColumn, remedy_for_mark
from data.files.unpacking import changed_while_read, decoded_lines, form_of
from data.text.embedded import embedded_documents, versions
from data.text.hub import hub_revision, hub_rows
from data.text.sources import read_or_named

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

EMBEDDED = "embedded"
SUFFIXES = tuple(suffix for suffix, kind in FORMATS.items() if not kind.startswith("conll"))
FOLDER_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix != ".arrow")  # which lie in caches, too
STREAMS = {"text", "jsonl", "json"}  # of which one folder may have several kinds
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
class CorpusPart:
    """What one name of a corpus stands for; the settings are those of `Corpus`."""

    name: str
    configuration: str | None
    split: str
    revision: str | None
    text_column: str
    encoding: str
    key: str

    @property
    def is_embedded(self) -> bool:
        return self.name == EMBEDDED

    @cached_property
    def files(self) -> list[Path]:
        """The local files; empty for the embedded corpus and for a hub dataset.

        Raises:
            UserError: where a path names nothing, a file's kind is unknown, or a folder mixes kinds.
        """
        if self.is_embedded:
            return []
        name = saved_split(self.name, self.split, self.key)
        files = files_of((name,), key=self.key, folder_suffixes=FOLDER_SUFFIXES)
        for file in files:
            if suffix_of(file) not in SUFFIXES:
                kinds = ", ".join(sorted(SUFFIXES))
                raise UserError(f"{self.key}: '{file}' is none of {kinds} (or one of these with {', '.join(PACKED)})")
        return files

    @property
    def hidden_files(self) -> list[Path]:
        """The hidden files of a folder or a glob, which are left out."""
        return hidden_files(self.name, FOLDER_SUFFIXES) if self.files else []

    @property
    def has_splits(self) -> bool:
        """Whether there are other splits of the same name: of a hub dataset, or where `datasets` saved several."""
        return not self.is_embedded and (not self.files or saved_split(self.name, self.split, self.key) != self.name)

    @cached_property
    def hashed_files(self) -> list[tuple[Path, str]]:
        """`files` with the hash of each, taken once: the text is what they held then, and `texts` holds to it."""
        return [(file, sha256_of_file(file)) for file in self.files]

    @cached_property
    def commit(self) -> str | None:
        """The commit of a hub dataset, taken once: the text is what it held then. None where it cannot be learned."""
        return hub_revision(self.name, self.configuration, self.revision)

    def identities(self) -> list[dict[str, Any]]:
        """What identifies the text without reading it as documents: file hashes, versions, or a commit of the hub."""
        if self.is_embedded:
            return [{"versions": versions()}]
        if not self.files:
            return [{"revision": self.commit} if self.commit is not None else {}]
        return [{"name": file.name, "sha256": sha256, **self._other_form(file)} for file, sha256 in self.hashed_files]

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

    def _text_in(self, origin: str, row: dict[str, Any]) -> str:
        """The text in a row's column, "" where it is missing.

        Raises:
            UserError: where there is no such column, or it holds something else.
        """
        found = looked_up(row, self.text_column)
        is_set = self.key.startswith("data.")  # else it is an evaluation's, whose column has one name
        if found is None:
            remedy = remedy_for_mark(row, self.text_column) or "; set data.text_column" * is_set
            raise UserError(f"{origin} has no column '{self.text_column}' (it has: {', '.join(row)}){remedy}")
        (text,) = found
        if isinstance(text, RepeatedColumn):
            raise UserError(text.refusal())
        if text is None or text != text:  # NaN is how pandas has what is missing
            return ""
        if not isinstance(text, str):
            named = f"{'data.text_column =' if is_set else 'column'} '{self.text_column}'"
            raise UserError(f"{origin}: {named} holds {type(text).__name__}, not text: {text!r:.60}")
        return text

    def _texts_of(self, rows: Rows) -> Iterator[str]:
        for origin, row in rows:
            yield self._text_in(origin, row)

    def _read(self, rule: DocumentRule) -> Iterator[str]:
        if not self.hashed_files:
            column, commit = self.text_column, self.commit
            rows = hub_rows(self.name, self.configuration, self.split, column=column, revision=commit)
            yield from self._texts_of(rows)
        for file, sha256 in self.hashed_files:
            kind = FORMATS[suffix_of(file)]
            digest = hashlib.sha256()
            if kind == "text":
                yield from text_documents(file, rule, digest, self.encoding)
            else:
                rows = rows_of(file, kind, column=self.text_column, digest=digest, encoding=self.encoding)
                yield from self._texts_of(rows)
            if digest.hexdigest() != sha256:
                raise changed_while_read(file)

    def texts(self, rule: DocumentRule) -> Iterator[str]:
        """The documents' texts as they stand, in order; not yet cleaned.

        Raises:
            UserError: where the source cannot be read, has no such column, or is no longer what was hashed.
        """
        if self.is_embedded:
            yield from embedded_documents()
            return
        kinds = {FORMATS[suffix_of(file)] for file in self.files}
        if len(kinds) > 1 and not kinds <= STREAMS:
            raise UserError(
                f"{self.key}: '{self.name}' mixes {' and '.join(sorted(kinds))} files; name those that are meant"
            )
        yield from read_or_named(self._read(rule), key=self.key, name=self.name)
