"""From the rows of a data set to those of a task: nothing is lost but what is counted."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from common.errors import UserError
from data.text.sources import RowSource
from finetuning.data.columns import ColumnReader
from finetuning.data.rows import DataWarnings, Label, PairRow, TextRow, TokenRow
from finetuning.data.values import class_name, is_missing, stripped, unwritten
from finetuning.metrics.spans import is_iob1, parse_tag, to_bio

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


def _sequence(reader: ColumnReader, column: str, *, may_lack: bool = False) -> list[Any]:
    """The texts of a list, such as the words of a sentence; None among them only where one may lack."""
    values, allowed = unwritten(reader.value(column)), (str, int, type(None)) if may_lack else (str, int)
    if not isinstance(values, list | tuple) or not all(isinstance(value, allowed) for value in values):
        raise UserError(f"{reader.source.key}: {reader.origin}, column '{column}' must hold a list: {values!r:.60}")
    return [None if value is None else str(value) for value in values]


def read_tokens(
    source: RowSource,
    *,
    words: str = "tokens",
    tags: str | None = "tags",
    entities: bool = True,
    warnings: DataWarnings,
) -> list[TokenRow]:
    """Sentences with a tag for every word.

    Args:
        source: the split.
        words: column of the words.
        tags: column of the tags; None where there is none.
        entities: whether tags encode entities, in BIO, IOB1, BIOES or BILOU; what comes out is BIO, and tags that do
            not follow from one another are repaired and counted. Else they stay as they are (parts of speech).
        warnings: takes what was odd.

    Raises:
        UserError: where a column is missing, lengths differ, or a tag encodes no entity.
    """
    rows: list[TokenRow] = []
    for row in ColumnReader(source, warnings):
        read = tuple(row.cleaned(word) for word in _sequence(row, words))
        given = _sequence(row, tags, may_lack=True) if tags else []
        if None in given:
            warnings.add("sentences with a word without a tag, left out", row.origin)
            continue
        read_tags = tuple(unicodedata.normalize("NFC", stripped(tag)) for tag in given if tag is not None)
        if tags and len(read_tags) != len(read):
            raise UserError(f"{source.key}: {row.origin} has {len(read)} words and {len(read_tags)} tags")
        if not read:
            warnings.add("sentences without a word, left out", row.origin)
            continue
        if not all(word.strip() for word in read):
            warnings.add("sentences with an empty word", row.origin)
        rows.append(TokenRow(words=read, tags=read_tags, origin=row.origin))
    return _as_bio(source, rows, warnings) if entities else rows


def _as_bio(source: RowSource, rows: list[TokenRow], warnings: DataWarnings) -> list[TokenRow]:
    """The rows with their tags in BIO.

    Raises:
        UserError: where a tag encodes no entity.
    """
    for row in rows:
        try:
            for tag in row.tags:
                parse_tag(tag)
        except UserError as error:
            are_numbers = all(tag.isdecimal() for tag in row.tags)
            remedy = "; names of tags are kept on the hub and in parquet, JSON has their numbers" * are_numbers
            raise UserError(f"{source.key}: {row.origin}: {error}{remedy}") from None
    iob1 = is_iob1(row.tags for row in rows)
    in_bio = []
    for row in rows:
        tags, breaks = to_bio(row.tags, iob1=iob1)
        if breaks:
            warnings.add("sentences with tags that do not follow from one another, repaired", row.origin)
        in_bio.append(replace(row, tags=tags))
    return in_bio


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
