"""Sentences with a tag for every word: a sentence a row, or a word a row; tags by their names, entities' in BIO."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import UserError
from data.files.formats import looked_up
from data.files.local import Format, Row, Rows
from finetuning.data.columns import ColumnReader, SomeRows
from finetuning.data.inputs import GivenRows
from finetuning.data.labels import LabelNames, tag_name
from finetuning.data.rows import DataWarnings, TokenRow
from finetuning.data.values import class_name, is_missing, unwritten
from finetuning.metrics.spans import is_iob1, parse_tag, to_bio

# What columns are called in files with a word a row.
_SENTENCE = re.compile(r"sent|문장", re.IGNORECASE)
_WORD = re.compile(r"word|token|단어|어절|형태소", re.IGNORECASE)
_TAG = re.compile(r"tag|label|ner|태그", re.IGNORECASE)


# --- a word a row ---


@dataclass(frozen=True)
class WordRows:
    """The sentences of a source with a word a row, each as a row whose columns hold lists.

    Rows that follow one another with one sentence's id are its words, and so are those where that column is empty.

    Args:
        source: the rows of words.
        sentence_id: column of the sentence that a row belongs to.
        columns: those that are wanted.
        warnings: takes ids that come again behind another sentence, and sentences of one word where all are.
    """

    source: SomeRows
    sentence_id: str
    columns: tuple[str, ...]
    warnings: DataWarnings

    @property
    def key(self) -> str:
        return self.source.key

    def files(self) -> list[Path]:
        return self.source.files()

    def kind(self) -> Format:
        return self.source.kind()

    def rows(self) -> Rows:
        """Each sentence, with the origin of its first word.

        Raises:
            UserError: where a column is missing or holds a list, or the first row has no id.
        """
        known, lengths, first = set[str](), set[int](), ""
        for origin, name, words in self._sentences():
            if name in known:
                self.warnings.add("sentences whose id comes again behind another sentence, read as several", origin)
            known.add(name)
            lengths.add(len(words))
            first = first or origin
            lists = {column: [row[column] for row in words] for column in self.columns}
            yield origin, {self.sentence_id: name, **lists}
        if len(known) > 1 and lengths == {1}:
            self.warnings.add(
                f"files of which every sentence has one word; is task.sentence_id = '{self.sentence_id}' the right "
                f"column?",
                first,
            )

    def _sentences(self) -> Iterator[tuple[str, str, list[Row]]]:
        """The origin, the id and the words of each."""
        begin, name, words = "", None, list[Row]()
        for reader in ColumnReader(self.source, self.warnings):
            found = class_name(reader.value(self.sentence_id))
            row = {column: self._cell(reader, column) for column in self.columns}
            if found is None and not any(row.values()):
                continue  # a row without anything, between sentences
            if found is None and name is None:
                raise UserError(
                    f"{self.key}: {reader.origin}, column '{self.sentence_id}' is empty, and no row before it begins "
                    f"a sentence"
                )
            if found not in (None, name):
                if name is not None:
                    yield begin, name, words
                begin, name, words = reader.origin, found, []
            words.append(row)
        if name is not None:
            yield begin, name, words

    def _cell(self, reader: ColumnReader, column: str) -> Any:
        """The word or the tag of a row; None where the cell is empty."""
        value = reader.value(column)
        if isinstance(value, list | tuple | dict):
            raise UserError(
                f"{self.key}: {reader.origin}, column '{column}' = {value!r:.60} must hold one word or tag, as "
                f"task.sentence_id is of files with a word a row; where a row is a sentence, leave it null"
            )
        return None if is_missing(value) or not str(value).strip() else value


def sentences_of(inputs: Sequence[Any], *, words: str, sentence_id: str) -> list[Any]:
    """Inputs of predict.py that are rows of a word each as sentences; others as they are.

    Raises:
        UserError: where the first of such rows has no id.
    """
    are_words = bool(inputs) and all(
        isinstance(row, dict) and sentence_id in row and not isinstance(row.get(words), list) for row in inputs
    )
    if not are_words:
        return list(inputs)
    return [row for _, row in WordRows(GivenRows(inputs), sentence_id, (words,), DataWarnings()).rows()]


def _settings_of_words(row: Row) -> str:
    """A sentence with the settings by which a file is read that seems to have a word a row; "" where none does."""
    found = {name: next((column for column in row if pattern.search(column)), None)
             for name, pattern in {"sentence_id": _SENTENCE, "words": _WORD, "tags": _TAG}.items()}  # fmt: skip
    if None in found.values() or any(isinstance(row[column], list) for column in found.values() if column):
        return ""
    flags = " ".join(f'--task.{name} "{column}"' for name, column in found.items())
    return f"; a file with a word a row is read with {flags}"


# --- a sentence a row ---


def _are_texts(source: SomeRows, words: str) -> bool:
    """Whether words stand in texts parted by white space: the first row has a text, and some text has several words."""
    for _, row in source.rows():
        found = looked_up(row, words)
        value = unwritten(found[0]) if found else None
        if not isinstance(value, str):
            return False
        if len(value.split()) > 1:
            return True
    return False


def _sequence(reader: ColumnReader, column: str, *, are_texts: bool, may_lack: bool = False) -> list[Any]:
    """The parts of a list or a text, such as the words of a sentence; None among them only where one may lack."""
    values, allowed = unwritten(reader.value(column)), (str, int, type(None)) if may_lack else (str, int)
    if are_texts and isinstance(values, str):
        values = values.split()
    if isinstance(values, list | tuple):  # numpy's numbers, and those beside a missing one
        values = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    if not isinstance(values, list) or not all(isinstance(value, allowed) for value in values):
        remedy = ""
        if isinstance(values, str | int) and len(str(values).split()) == 1:
            remedy = _settings_of_words(reader.row) or "; a file with a word a row needs task.sentence_id"
        raise UserError(
            f"{reader.source.key}: {reader.origin}, column '{column}' must hold a list: {values!r:.60}{remedy}"
        )
    return [None if value is None else str(value) for value in values]


def read_tokens(
    source: SomeRows,
    *,
    words: str = "tokens",
    tags: str | None = "tags",
    sentence_id: str | None = None,
    names: LabelNames | None = None,
    entities: bool = True,
    has_blanks: bool = False,
    warnings: DataWarnings,
) -> list[TokenRow]:
    """Sentences with a tag for every word.

    Args:
        source: the split.
        words: column of the words.
        tags: column of the tags; None where there is none.
        sentence_id: column of the sentence that a row belongs to, where a row is a word.
        names: of the tags, where files may have numbers for them.
        entities: whether tags encode entities, in BIO, IOB1, BIOES or BILOU; what comes out is BIO, and tags that do
            not follow from one another are repaired and counted. Else they stay as they are (parts of speech).
        has_blanks: whether white space is among the words, as where they are the characters of a text; elsewhere a
            text, with the text of its tags, is parted by white space.
        warnings: takes what was odd.

    Raises:
        UserError: where a column is missing, lengths differ, a tag is none of `names`, or encodes no entity.
    """
    columns = (words,) if tags is None else (words, tags)
    are_texts = sentence_id is None and not has_blanks and _are_texts(source, words)
    held = source if sentence_id is None else WordRows(source, sentence_id, columns, warnings)
    rows: list[TokenRow] = []
    known: dict[str | None, str | None] = {}
    for row in ColumnReader(held, warnings):
        if words not in row and (remedy := _settings_of_words(row.row)):
            has = ", ".join(row.row)
            raise UserError(f"{source.key}: {row.origin} has no column '{words}' (it has: {has}){remedy}")
        if sentence_id is not None:
            row.row[words] = [word or "" for word in row.row[words]]
        read = tuple(row.cleaned(word) for word in _sequence(row, words, are_texts=are_texts))
        where = f"{source.key}: {row.origin}"
        given = _sequence(row, tags, are_texts=are_texts, may_lack=True) if tags else []
        for tag in given:
            if tag not in known:
                known[tag] = None if tag is None else tag_name(tag, names, where)
        read_tags = [known[tag] for tag in given]
        if None in read_tags:
            warnings.add("sentences with a word without a tag, left out", row.origin)
            continue
        if tags and len(read_tags) != len(read):
            raise UserError(f"{where} has {len(read)} words and {len(read_tags)} tags")
        if not read:
            warnings.add("sentences without a word, left out", row.origin)
            continue
        if not all(word if has_blanks else word.strip() for word in read):
            warnings.add("sentences with an empty word", row.origin)
        kept = tuple(tag for tag in read_tags if tag is not None)
        rows.append(TokenRow(words=read, tags=kept, origin=row.origin))
    if entities:
        return _as_bio(source, rows, warnings)
    if tags and names is None and all(tag.isdecimal() for row in rows for tag in row.tags):
        for row in rows:
            warnings.add("sentences whose tags are numbers, learned as such: task.tag_names names them", row.origin)
    return rows


def _as_bio(source: SomeRows, rows: list[TokenRow], warnings: DataWarnings) -> list[TokenRow]:
    """The rows with their tags in BIO.

    Raises:
        UserError: where a tag encodes no entity.
    """
    for row in rows:
        try:
            for tag in row.tags:
                parse_tag(tag)
        except UserError as error:
            are_numbers = all(tag.removeprefix("-").isdecimal() for tag in row.tags)
            remedy = "; where tags are numbers of names, give task.tag_names in their order" * are_numbers
            raise UserError(f"{source.key}: {row.origin}: {error}{remedy}") from None
    iob1 = is_iob1(row.tags for row in rows)
    in_bio = []
    for row in rows:
        tags, breaks = to_bio(row.tags, iob1=iob1)
        if breaks:
            warnings.add("sentences with tags that do not follow from one another, repaired", row.origin)
        in_bio.append(replace(row, tags=tags))
    return in_bio
