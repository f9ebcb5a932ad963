"""Rows of local files as dictionaries: csv, tsv, JSON, SQuAD's JSON, CoNLL, text and parquet, read exactly.

Every row comes with its origin, what it is called in messages ("train.tsv, line 12"). Files are read as streams; only
a JSON file that is one value, and a CoNLL file, are held in memory.
"""

import hashlib
import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files.conll import conll_rows, conllu_rows
from data.files.encodings import AUTO, text_form
from data.files.json_rows import json_lines, json_rows
from data.files.local import Format, Lines, Row, Rows
from data.files.tables import table_rows
from data.files.unpacking import changed_while_read, decoded_lines

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

STANDARD_INPUT = Path("standard input")  # by this name in messages
PARQUET_ROWS = 256  # decoded at once: documents may be long


def _own_name(names: Row, name: str) -> str | None:
    """A name as a row has it, whichever Unicode form it has there; None where it has none such."""
    if name in names or name.isascii():
        return name if name in names else None
    composed = unicodedata.normalize("NFC", name)
    return next((own for own in names if unicodedata.normalize("NFC", str(own)) == composed), None)


def looked_up(row: Row, column: str) -> tuple[Any] | None:
    """The value in a column, in a tuple of its own; `translation.en` is `en` within `translation`, None within none."""
    if (whole := _own_name(row, column)) is not None:
        return (row[whole],)
    value: Any = row
    for part in column.split("."):
        if value is None:
            return (None,)
        if not isinstance(value, dict) or (own := _own_name(value, part)) is None:
            return None
        value = value[own]
    return (value,)


def _without_ends(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Lines and their numbers from 1, without line ends and byte-order mark."""
    for number, line in enumerate(lines, start=1):
        whole = line.removeprefix("\ufeff") if number == 1 else line
        yield number, whole.removesuffix("\n").removesuffix("\r")


def lines_of(
    path: Path, digest: "Digest | None" = None, encoding: str = AUTO, *, strict: bool = False
) -> Iterator[tuple[int, str]]:
    """The lines of a file and their numbers from 1, without line ends and byte-order mark.

    Only a line feed ends a line (or a carriage return in a file without one), so that U+2028 and their like stay
    within a text.
    """
    return _without_ends(decoded_lines(path, digest, encoding, strict=strict))


def lines_of_input(content: bytes, encoding: str = AUTO) -> list[str]:
    """The lines of standard input, as `lines_of` has those of a file.

    Raises:
        UserError: where it is of another encoding than is declared or named.
    """
    form = text_form(STANDARD_INPUT, content, is_whole=True, encoding=encoding)
    lines = form.lines([content], None if encoding == AUTO else STANDARD_INPUT)
    return [line for _, line in _without_ends(lines)]


def _text(path: Path, lines: Lines) -> Rows:
    for number, line in lines:
        if line.strip():
            yield f"{path.name}, line {number}", {"text": line}


def _paragraphs(path: Path, lines: Lines) -> Rows:
    """Paragraphs of a text, parted by blank lines; each keeps its line feeds."""
    for is_blank, group in itertools.groupby(lines, key=lambda numbered: not numbered[1].strip()):
        if not is_blank:
            paragraph = list(group)
            yield f"{path.name}, line {paragraph[0][0]}", {"text": "\n".join(line for _, line in paragraph)}


def _state(path: Path) -> tuple[int, ...]:
    """What changes where a file is written to or replaced, even by what it held before."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _columnar(path: Path, kind: Format, column: str | None, digest: "Digest | None") -> Rows:
    """Rows of a parquet file, or of one that `datasets` saved; classes that are kept as numbers are their names.

    It is read here and there, so that it is hashed behind its last row, and must be as it was before the first.
    """
    import datasets  # slow to import
    import pyarrow as pa
    from pyarrow import ipc, parquet

    before = _state(path)
    with parquet.ParquetFile(path) if kind == "parquet" else ipc.open_stream(pa.OSFile(str(path))) as opened:
        file: Any = opened
        schema = file.schema_arrow if kind == "parquet" else file.schema
        names = [] if column is None else [column, column.partition(".")[0]]
        columns = next(([name] for name in names if name in schema.names), schema.names)
        named = with_class_names(datasets.Features.from_arrow_schema(schema))
        batches = file.iter_batches(PARQUET_ROWS, columns=columns) if kind == "parquet" else file
        rows = (row for batch in batches for row in batch.select(columns).to_pylist())
        for number, row in enumerate(rows, start=1):
            yield f"{path.name}, row {number}", named(row)
    if digest is not None:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)  # goes on with what it holds
        if _state(path) != before:
            raise changed_while_read(path)


def _class_names(classes: Any, value: Any) -> Any:
    """Names of a class or of a list of classes; None for -1, which is how hub data sets hide a label."""
    if isinstance(value, list):
        return [_class_names(classes, item) for item in value]
    return None if value is None or value < 0 else classes.int2str(value)


def with_class_names(features: Any) -> Callable[[Row], Row]:
    """What gives the classes of a row their names, by the `features` that `datasets` keeps of its columns."""
    from datasets import ClassLabel  # slow to import

    inner = {column: getattr(feature, "feature", feature) for column, feature in (features or {}).items()}
    classes = {column: feature for column, feature in inner.items() if isinstance(feature, ClassLabel)}

    def named(row: Row) -> Row:
        return {**row, **{column: _class_names(classes[column], row[column]) for column in classes if column in row}}

    return named


def rows_of(
    path: Path,
    kind: Format,
    *,
    header: Sequence[str] = (),
    column: str | None = None,
    digest: "Digest | None" = None,
    encoding: str = AUTO,
    strict: bool = False,
) -> Rows:
    """Every row of a local file of some kind, in order, with its origin.

    Args:
        path: of the file.
        kind: its format.
        header: names of the columns of a csv, tsv or CoNLL file that does not name them itself.
        column: the only one that is needed; of a parquet or arrow file no other is read then.
        digest: takes in the bytes of the file as they are read; it has them all behind the last row.
        encoding: of a file of text; `auto` recognises UTF-8 and what a byte-order mark declares.
        strict: refuses bytes that make no character in an encoding that was named.

    Raises:
        UserError: where the file cannot be read, naming the line.
    """
    lines = lines_of(path, digest, encoding, strict=strict)
    if kind in ("csv", "tsv"):
        yield from table_rows(path, lines, kind, header)
    elif kind == "conll":
        yield from conll_rows(path, lines, header)
    elif kind == "conllu":
        yield from conllu_rows(path, lines, header)
    elif kind in ("parquet", "arrow"):
        yield from _columnar(path, kind, column, digest)
    else:
        readers = {"json": json_rows, "jsonl": json_lines, "text": _text, "paragraphs": _paragraphs}
        yield from readers[kind](path, lines)
