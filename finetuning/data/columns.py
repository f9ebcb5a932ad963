"""What stands in the columns of a row: found by name, checked, and cleaned without moving a character."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from common.errors import UserError
from data.text.sources import RowSource
from finetuning.data.rows import DataWarnings

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # UTF-8 has no bytes for them


class ColumnReader:
    """The rows of a source, one after another, with their columns by name.

    Args:
        source: the split.
        warnings: takes what was odd.
    """

    def __init__(self, source: RowSource, warnings: DataWarnings) -> None:
        self.source, self.warnings = source, warnings
        self.origin = ""
        self.row: dict[str, Any] = {}

    def __iter__(self) -> Iterator["ColumnReader"]:
        for origin, row in self.source.rows():
            self.origin, self.row = origin, row
            yield self

    def __contains__(self, column: str) -> bool:
        return self._look_up(column) is not None

    def _look_up(self, column: str) -> tuple[Any] | None:
        """The value in a column, in a tuple of its own; `translation.en` is `en` within `translation`."""
        if column in self.row:
            return (self.row[column],)
        value: Any = self.row
        for part in column.split("."):
            if not isinstance(value, dict) or part not in value:
                return None
            value = value[part]
        return (value,)

    def value(self, column: str) -> Any:
        """The value in a column.

        Raises:
            UserError: where the row has no such column.
        """
        found = self._look_up(column)
        if found is not None:
            return found[0]
        close = difflib.get_close_matches(column, self.row, n=1)
        remedy = f"; did you mean '{close[0]}'?" if close else ""
        if self.source.files() and self.source.kind() == "text":
            remedy = "; it was read as text, a row a line: set its format to tsv or csv if it is a table"
        has = ", ".join(self.row)
        raise UserError(f"{self.source.key}: {self.origin} has no column '{column}' (it has: {has}){remedy}")

    def text(self, column: str) -> str:
        """The text in a column, "" for none; a list of texts is joined with spaces."""
        return " ".join(self.texts(column))

    def texts(self, column: str) -> tuple[str, ...]:
        """The text in a column, or the several of a list."""
        value = self.value(column)
        parts = value if isinstance(value, list | tuple) else [value]
        for part in parts:
            if part is not None and not isinstance(part, str):
                raise UserError(
                    f"{self.source.key}: {self.origin}, column '{column}' holds {type(part).__name__}, not text"
                )
        return tuple(self.cleaned(part or "") for part in parts)

    def cleaned(self, text: str) -> str:
        """`text` with U+FFFD for each lone surrogate, so that places stay; undecodable bytes are counted."""
        text = _LONE_SURROGATE.sub("\ufffd", text)
        if "\ufffd" in text:
            self.warnings.add("texts with bytes that are not UTF-8", self.origin)
        return text
