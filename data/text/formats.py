"""Rows of local files as dictionaries: csv, tsv, JSON, SQuAD's JSON, CoNLL and text, read exactly.

Every row has a column `ORIGIN` more than its file: what it is called in messages ("train.tsv, line 12").
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data.text.corpora import decoded_lines

Rows = Iterator[dict[str, Any]]
ORIGIN = " origin"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file and their numbers from 1, without line ends and byte-order mark.

    Only a line feed ends a line, so that U+2028 and their like stay within a text.
    """
    for number, line in enumerate(decoded_lines(path), start=1):
        if number == 1:
            if line.count("\x00") * 4 > len(line):
                raise ValueError(f"{path}: looks like UTF-16, and is read as UTF-8; convert it first")
            line = line.removeprefix("\ufeff")
        yield number, line.removesuffix("\n").removesuffix("\r")


def _records(path: Path, kind: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line of a table. In a tsv a quotation mark is a character like any other."""
    if kind == "tsv":
        for number, line in _lines(path):
            if line:
                yield number, line.split("\t")
        return
    csv.field_size_limit(2**31 - 1)  # the library's own limit is 128 kB, less than a long document
    reader = csv.reader((line + "\n" for _, line in _lines(path)), strict=True)
    begin = 1
    try:
        for fields in reader:
            if fields:
                yield begin, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {begin}: not csv ({error})") from None


def _table(path: Path, kind: str, header: Sequence[str]) -> Rows:
    """Rows of a csv or tsv whose columns are named by its first line, or by `header`, where it has no such line."""
    names = list(header)
    for number, fields in _records(path, kind):
        if not names:
            names = [name.strip() for name in fields]
            if len(set(names)) < len(names):
                raise ValueError(f"{path}, line {number}: names a column twice ({', '.join(names)})")
            continue
        if len(fields) != len(names):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} fields where the columns are {len(names)} ({', '.join(names)})"
            )
        yield {ORIGIN: f"{path.name}, line {number}", **dict(zip(names, fields, strict=True))}


def _json_lines(path: Path) -> Rows:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not a JSON object on one line ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: {type(row).__name__}, not a JSON object with columns")
        yield {ORIGIN: f"{path.name}, line {number}", **row}


def _squad(path: Path, articles: list[Any]) -> Rows:
    """Questions of a SQuAD file (v1.1 or v2.0) with the columns that the data set has on the hub."""
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    answers = question.get("answers") or []
                    yield {
                        ORIGIN: f"{path.name}, question {question['id']}",
                        "id": str(question["id"]),
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": {
                            "text": [answer["text"] for answer in answers],
                            "answer_start": [answer["answer_start"] for answer in answers],
                        },
                        "is_impossible": bool(question.get("is_impossible", not answers)),
                    }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the form of SQuAD's files (at {error})") from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _json(path: Path) -> Rows:
    """Rows of a JSON file: a list of objects (or `{"data": [...]}`), a SQuAD file, or one object a line."""
    text = "\n".join(line for _, line in _lines(path))
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        if not _is_json(text.lstrip().partition("\n")[0]):
            raise ValueError(f"{path}, line {error.lineno}: not JSON ({error})") from None
        yield from _json_lines(path)
        return
    rows = whole["data"] if isinstance(whole, dict) and isinstance(whole.get("data"), list) else whole
    rows = [rows] if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: not a list of JSON objects")
    if rows and "paragraphs" in rows[0]:
        yield from _squad(path, rows)
        return
    for number, row in enumerate(rows, start=1):
        yield {ORIGIN: f"{path.name}, row {number}", **row}


def _conll(path: Path, header: Sequence[str]) -> Rows:
    """Sentences of a CoNLL file: a word and its columns a line, sentences parted by blank lines.

    Columns are parted by tabs, or by spaces where a file has no tab. Without `header` the first is `tokens` and the
    last is `tags`. `-DOCSTART-` lines and comments (`# ...`, before a sentence's first word) are passed over.
    """
    lines = list(_lines(path))
    by_tab = any("\t" in line and line.strip() for _, line in lines)
    split: Callable[[str], list[str]] = (
        (lambda line: line.split("\t")) if by_tab else (lambda line: re.split(" +", line.strip(" ")))
    )
    first = next((line for _, line in lines if line.strip() and not line.startswith(("# ", "-DOCSTART-"))), "")
    width = len(header) or len(split(first))
    names = list(header) or ["tokens", *(f"column_{place}" for place in range(2, width)), *["tags"][: width - 1]]
    sentence: list[list[str]] = []
    begin = 0
    for number, line in [*lines, (len(lines) + 1, "")]:
        fields = split(line)
        if not line.strip():
            if sentence:
                columns = [list(column) for column in zip(*sentence, strict=True)]
                yield {ORIGIN: f"{path.name}, line {begin}", **dict(zip(names, columns, strict=True))}
            sentence = []
        elif line.startswith("-DOCSTART-") or (not sentence and line.startswith("# ") and len(fields) != width):
            continue
        elif len(fields) != width:
            raise ValueError(
                f"{path}, line {number}: {len(fields)} columns where there are {width} ({', '.join(names)})"
            )
        else:
            begin = begin if sentence else number
            sentence.append(fields)


def _text(path: Path) -> Rows:
    for number, line in _lines(path):
        if line.strip():
            yield {ORIGIN: f"{path.name}, line {number}", "text": line}


def local_rows(paths: list[str], kind: str, header: tuple[str, ...]) -> Rows:
    """Rows of local files of one kind, in order."""
    for path in map(Path, paths):
        if kind in ("csv", "tsv"):
            yield from _table(path, kind, header)
        elif kind == "conll":
            yield from _conll(path, header)
        else:
            yield from {"jsonl": _json_lines, "json": _json, "text": _text}[kind](path)
