"""From the text that is found to the text that is read: cleaning, and the cut into sentences."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from sentencex import get_sentence_boundaries  # pyright: ignore[reportAttributeAccessIssue] (compiled)

ENORMOUS_CHARACTERS = 1_000_000
_BLOCK_CHARACTERS = 8_192  # sentencex slows down with the square of what it is given at once
_WRAPPED_LINE_CHARACTERS = 120  # a longer line is a paragraph of its own, a shorter one may be part of one

# It begins with a line feed whichever way it matches: a pattern without a first character is tried at every place.
_PARAGRAPH_END = re.compile(rf"\n(?:[ \t]*\n\s*|(?<=[^\n]{{{_WRAPPED_LINE_CHARACTERS}}}\n))")
_NO_SPACE = re.compile(r"\S")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str, warnings: Counter[str]) -> str:
    """`text` with one kind of line end and without byte-order marks, NUL characters and lone surrogates.

    Nothing else changes. `warnings` counts the documents in which each was met, and those that are empty or enormous.
    Bytes that were not UTF-8 arrive here as U+FFFD and stay so.
    """
    if "\ufeff" in text:
        warnings["with a byte-order mark"] += 1
        text = text.replace("\ufeff", "")
    if "\r" in text:
        warnings["with CRLF or CR line ends"] += 1
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x00" in text:
        warnings["with NUL characters"] += 1
        text = text.replace("\x00", "")
    if _LONE_SURROGATE.search(text):
        text = _LONE_SURROGATE.sub("\ufffd", text)
    if "\ufffd" in text:
        warnings["with bytes that are not UTF-8"] += 1
    if not text or text.isspace():
        warnings["empty"] += 1
        return ""
    if len(text) > ENORMOUS_CHARACTERS:
        warnings["of over a million characters"] += 1
    return text


def _blocks(text: str) -> Iterator[str]:
    """`text` cut at the ends of paragraphs; nothing is lost."""
    start = 0
    for end in _PARAGRAPH_END.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    if start < len(text):
        yield text[start:]


def parts_of(text: str, characters: int) -> Iterator[str]:
    """`text` in parts of that many characters and more, whose sentences are its own (`sentences`, `line_sentences`).

    Cut is behind a line feed at the end of a paragraph, where text follows: neither paragraphs nor sentences look
    across, and what is before them on a line is the same. White space there is the end of the part before, though it
    begins a sentence of the next. A text without such a place is one part; joined they are the text.
    """
    start, body = 0, _NO_SPACE.search(text)
    first = body.start() if body else len(text)  # no part is white space alone
    while len(text) - start > characters and (cut := _cut_behind(text, max(start, first) + characters)):
        yield text[start:cut]
        start = cut
    yield text[start:]


def _cut_behind(text: str, place: int) -> int | None:
    """The first place behind `place` at which `parts_of` may cut."""
    ends = (found.end() for found in _PARAGRAPH_END.finditer(text, place))
    return next((end for end in ends if end < len(text) and text[end - 1] == "\n" and not text[end].isspace()), None)


def _sentences_of_block(block: str) -> Iterator[str]:
    """Sentences of a paragraph; nothing is lost. A long one is read piece by piece, a cut sentence carried over."""
    start = 0
    while start < len(block):
        piece = block[start : start + _BLOCK_CHARACTERS]
        begins = [boundary["start_index"] for boundary in get_sentence_boundaries("en", piece)]
        cuts = sorted({0, len(piece), *begins})
        if start + len(piece) < len(block) and len(cuts) > 2:
            cuts.pop()  # the last sentence of the piece may go on behind it
        for begin, end in itertools.pairwise(cuts):
            yield piece[begin:end]
        start += cuts[-1]


def _with_white_space_before(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces that begin with the white space before them; what is at the end stays with the last."""
    last, held = "", ""  # the last piece met, and the white space behind it
    for piece in pieces:
        body = piece.rstrip()
        if not body:
            held += piece
            continue
        if last:
            yield last
        last, held = held + body, piece[len(body) :]
    if last + held:
        yield last + held


def sentences(text: str) -> Iterator[str]:
    """The sentences of `text`, English or Korean; joined they are `text`.

    White space between two sentences is the beginning of the second, so that a tokenizer that cuts before white
    space sees in the sentences just what it sees in the whole text; white space at the end belongs to the last.
    """
    return _with_white_space_before(piece for block in _blocks(text) for piece in _sentences_of_block(block))


def line_sentences(text: str) -> Iterator[str]:
    """The lines of `text`, each a sentence, cut as `sentences` cuts."""
    return _with_white_space_before(line[0] for line in _LINE.finditer(text))
