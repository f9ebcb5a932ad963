"""What predict.py is given: texts, or rows with the columns of the run's task, by the readers that training has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from data.files.encodings import AUTO
from data.files.formats import lines_of, rows_of
from data.files.json_rows import json_values
from data.files.local import FORMATS, Format, Row, Rows, suffix_of
from data.text.sources import FormatSetting, read_or_named
from finetuning.data.columns import ColumnReader, flattened
from finetuning.data.rows import DataWarnings
from finetuning.data.values import unwritten

_TABLES = ("csv", "tsv")


@dataclass(frozen=True)
class GivenRows:
    """Rows that a user gave, in the place of a source."""

    given: Sequence[Row]
    key: str = "input"

    def files(self) -> list[Path]:
        """None: it is not read from a file."""
        return []

    def kind(self) -> Format:
        """That of an object."""
        return "jsonl"

    def rows(self) -> Rows:
        """Each with its number, where it is not the only one."""
        for number, row in enumerate(self.given, start=1):
            yield "this row" if len(self.given) == 1 else f"row {number}", row


def reader_of(given: Row) -> ColumnReader:
    """The columns of a row that a user gave."""
    return next(iter(ColumnReader(GivenRows([given]), DataWarnings())))


def columns_of(given: Any, columns: Sequence[str]) -> tuple[str, ...]:
    """The texts of an input: a text; several, parted by tabs; or an object with these columns, as training reads them.

    Raises:
        UserError: where it is none of these.
    """
    if isinstance(given, dict):
        reader = reader_of(given)
        return tuple(reader.text(column) for column in columns)
    if not isinstance(given, str):
        raise UserError(f"{given!r:.60} is neither a text nor an object with {', '.join(columns)}")
    texts = tuple(given.split("\t")) if len(columns) > 1 else (given,)
    if len(texts) != len(columns):
        raise UserError(f"'{given:.60}' must be {len(columns)} texts parted by a tab: {', '.join(columns)}")
    reader = reader_of(dict(zip(columns, texts, strict=True)))
    return tuple(reader.text(column) for column in columns)


def _without_lists_as_text(row: Row) -> Row:
    """A row of a table, lists of texts that are written in it read as training reads them."""
    lists = {column: unwritten(value) for column, value in row.items()}
    return {
        column: found
        if isinstance(found, list | tuple) and all(isinstance(part, str) for part in flattened(found))
        else row[column]
        for column, found in lists.items()
    }


def inputs_in(
    path: Path, *, named: FormatSetting = "auto", header: Sequence[str] = (), encoding: str = AUTO
) -> list[Any]:
    """The inputs of a file: the lines of a text, blank ones too; else its rows.

    Args:
        path: of the file.
        named: its format; by default that of its suffix, and a file with another is a text.
        header: names of the columns of a table that does not name them.
        encoding: as `checked_encoding` gives it.

    Raises:
        UserError: where the file cannot be read, naming the line.
        OSError: where the system refuses to open it.
    """
    path.open("rb").close()
    kind = FORMATS.get(suffix_of(path), "text") if named == "auto" else named
    if kind == "parallel":
        raise UserError("--format parallel: predict.py reads one file; give its texts as a .txt")
    if kind == "text":
        found: Any = (line for _, line in lines_of(path, encoding=encoding, strict=True))
    elif kind == "jsonl":
        found = (value for _, value in json_values(str(path), lines_of(path, encoding=encoding, strict=True)))
    else:
        rows = rows_of(path, kind, header=header, encoding=encoding, strict=True)
        found = (_without_lists_as_text(row) if kind in _TABLES else row for _, row in rows)
    return list(read_or_named(found, key="--file", name=str(path)))
