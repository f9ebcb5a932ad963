"""Rows of tables: csv with its quotation marks, and tsv, where a quotation mark is a character like any other."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from common.errors import UserError
from data.files.local import Lines, Rows

MARKS = (",", ";", "\t", "|")  # between the fields of a csv, the usual one first
_SAMPLE_LINES = 1000  # of a tsv, by which it is known whether a quotation mark is a character


@dataclass(frozen=True)
class RepeatedColumn:
    """In place of a value whose column's name a table has twice: no harm, unless the column is named by a setting."""

    path: Path
    names: Sequence[str]

    def refusal(self) -> str:
        """Why the column cannot be taken."""
        return f"{self.path} names a column twice ({', '.join(self.names)})"


def _is_quoted(lines: Sequence[str]) -> bool:
    """Whether quotation marks in a tsv are csv's: where its lines have not as many fields each, and have them if so."""
    if len({line.count("\t") for line in lines if line}) < 2:
        return False
    widths = set[int]()
    try:
        for row in csv.reader((line + "\n" for line in lines), strict=True, delimiter="\t"):
            widths |= {len(row)} if row else set()
    except csv.Error:
        if len(lines) < _SAMPLE_LINES:  # else the last field goes on behind them
            return False
    return len(widths) == 1


def _mark_of(line: str, header: Sequence[str]) -> str:
    """What stands between the fields of a csv, by its first line; a comma where nothing follows from that."""
    if header:
        by_mark = [mark for mark in MARKS if len(next(csv.reader([line], delimiter=mark))) == len(header)]
        return next(iter(by_mark), MARKS[0])
    return next((mark for mark in MARKS if mark in line), MARKS[0])


def _records(path: Path, lines: Lines, kind: str, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line of a table."""
    csv.field_size_limit(2**31 - 1)  # the library's own limit is 128 kB, less than a long document
    read = iter(lines)
    sample = list(islice(read, _SAMPLE_LINES if kind == "tsv" else 1))
    read, texts = chain(sample, read), [line for _, line in sample]
    if kind == "tsv" and not _is_quoted(texts):
        for number, line in read:
            if line:
                yield number, line.split("\t")
        return
    mark = "\t" if kind == "tsv" else _mark_of(next(iter(texts), ""), header)
    reader = csv.reader((line + "\n" for _, line in read), strict=True, delimiter=mark)
    begin = 1
    try:
        for fields in reader:
            if fields:
                yield begin, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {begin}: not {kind} ({error})") from None


def table_rows(path: Path, lines: Lines, kind: str, header: Sequence[str]) -> Rows:
    """Rows of a csv or tsv whose columns are named by its first line, or by `header`, where it has no such line.

    Raises:
        UserError: where a line has other columns than the first, or names them again.
    """
    names = list(header)
    for number, fields in _records(path, lines, kind, header):
        if not names:
            names = [name.strip() for name in fields]
            continue
        if len(fields) != len(names):
            raise UserError(
                f"{path}, line {number}: {len(fields)} fields where the columns are {len(names)} ({', '.join(names)})"
            )
        if len(names) > 1 and not header and [field.strip("\ufeff \t") for field in fields] == names:
            raise UserError(
                f"{path}, line {number}: names the columns again, as where files are put together; take the line out"
            )
        row = {name: value for name, value in zip(names, fields, strict=True) if name}
        if len(row) < len(names):
            row |= {name: RepeatedColumn(path, names) for name, count in Counter(names).items() if name and count > 1}
        yield f"{path.name}, line {number}", row
    if not names:
        raise UserError(f"{path}: is empty, and no line names its columns")
