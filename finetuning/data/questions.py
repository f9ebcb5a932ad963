"""Questions on contexts, with answers in every form in which data sets keep them."""

import itertools
import re
import unicodedata
from typing import Any

from common.errors import UserError
from data.text.graphemes import graphemes
from data.text.sources import RowSource
from finetuning.data.columns import ColumnReader
from finetuning.data.rows import AnswerSpan, DataWarnings, QuestionRow
from finetuning.data.values import class_name, is_missing, truth, unwritten, whole_number

UNKNOWN = -1  # the start of an answer that names none
_STARTS = ("answer_start", "start")


def _text_of(value: Any) -> str:
    """An answer's text; a number stands for its digits.

    Raises:
        TypeError: where it is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"{value!r:.60} is no text")
    return class_name(value) or ""


def _start_of(value: Any) -> int:
    start = whole_number(value)
    return UNKNOWN if start is None or start < 0 else start


def _answers(value: Any) -> list[tuple[str, int]]:
    """Answers with the start that each names; UNKNOWN where it names none.

    Raises:
        KeyError, TypeError, ValueError: where the value holds none.
    """
    if isinstance(value, dict):
        texts = value["text"]
        starts = next((value[name] for name in _STARTS if value.get(name) is not None), None)
        if not isinstance(texts, list | tuple):
            starts = starts[0] if isinstance(starts, list | tuple) and len(starts) == 1 else starts
            return [] if texts is None else [(_text_of(texts), _start_of(starts))]
        if not isinstance(starts, list | tuple):
            starts = [None] * len(texts) if starts is None else [starts]
        elif not starts:
            starts = [None] * len(texts)
        return [(_text_of(text), _start_of(start)) for text, start in zip(texts, starts, strict=True)]
    if isinstance(value, list | tuple):
        return [answer for item in value for answer in _answers(item)]
    return [(_text_of(value), UNKNOWN)]


def _composed(text: str) -> str:
    """A character as it is compared where texts have other forms of it: composed, and white space as a blank."""
    return " " if text.isspace() else unicodedata.normalize("NFC", text)


def _in_another_form(context: str, text: str) -> list[tuple[int, int]]:
    """Where a context has a text in another Unicode form: [start, end) of whole characters."""
    spans = graphemes(context)
    characters = [_composed(context[start:end]) for start, end in spans]
    starts = [0, *itertools.accumulate(map(len, characters))]
    at = {place: number for number, place in enumerate(starts)}
    wanted = "".join(_composed(text[start:end]) for start, end in graphemes(text))
    found = [match.start() for match in re.finditer(f"(?={re.escape(wanted)})", "".join(characters))] if wanted else []
    whole = [(at[place], at[place + len(wanted)]) for place in found if place in at and place + len(wanted) in at]
    return [(spans[first][0], spans[last - 1][1]) for first, last in whole]


def _placed(context: str, text: str, start: int, origin: str, warnings: DataWarnings) -> AnswerSpan:
    """An answer where it stands in its context: at the start that it names, or else at the nearest that holds it."""
    if start >= 0 and context.startswith(text, start):
        return AnswerSpan(text=text, start=start)
    places = [match.start() for match in re.finditer(f"(?={re.escape(text)})", context)]
    if not places:
        if found := _in_another_form(context, text):
            warnings.add("answers that their context has in another Unicode form, taken as they stand there", origin)
            begin, end = min(found, key=lambda span: abs(span[0] - start) if start >= 0 else span[0])
            return AnswerSpan(text=context[begin:end], start=begin)
        warnings.add("answers that are not in their context, nothing to learn from", origin)
        return AnswerSpan(text=text, start=-1)
    if start < 0:
        warnings.add("answers without a place, taken at their first in the context", origin)
        return AnswerSpan(text=text, start=places[0])
    warnings.add("answers not at the place they name, taken at the nearest that holds them", origin)
    return AnswerSpan(text=text, start=min(places, key=lambda place: abs(place - start)))


def _is_impossible(row: ColumnReader, column: str, found: list[tuple[str, int]], warnings: DataWarnings) -> bool:
    """Whether a question has no answer: as its column has it, or, where that is empty or missing, by listing none."""
    try:
        marked = truth(row.value(column)) if column in row else None
    except ValueError as error:
        raise UserError(f"{row.source.key}: {row.origin}, column '{column}': {error}") from None
    if marked and found:
        warnings.add("questions marked as without an answer that list some, taken as without", row.origin)
    return not found if marked is None else marked


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
        answers: column of the answers, as SQuAD has them (`{"text": [...], "answer_start": [...]}`, one or a list of
            `{"text", "answer_start"}`), or texts alone; each also as text, as a table writes it. None where there is
            none. A start that is null is unknown.
        id: column of an identifier; rows are numbered where there is no such column.
        impossible: column that holds whether a question has no answer, in any usual spelling; without it those have
            none that list none.
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
        value = unwritten(row.value(answers)) if answers else []
        try:
            if isinstance(value, int | float) and not is_missing(value):
                raise TypeError(f"{value!r} in place of answers")
            listed = _answers(value)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{source.key}: {row.origin}, column '{answers}' holds no answers (at {error})") from None
        found = [(row.cleaned(answer), start) for answer, start in listed if answer]
        none = _is_impossible(row, impossible, found, warnings)
        placed = () if none else tuple(_placed(text, *answer, row.origin, warnings) for answer in found)
        name = str(row.value(id)) if id in row else str(len(rows))
        rows.append(
            QuestionRow(
                id=name, question=question_text, context=text, answers=placed, impossible=none, origin=row.origin
            )
        )
    return rows
