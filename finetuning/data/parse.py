"""From the rows of a data set to those of a task: nothing is lost but what is counted."""

import math
import re
from collections.abc import Sequence
from typing import Literal

from common.errors import UserError
from data.text.sources import RowSource
from finetuning.data.columns import ColumnReader
from finetuning.data.rows import DataWarnings, Label, PairRow, TextRow
from finetuning.data.values import class_name, is_missing, stripped, unwritten

LabelForm = Literal["one", "many", "number"]


_MISSING = ("nan", "<na>")  # as a table has it where numpy's or pandas' value was made text
_OTHER_MARKS = re.compile(r"[;|,\t]")


def _names(reader: ColumnReader, value: str, separator: str) -> list[str]:
    """The labels that a text lists."""
    names = [part for part in value.split(separator) if part.strip().lower() not in _MISSING]
    if separator not in value and _OTHER_MARKS.search(value):
        reader.warnings.add(f"labels that hold another mark than task.separator = '{separator}'", reader.origin)
    return names


def _label(reader: ColumnReader, column: str, form: LabelForm, separator: str) -> Label:
    """What a row is; None where its column is empty.

    Raises:
        UserError: where the column holds another form.
    """
    value = reader.value(column)
    where = f"{reader.source.key}: {reader.origin}, column '{column}'"
    if form == "many":
        value = unwritten(value)
        parts = _names(reader, value, separator) if isinstance(value, str) else [] if is_missing(value) else value
        if not isinstance(parts, list | tuple):
            raise UserError(f"{where} = {value!r:.60} must hold a list of labels, or text parted by '{separator}'")
        if any(isinstance(part, list | tuple | dict) for part in parts):
            raise UserError(f"{where} = {value!r:.60} must hold a list of labels, and not of what holds others")
        if all(part in (0, 1) for part in parts) and len(set(parts)) < len(parts):
            raise UserError(f"{where} = {value!r:.60} is 0 or 1 for each label; it must list the labels that a row has")
        return tuple(sorted({name for part in parts if (name := class_name(part)) is not None}))
    if isinstance(value, list | tuple | dict):
        raise UserError(f"{where} = {value!r:.60} must hold one label; is this a task of several labels a text?")
    name = class_name(value)
    if name is not None and name.lower() in _MISSING:
        name = None
    if form == "one" or name is None:
        return name
    try:
        number = float(value)
    except ValueError:
        raise UserError(f"{where} = {value!r:.60} must be a number") from None
    if not math.isfinite(number):
        raise UserError(f"{where} = {value!r:.60} must be a finite number")
    return number


def read_texts(
    source: RowSource,
    *,
    texts: Sequence[str],
    label: str | None = None,
    form: LabelForm = "one",
    separator: str = ",",
    warnings: DataWarnings,
) -> list[TextRow]:
    """Rows of classification and regression (and, without `label`, of plain text).

    Rows with an empty text stay. Rows without a label are left out. Both are counted.

    Args:
        source: the split.
        texts: columns of the texts, one or two.
        label: column of the label; None where there is none.
        form: `one` label a row, `many` (a list, or text parted by `separator`), or a `number`.
        separator: what parts several labels in one text.
        warnings: takes what was odd.

    Raises:
        UserError: where a column is missing or holds something else, or no row has a label.
    """
    rows: list[TextRow] = []
    reader = ColumnReader(source, warnings)
    for row in reader:
        read = tuple(row.text(column) for column in texts)
        if not all(map(stripped, read)):
            warnings.add("empty texts", row.origin)
        found = _label(row, label, form, separator) if label else None
        if label and found is None:
            warnings.add("rows without a label, left out", row.origin)
            continue
        rows.append(TextRow(texts=read, label=found, origin=row.origin))
    if not rows:
        raise UserError(
            f"{source.key}: no row of '{source}' has a label in column '{label}'; is it a hidden test split?"
        )
    return rows


def read_pairs(source: RowSource, *, inputs: str, targets: str | None, warnings: DataWarnings) -> list[PairRow]:
    """Sources with their targets.

    Args:
        source: the split.
        inputs: column of the sources; a list of sentences is one text.
        targets: column of the targets, a text or a list of several references; None where there is none.
        warnings: takes what was odd.

    Raises:
        UserError: where a column is missing or holds something else.
    """
    rows = []
    for row in ColumnReader(source, warnings):
        read = row.text(inputs)
        if not read.strip():
            warnings.add("empty texts", row.origin)
        wanted = row.texts(targets) if targets else ()
        if targets and not any(text.strip() for text in wanted):
            warnings.add("empty targets", row.origin)
        rows.append(PairRow(source=read, targets=wanted or ("",) if targets else (), origin=row.origin))
    return rows
