"""Sentences of CoNLL files, a word and its columns a line, and of CoNLL-U (universaldependencies.org/format.html)."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import UserError
from data.files.local import Lines, Rows

COLUMNS_U = ("id", "tokens", "lemmas", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # as on the hub
_LABELS_U = ("upos", "xpos", "deprel")  # of which `_` is none; of the others it may be a value
_NOT_A_WORD = re.compile(r"\d+-\d+|\d+\.\d+")  # a range of words with their common surface, and an empty node
_COMMENT = re.compile(r"#+ ")


def _is_numbered(sentences: Sequence[Sequence[Sequence[str]]]) -> bool:
    """Whether the first column counts the words of each sentence from 1."""
    for sentence in sentences:
        ids = [fields[0] for fields in sentence if not _NOT_A_WORD.fullmatch(fields[0])]
        if ids != [str(number) for number in range(1, len(ids) + 1)]:
            return False
    return any(len(sentence) > 1 for sentence in sentences)


def _named(width: int, *, is_numbered: bool = False) -> list[str]:
    """`tokens`, what stands between, and `tags`."""
    first = ["id", "tokens"] if is_numbered and width > 1 else ["tokens"]
    between = [f"column_{place}" for place in range(len(first) + 1, width)]
    return [*first, *between, *["tags"][: width - len(first)]]


def _sentences(path: Path, lines: Lines, header: Sequence[str]) -> Iterator[tuple[int, list[list[str]]]]:
    """The words of each sentence as fields, with the number of its first line.

    Raises:
        UserError: where a line has other columns than the first.
    """
    held = list(lines)
    by_tab = any("\t" in line and line.strip() for _, line in held)
    rows = [(number, line.split("\t") if by_tab else re.split(" +", line.strip(" ")), line) for number, line in held]
    kept = [fields for _, fields, line in rows if line.strip() and not line.startswith(("#", "-DOCSTART-"))]
    width = len(header) or len(kept[0] if kept else next((fields for _, fields, line in rows if line.strip()), []))
    last = {fields[-1] for fields in kept}
    sentence: list[list[str]] = []
    begin = 0

    def is_comment(fields: list[str], line: str) -> bool:
        """A line before a sentence's first word; `#` is a word where its columns are those of words."""
        if line.startswith("-DOCSTART-"):
            return True
        if sentence or not _COMMENT.match(line):
            return False
        return by_tab or len(fields) != width or fields[-1] not in last

    for number, fields, line in [*rows, (len(rows) + 1, [], "")]:
        if not line.strip():
            if sentence:
                yield begin, sentence
            sentence = []
        elif is_comment(fields, line):
            continue
        elif len(fields) != width:
            names = ", ".join(header or _named(width))
            raise UserError(f"{path}, line {number}: {len(fields)} columns where there are {width} ({names})")
        else:
            begin = begin if sentence else number
            sentence.append(fields)


def conll_rows(path: Path, lines: Lines, header: Sequence[str]) -> Rows:
    """Sentences of a CoNLL file, parted by blank lines, each column a list.

    Columns are parted by tabs, or by spaces where a file has no tab. Without `header` the first is `tokens` and the
    last is `tags`; a first column that counts the words is `id`. Lines of ranges and of empty nodes in such a column
    are no words. `-DOCSTART-` lines and comments (`# ...`, `## ...`, before a sentence's first word) are passed over.

    Raises:
        UserError: where a line has other columns than the first.
    """
    found = list(_sentences(path, lines, header))
    is_numbered = _is_numbered([sentence for _, sentence in found])
    names = list(header) or _named(len(found[0][1][0]) if found else 0, is_numbered=is_numbered)
    for begin, sentence in found:
        words = [fields for fields in sentence if not (is_numbered and _NOT_A_WORD.fullmatch(fields[0]))]
        if words:
            columns = [list(column) for column in zip(*words, strict=True)]
            yield f"{path.name}, line {begin}", dict(zip(names, columns, strict=True))


def conllu_rows(path: Path, lines: Lines, header: Sequence[str]) -> Rows:
    """Sentences of a CoNLL-U file, each column a list under its name on the hub (`tokens`, `upos`, ...), and the text.

    Ranges of words (`1-2`) and empty nodes (`3.1`) are no words. A part of speech or a relation that is `_` is None.
    Comments of the form `# text = ...` are columns of that name.

    Args:
        path: of the file; for messages.
        lines: of the file.
        header: names of the ten columns, in place of those of the hub.

    Raises:
        UserError: where a line has not ten columns.
    """
    names = list(header) or list(COLUMNS_U)
    words: list[list[str]] = []
    comments: dict[str, str] = {}
    begin = 0
    for number, line in [*lines, (0, "")]:
        if not line.strip():
            if words:
                columns = {name: list(column) for name, column in zip(names, zip(*words, strict=True), strict=True)}
                labels = {name: [None if label == "_" else label for label in columns[name]]
                          for name, hub in zip(names, COLUMNS_U, strict=True) if hub in _LABELS_U}  # fmt: skip
                yield f"{path.name}, line {begin}", {**comments, **columns, **labels}
            words, comments = [], {}
        elif line.startswith("#"):
            key, is_pair, value = line.lstrip("#").partition("=")
            comments |= {key.strip(): value.strip()} if is_pair else {}
        else:
            fields = line.split("\t")
            if len(fields) != len(COLUMNS_U) or len(names) != len(COLUMNS_U):
                raise UserError(
                    f"{path}, line {number}: {len(fields)} columns parted by tabs, named {', '.join(names)}; CoNLL-U "
                    f"has {len(COLUMNS_U)}"
                )
            if not _NOT_A_WORD.fullmatch(fields[0]):
                begin = begin if words else number
                words.append(fields)
