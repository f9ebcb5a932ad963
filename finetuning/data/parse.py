"""From the rows of a data set to those of a task: nothing is lost but what is counted."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from common.errors import UserError
from data.text.sources import RowSource
from finetuning.data.columns import ColumnReader
from finetuning.data.rows import AnswerSpan, DataWarnings, Label, PairRow, QuestionRow, TextRow, TokenRow
from finetuning.metrics.spans import is_iob1, parse_tag, to_bio

LabelForm = Literal["one", "many", "number"]


def _label_name(value: Any) -> str | None:
    """A class as it is called, whatever type a file gave it; None where there is none."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # parquet keeps whole numbers as floats where some are missing
    return None if value is None else str(value).strip() or None


def _label(reader: ColumnReader, column: str, form: LabelForm, separator: str) -> Label:
    """What a row is; None where its column is empty.

    Raises:
        UserError: where the column holds another form.
    """
    value = reader.value(column)
    where = f"{reader.source.key}: {reader.origin}, column '{column}'"
    if form == "many":
        parts = value.split(separator) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise UserError(f"{where} = {value!r:.60} must hold a list of labels, or text parted by '{separator}'")
        return tuple(sorted({name for part in parts if (name := _label_name(part)) is not None}))
    if isinstance(value, list | tuple | dict):
        raise UserError(f"{where} = {value!r:.60} must hold one label; is this a task of several labels a text?")
    name = _label_name(value)
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
        if not all(text.strip() for text in read):
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


def _sequence(reader: ColumnReader, column: str) -> list[str]:
    """The texts of a list, such as the words of a sentence."""
    values = reader.value(column)
    if not isinstance(values, list | tuple) or not all(isinstance(value, str | int) for value in values):
        raise UserError(f"{reader.source.key}: {reader.origin}, column '{column}' must hold a list: {values!r:.60}")
    return [str(value) for value in values]


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
        read_tags = tuple(_sequence(row, tags)) if tags else ()
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
        except ValueError as error:
            raise UserError(f"{source.key}: {row.origin}: {error}") from None
    iob1 = is_iob1(row.tags for row in rows)
    in_bio = []
    for row in rows:
        tags, breaks = to_bio(row.tags, iob1=iob1)
        if breaks:
            warnings.add("sentences with tags that do not follow from one another, repaired", row.origin)
        in_bio.append(replace(row, tags=tags))
    return in_bio


def _answers_with_starts(value: Any) -> list[tuple[str, int]]:
    """Answers with the start that each names (-1 where it names none), in any form in which data sets keep them."""
    if isinstance(value, dict):
        texts = value["text"]
        starts = value.get("answer_start") or value.get("start") or [-1] * len(texts)
        return list(zip(texts, starts, strict=True))
    items = [value] if isinstance(value, str) else value or []
    return [(item, -1) if isinstance(item, str) else (item["text"], item.get("answer_start", -1)) for item in items]


def _placed(context: str, text: str, start: int, origin: str, warnings: DataWarnings) -> AnswerSpan:
    """An answer where it stands in its context: at the start that it names, or else at the nearest that holds it."""
    if start >= 0 and context.startswith(text, start):
        return AnswerSpan(text=text, start=start)
    places = [match.start() for match in re.finditer(f"(?={re.escape(text)})", context)]
    if not places:
        warnings.add("answers that are not in their context, nothing to learn from", origin)
        return AnswerSpan(text=text, start=-1)
    if start < 0:
        warnings.add("answers without a place, taken at their first in the context", origin)
        return AnswerSpan(text=text, start=places[0])
    warnings.add("answers not at the place they name, taken at the nearest that holds them", origin)
    return AnswerSpan(text=text, start=min(places, key=lambda place: abs(place - start)))


def read_questions(
    source: RowSource,
    *,
    question: str = "question",
    context: str = "context",
    answers: str | None = "answers",
    id: str = "id",  # noqa: A002 (the column's name in every such data set)
    impossible: str = "is_impossible",
    warnings: DataWarnings,
) -> list[QuestionRow]:
    """Questions on contexts, with characters that are exact: `context[answer.start : answer.end] == answer.text`.

    Args:
        source: the split.
        question: column of the questions.
        context: column of the contexts.
        answers: column of the answers, as SQuAD has them (`{"text": [...], "answer_start": [...]}` or a list of
            `{"text", "answer_start"}`), or texts alone; None where there is none.
        id: column of an identifier; rows are numbered where there is no such column.
        impossible: column that holds whether a question has no answer; without it those have none that list none.
        warnings: takes what was odd.

    Raises:
        UserError: where a column is missing or holds something else.
    """
    rows = []
    for row in ColumnReader(source, warnings):
        question_text, text = row.text(question), row.text(context)
        for kind, empty in (("empty questions", not question_text.strip()), ("empty contexts", not text.strip())):
            if empty:
                warnings.add(kind, row.origin)
        try:
            found = _answers_with_starts(row.value(answers)) if answers else []
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if answers is not None and answers not in row:
                raise
            raise UserError(f"{source.key}: {row.origin}, column '{answers}' holds no answers (at {error})") from None
        found = [(row.cleaned(answer), start) for answer, start in found if answer]
        none = bool(row.value(impossible)) if impossible in row else not found
        if none and found:
            warnings.add("questions marked as without an answer that list some, taken as without", row.origin)
        placed = () if none else tuple(_placed(text, *answer, row.origin, warnings) for answer in found)
        name = str(row.value(id)) if id in row else str(len(rows))
        rows.append(
            QuestionRow(
                id=name, question=question_text, context=text, answers=placed, impossible=none, origin=row.origin
            )
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
