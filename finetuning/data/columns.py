"""What stands in the columns of a row: found by name, checked, and cleaned without moving a character."""

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from common.errors import UserError
from data.files.formats import looked_up
from data.files.local import Format, Rows
from data.files.tables import RepeatedColumn, remedy_for_mark
from finetuning.data.rows import DataWarnings
from finetuning.data.values import is_missing, unwritten

_QUOTED = re.compile(r'"(?:[^"]*"")+[^"]*"')
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # UTF-8 has no bytes for them


def flattened(parts: Iterable[Any]) -> Iterator[Any]:
    """What lists within lists hold, in order."""
    for part in parts:
        if isinstance(part, list | tuple):
            yield from flattened(part)
        else:
            yield part


class SomeRows(Protocol):
    """What is read here: `RowSource`, or what stands in its place."""

    @property
    def key(self) -> str: ...
    def files(self) -> list[Path]: ...
    def kind(self) -> Format: ...
    def rows(self) -> Rows: ...


class ColumnReader:
    """The rows of a source, one after another, with their columns by name.

    Args:
        source: the split.
        warnings: takes what was odd.
    """

    def __init__(self, source: SomeRows, warnings: DataWarnings) -> None:
        self.source, self.warnings = source, warnings
        kind = source.kind() if source.files() else None
        self.is_table, self.is_tsv = kind in ("csv", "tsv"), kind == "tsv"  # in a table a list can only be text
        self.origin = ""
        self.row: dict[str, Any] = {}

    def __iter__(self) -> Iterator["ColumnReader"]:
        for origin, row in self.source.rows():
            self.origin, self.row = origin, row
            yield self

    def __contains__(self, column: str) -> bool:
        return looked_up(self.row, column) is not None

    def value(self, column: str) -> Any:
        """The value in a column.

        Raises:
            UserError: where the row has no such column.
        """
        found = looked_up(self.row, column)
        if found is not None:
            if isinstance(found[0], RepeatedColumn):
                raise UserError(f"{self.source.key}: {found[0].refusal()}")
            return found[0]
        close = difflib.get_close_matches(column, self.row, n=1)
        remedy = remedy_for_mark(self.row, column) or (f"; did you mean '{close[0]}'?" if close else "")
        if self.source.files() and self.source.kind() == "text":
            remedy = "; it was read as text, a row a line: set its format to tsv or csv if it is a table"
        has = ", ".join(self.row)
        raise UserError(f"{self.source.key}: {self.origin} has no column '{column}' (it has: {has}){remedy}")

    def text(self, column: str) -> str:
        """The text in a column, "" for none; a list of texts, or of lists of texts, is joined with spaces."""
        return " ".join(self.texts(column))

    def texts(self, column: str) -> tuple[str, ...]:
        """The text in a column, or the several of a list; a list within it is one text."""
        value = self.value(column)
        listed = unwritten(value) if self.is_table else None
        if isinstance(listed, list | tuple) and all(isinstance(part, str) for part in flattened(listed)):
            self.warnings.add("texts that are written as lists, read as lists", self.origin)
            value = listed
        parts = value if isinstance(value, list | tuple) else [value]
        return tuple(" ".join(self._checked(text, column) for text in flattened([part])) for part in parts)

    def _checked(self, text: Any, column: str) -> str:
        if not isinstance(text, str) and not is_missing(text):
            raise UserError(
                f"{self.source.key}: {self.origin}, column '{column}' holds {type(text).__name__}, not text"
            )
        return self.cleaned(text if isinstance(text, str) else "")

    def cleaned(self, text: str) -> str:
        """`text` with U+FFFD for each lone surrogate, so that places stay; what is odd in it is counted."""
        if self.is_tsv and _QUOTED.fullmatch(text):
            self.warnings.add("texts with csv's quotation marks in a tsv; with task.format = csv they go", self.origin)
        text = _LONE_SURROGATE.sub("\ufffd", text)
        if "\ufffd" in text:
            self.warnings.add("texts with bytes that make no character", self.origin)
        return text
