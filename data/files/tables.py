"""Rows of tables: csv with its quotation marks, and tsv, where a quotation mark is a character like any other."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from data.files.local import Lines, Rows

if TYPE_CHECKING:
    from _csv import Reader

MARKS = (",", ";", "\t", "|")  # between the fields of a csv, the usual one first
_SAMPLE_LINES = 1000  # by which it is known what parts the fields, and whether a tsv's quotation mark is a character
_DECLARED = re.compile(r'"?sep=(\\t|[^\w"\r\n])"?[,;|\t]*', re.IGNORECASE)


@dataclass(frozen=True)
class RepeatedColumn:
    """In place of a value whose column's name a table has twice: no harm, unless the column is named by a setting."""

    path: Path
    names: Sequence[str]

    def refusal(self) -> str:
        """Why the column cannot be taken."""
        return f"{self.path} names a column twice ({', '.join(self.names)})"


def _reader(lines: Iterable[str], mark: str) -> "Reader":
    """The fields of each line as csv has them.

    Raises:
        csv.Error: where quotation marks are not csv's.
    """
    return csv.reader((line + "\n" for line in lines), strict=True, delimiter=mark)


def _widths(lines: Sequence[str], mark: str) -> set[int]:
    """How many fields the first lines of a table have by a mark; empty where quotation marks are not csv's."""
    widths = set[int]()
    try:
        for row in _reader(lines, mark):
            widths |= {len(row)} if row else set()
    except csv.Error:
        if len(lines) < _SAMPLE_LINES:  # else the last field goes on behind them
            return set()
    return widths


def _is_quoted(lines: Sequence[str]) -> bool:
    """Whether quotation marks in a tsv are csv's: where its lines have not as many fields each, and have them if so."""
    return len({line.count("\t") for line in lines if line}) > 1 and len(_widths(lines, "\t")) == 1


def _declared_mark(line: str) -> str | None:
    """What a table's first line declares as the mark between fields, as Excel reads and writes it: `sep=;`."""
    found = _DECLARED.fullmatch(line)
    return found and found[1].replace("\\t", "\t")


def _mark_of(lines: Sequence[str], header: Sequence[str]) -> str:
    """What stands between the fields of a csv, by its first lines; a comma where nothing follows from them."""
    fitting = []
    for mark in MARKS:
        with suppress(csv.Error, StopIteration):
            width = len(next(_reader(lines, mark)))
            fitting += [mark] if (width == len(header) if header else width > 1) else []
    even = [mark for mark in fitting if len(_widths(lines, mark)) == 1] if len(fitting) > 1 else []
    return next(iter([*even, *fitting]), MARKS[0])


def remedy_for_mark(row: Mapping[str, object], column: str) -> str:
    """How to name the mark of a table that was read as one column, where its name holds that of a wanted one."""
    whole = next(iter(row), "") if len(row) == 1 else ""
    marks = re.findall(rf"(?:^|\w)([^\w\s])(?={re.escape(column)})|(?<={re.escape(column)})([^\w\s])", whole)
    mark = next((before or behind for before, behind in marks), None)
    return f"; where '{mark}' parts its fields, put a line 'sep={mark}' before its first" if mark else ""


def _records(path: Path, lines: Lines, kind: str, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line of a table."""
    csv.field_size_limit(2**31 - 1)  # the library's own limit is 128 kB, less than a long document
    read = iter(lines)
    sample = list(islice(read, _SAMPLE_LINES))
    declared = _declared_mark(sample[0][1]) if sample else None
    if declared is not None:
        del sample[0]
    read, texts = chain(sample, read), [line for _, line in sample]
    if kind == "tsv" and declared in (None, "\t") and not _is_quoted(texts):
        for number, line in read:
            if line:
                yield number, line.split("\t")
        return
    mark = declared or ("\t" if kind == "tsv" else _mark_of(texts, header))
    before = sample[0][0] - 1 if sample else 0
    reader = _reader((line for _, line in read), mark)
    begin = before + 1
    try:
        for fields in reader:
            if fields:
                yield begin, fields
            begin = before + reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {begin}: not {kind} ({error})") from None


def table_rows(path: Path, lines: Lines, kind: str, header: Sequence[str]) -> Rows:
    """Rows of a csv or tsv whose columns are named by its first line, or by `header`, where it has no such line.

    A line `sep=;` before all others, as Excel has it, is no row: it names what stands between the fields.

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
