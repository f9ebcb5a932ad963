"""A corpus is a Hugging Face `datasets` dataset of documents, wherever its text comes from.

`Corpus` says what to read (a hub name, local files, or the embedded default); `Corpus.documents` reads it, one
document after another, never more than a little of it in memory.
"""

import glob
import gzip
import hashlib
import itertools
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from data.text.embedded import embedded_documents, versions

EMBEDDED = "embedded"
LINES_OF = {".txt": "text", ".md": "text", ".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
DocumentRule = Literal["auto", "file", "paragraph", "line"]


def local_files(source: str) -> list[Path]:
    """The files a path, a folder or a glob names, sorted; empty where it names none."""
    path = Path(source).expanduser()
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and suffix_of(file) in LINES_OF)
    if path.is_file():
        return [path]
    return sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())


def suffix_of(path: Path) -> str:
    """`.txt` of `a.txt` and of `a.txt.gz`."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def _looks_like_a_path(source: str) -> bool:
    """Whether a name that no file answers to was meant as a file rather than as a hub dataset (`owner/name`)."""
    return (
        source.startswith((".", "/", "~")) or any(c in source for c in "*?[\\") or suffix_of(Path(source)) in LINES_OF
    )


def decoded_lines(path: Path) -> Iterator[str]:
    """Lines with their own line ends; bytes that are not UTF-8 become U+FFFD, to be counted by the store."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                yield line.decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _text_documents(path: Path, rule: DocumentRule) -> Iterator[str]:
    """Documents of a text file: the whole of it, its paragraphs (parted by blank lines) or its lines."""
    lines = decoded_lines(path)
    if rule == "file":
        yield "".join(lines)
    elif rule == "line":
        yield from lines
    else:
        for is_blank, group in itertools.groupby(lines, key=lambda line: not line.strip()):
            if not is_blank:
                yield "".join(group)


def _json_documents(path: Path, column: str) -> Iterator[Any]:
    for number, line in enumerate(decoded_lines(path), start=1):
        if not line.strip("\ufeff\r\n\t "):
            continue
        try:
            row = json.loads(line.lstrip("\ufeff"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not a JSON object on one line ({error})") from None
        if not isinstance(row, dict) or column not in row:
            columns = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise ValueError(f"{path}, line {number}: no column '{column}' (it has: {columns}); set data.text_column")
        yield row[column]


def _local_rows(paths: list[str], rule: DocumentRule, column: str) -> Iterator[dict[str, Any]]:
    """Rows `{"text": ...}` of local text and JSON-lines files, in order."""
    for name in paths:
        path = Path(name)
        is_text = LINES_OF[suffix_of(path)] == "text"
        for text in _text_documents(path, rule) if is_text else _json_documents(path, column):
            yield {"text": text}


def _embedded_rows() -> Iterator[dict[str, str]]:
    for text in embedded_documents():
        yield {"text": text}


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What to read.

    Args:
        source: `embedded`, a hub dataset's name, or local files, folders and globs.
        configuration: configuration of a hub dataset (`wikitext-2-raw-v1`).
        split: split of a hub dataset.
        text_column: column that holds the text (jsonl, csv, parquet and hub datasets).
        documents: what one document of a `.txt` file is. `auto`: a file, where several are given; the paragraphs
            between blank lines, where it is one file.
        key: the setting that named the source; for messages only.
    """

    source: tuple[str, ...] = (EMBEDDED,)
    configuration: str | None = None
    split: str = "train"
    text_column: str = "text"
    documents: DocumentRule = "auto"
    key: str = "data.corpus"

    @property
    def is_embedded(self) -> bool:
        return self.source == (EMBEDDED,)

    def files(self) -> list[Path]:
        """The local files this corpus is read from; empty for the embedded corpus and for hub datasets.

        Raises:
            ValueError: where a path names nothing, or a file's kind is unknown.
        """
        if self.is_embedded:
            return []
        if not all(self.source or [""]):
            raise ValueError(f"{self.key} names nothing: give '{EMBEDDED}', a hub dataset, or files")
        found = {source: local_files(source) for source in self.source}
        if not any(found.values()) and len(self.source) == 1 and not _looks_like_a_path(self.source[0]):
            return []
        for source, files in found.items():
            if not files:
                raise ValueError(f"{self.key}: no file at '{source}' (looked from {Path.cwd()})")
            for file in files:
                if suffix_of(file) not in LINES_OF:
                    kinds = ", ".join(sorted(LINES_OF))
                    raise ValueError(f"{self.key}: '{file}' is none of {kinds} (or one of these with .gz)")
        return [file for files in found.values() for file in files]

    def held_out(self, validation: tuple[str, ...]) -> "Corpus":
        """The corpus that validation reads: another split where this is a hub dataset, else other files."""
        is_local = self.is_embedded or self.files()
        change = {"source": validation} if is_local else {"split": validation[0]}
        return replace(self, key="data.validation", **change)

    def document_rule(self) -> DocumentRule:
        """`documents` with `auto` decided."""
        if self.documents != "auto":
            return self.documents
        return "paragraph" if len(self.files()) == 1 else "file"

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the text without reading it as documents: file hashes, versions, or the hub's names."""
        identity: dict[str, Any] = asdict(self)
        del identity["key"]
        files = self.files()
        if self.is_embedded:
            identity["versions"] = versions()
        elif files:
            identity["source"] = [{"name": file.name, "sha256": sha256_of_file(file)} for file in files]
            identity["documents"] = self.document_rule()
        return identity

    def dataset(self) -> Any:
        """The corpus as a `datasets` dataset with the text in column `text`, read as a stream where it is local.

        Raises:
            ValueError: where the source cannot be read or has no such column.
        """
        import datasets  # slow to import, and not needed where the store is already built

        datasets.disable_progress_bars()
        files = self.files()
        kinds = {LINES_OF[suffix_of(file)] for file in files}
        if self.is_embedded:
            return datasets.IterableDataset.from_generator(_embedded_rows)
        if kinds and kinds <= {"text", "jsonl"}:  # read here, so that bad bytes are counted and bad lines named
            reading = {"paths": [str(file) for file in files], "rule": self.document_rule(), "column": self.text_column}
            return datasets.IterableDataset.from_generator(_local_rows, gen_kwargs=reading)
        if len(kinds) > 1:
            raise ValueError(f"{self.key}: {' and '.join(sorted(kinds))} files cannot be mixed; give one kind")
        try:
            if files:
                # A text "NA" or "null" is a text.
                reader = {"encoding_errors": "replace", "keep_default_na": False} if kinds == {"csv"} else {}
                names = [glob.escape(str(file)) for file in files]
                found = datasets.load_dataset(*kinds, data_files=names, split="train", streaming=True, **reader)
            else:
                found = datasets.load_dataset(self.source[0], self.configuration, split=self.split)
            columns = found.column_names or list(next(iter(found), {}))
        except Exception as error:
            raise self._unreadable(error) from error
        if self.text_column not in columns:
            has = ", ".join(columns)
            raise ValueError(f"data.text_column: '{self.source[0]}' has no column '{self.text_column}' (it has: {has})")
        found = found.select_columns([self.text_column])
        return found if self.text_column == "text" else found.rename_column(self.text_column, "text")

    def texts(self) -> Iterator[Any]:
        """The documents' texts as they stand, in order; not yet cleaned, and not yet known to be strings."""
        rows = self.dataset()
        try:
            for row in rows:
                yield row["text"]
        except Exception as error:
            if type(error) is ValueError:  # our own, which says which file and which line
                raise
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ValueError:
        """The one error, on one line, for the dozen kinds that the library raises where it cannot read."""
        reason = " ".join(str(error.__cause__ or error).split())
        return ValueError(f"{self.key}: cannot read '{', '.join(self.source)}': {reason}")


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
