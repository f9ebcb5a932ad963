"""Rows of JSON: one object a line, a list, pandas' forms of a table, and SQuAD's files."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import UserError
from data.files.local import Lines, Rows


def json_values(origin: str, lines: Lines, *, wanted: str = "JSON") -> Iterator[tuple[int, Any]]:
    """What each line that is not blank holds as JSON, with the line's number.

    Args:
        origin: what the lines are of; for messages.
        lines: with their numbers.
        wanted: what a line is to hold; for messages.

    Raises:
        UserError: naming the line that is none.
    """
    for number, line in lines:
        line = line.removeprefix("\ufeff")  # within a file too: of files that were put together
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{origin}, line {number}: not {wanted} on one line ({error})") from None


def json_lines(path: Path, lines: Lines) -> Rows:
    """Rows of a file with one JSON object a line."""
    for number, row in json_values(str(path), lines, wanted="a JSON object"):
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


def json_rows(path: Path, lines: Lines) -> Rows:
    """Rows of a JSON file: what `_rows_in` finds in it, a SQuAD file, or one object a line.

    The last is a file whose first line is JSON by itself and not its only one.
    """
    lines = ((number, line) for number, line in lines if line.strip())
    first = list(itertools.islice(lines, 2))
    if len(first) == 2 and _is_json(first[0][1]):
        yield from json_lines(path, itertools.chain(first, lines))
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
