"""Rows of local files as dictionaries: csv, tsv, JSON, SQuAD's JSON, CoNLL, text and parquet, read exactly.

Every row comes with its origin, what it is called in messages ("train.tsv, line 12"). Files are read as streams; only
a JSON file that is one value, and a CoNLL file, are held in memory.
"""

import hashlib
import itertools
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from data.files.conll import conll_rows, conllu_rows
from data.files.encodings import AUTO, text_form
from data.files.local import Format, Lines, Row, Rows, changed_while_read, decoded_lines
from data.files.tables import table_rows

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


def _json_lines(path: Path, lines: Lines) -> Rows:
    for number, line in lines:
        line = line.removeprefix("\ufeff")  # within a file too: of files that were put together
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not a JSON object on one line ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: {type(row).__name__}, not a JSON object with columns")
        yield f"{path.name}, line {number}", row


def _squad(path: Path, articles: list[Any]) -> Rows:
    """Questions of a SQuAD file with the columns that the data set has on the hub.

    It may be v1.1, v2.0, KLUE's (whose questions have a `guid`), or KorQuAD 2's (an article is its own paragraph, and a
    question has one `answer`).
    """
    try:
        for article in articles:
            for paragraph in article.get("paragraphs") or [article] * ("qas" in article):
                for number, question in enumerate(paragraph["qas"], start=1):
                    answers = question.get("answers", question.get("answer")) or []
                    listed = [answers] if isinstance(answers, dict) else answers
                    name = str(question.get("id", question.get("guid", number)))
                    row = {
                        "id": name,
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": {
                            "text": [answer["text"] for answer in listed],
                            "answer_start": [answer.get("answer_start") for answer in listed],
                        },
                        "is_impossible": question.get("is_impossible", not answers),
                    }
                    yield f"{path.name}, question {name}", row
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the form of SQuAD's files (at {error})") from None


def _rows_in(whole: Any) -> Any:
    """The rows of a JSON value: of a list, of `{"data": [...]}`, or in a form of pandas' `to_json`.

    Those are columns of rows by their numbers, as by default; rows by names, as of an index; and `split`.
    """
    if not isinstance(whole, dict):
        return whole
    names, data = whole.get("columns"), whole.get("data")
    if isinstance(data, list):
        is_split = isinstance(names, list) and all(isinstance(row, list) and len(row) == len(names) for row in data)
        return [dict(zip(names or (), row, strict=True)) for row in data] if is_split else data
    parts = list(whole.values())
    if len(parts) < 2 or not all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        return [whole]
    if all(str(index).isdecimal() for index in parts[0]):
        return [{column: part[index] for column, part in whole.items()} for index in parts[0]]
    return parts


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _json(path: Path, lines: Lines) -> Rows:
    """Rows of a JSON file: what `_rows_in` finds in it, a SQuAD file, or one object a line.

    The last is a file whose first line is JSON by itself and not its only one.
    """
    lines = ((number, line) for number, line in lines if line.strip())
    first = list(itertools.islice(lines, 2))
    if len(first) == 2 and _is_json(first[0][1]):
        yield from _json_lines(path, itertools.chain(first, lines))
        return
    rest = list(itertools.chain(first, lines))
    try:
        whole = json.loads("\n".join(line for _, line in rest))
    except json.JSONDecodeError as error:
        number = rest[error.lineno - 1][0] if rest else 1
        raise UserError(f"{path}, line {number}: not JSON ({error})") from None
    rows = _rows_in(whole)
    if isinstance(rows, list) and rows and all(isinstance(row, str) for row in rows):
        rows = [{"text": row} for row in rows]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: not a list of JSON objects")
    if any("paragraphs" in row or "qas" in row for row in rows):
        yield from _squad(path, rows)
        return
    for number, row in enumerate(rows, start=1):
        yield f"{path.name}, row {number}", row


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
        readers = {"json": _json, "jsonl": _json_lines, "text": _text, "paragraphs": _paragraphs}
        yield from readers[kind](path, lines)
