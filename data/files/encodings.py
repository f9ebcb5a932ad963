"""The encoding of a file: UTF-8, what its byte-order mark declares, what a setting names, or a refusal by name."""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from common.errors import UserError

AUTO = "auto"
SAMPLE_BYTES = 1 << 18  # of a file, by which its encoding is recognised
_RECOGNISED_BYTES = 1 << 15  # of these; charset-normalizer's time grows with them
_BLANKS = [0x09, 0x0A, 0x0D, 0x20]  # as they stand in UTF-16
_LEAST_BAD_SHARE = 0.002  # of the characters: the accents of English text in Latin-1 are about as many
_LEAST_BAD = 3  # one or two stray bytes are damage, and no encoding
_IN_TEXT = (8, 9, 10, 11, 12, 13, 27, 28, 29, 30, 31)  # controls that texts do have: white space, escapes, separators
_LEAST_CONTROLS, _MOST_CONTROLS = 32, 0.02  # of bytes at random, 8 % are others
_MARKS = {
    codecs.BOM_UTF32_LE: ("utf-32", "utf-32-le"),
    codecs.BOM_UTF32_BE: ("utf-32", "utf-32-be"),
    codecs.BOM_UTF16_LE: ("utf-16", "utf-16-le"),
    codecs.BOM_UTF16_BE: ("utf-16", "utf-16-be"),
    codecs.BOM_UTF8: ("utf-8", "utf-8-sig"),
}  # the longer ones first; what each declares, and the same by the names that checked_encoding gives
_WESTERN = ("iso8859-1", "iso8859-15", "cp1252", "latin-1")  # of which almost every byte is a letter
_WIDER = {"euc_kr": "cp949", "shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030"}
_EVIDENCE = 3  # bytes behind the first of characters in UTF-8: so many are there by chance in no other encoding


@dataclass(frozen=True)
class TextForm:
    """How the bytes of a file stand for lines: their encoding, and what ends a line (a lone CR in old files)."""

    encoding: str = "utf-8"
    line_end: str = "\n"

    def lines(self, chunks: Iterable[bytes], strict: Path | None = None) -> Iterator[str]:
        """The lines of a file with their own ends; bytes that make no character become U+FFFD.

        Args:
            chunks: of the file.
            strict: the file's path, where such bytes are refused.

        Raises:
            UserError: naming the line.
        """
        errors = "strict" if strict else "replace"
        decoder, ends = codecs.getincrementaldecoder(self.encoding)(errors), 0

        def decoded(chunk: bytes, *, is_last: bool = False) -> str:
            try:
                return decoder.decode(chunk, is_last)
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(self.encoding, "replace")
                number, bad = ends + before.count(self.line_end) + 1, error.object[error.start : error.end].hex(" ")
                wider = _WIDER.get(self.encoding)
                remedy = f"; {wider} has the same characters and more" if wider else ""
                raise UserError(f"{strict}, line {number}: is not {self.encoding}, by bytes {bad}{remedy}") from None

        held: list[str] = []  # of a line that goes on
        for text in chain(map(decoded, chunks), (decoded(b"", is_last=True) for _ in range(1))):
            ends += text.count(self.line_end)
            first, *others = text.split(self.line_end)
            held.append(first)
            for line in others:
                yield "".join(held) + self.line_end
                held = [line]
        if rest := "".join(held):
            yield rest


def checked_encoding(name: str, key: str = "data.encoding") -> str:
    """The encoding that a setting names, by the one name that Python has for it; `auto` as it is.

    Raises:
        UserError: where there is none of that name.
    """
    if name == AUTO:
        return name
    try:
        "a".encode(name or "none")  # refuses what encodes no text, such as base64
        codecs.getincrementaldecoder(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise UserError(
            f"{key} = '{name}' is no encoding that Python knows (auto, utf-8, utf-16-le, cp949, shift_jis, ...)"
        ) from None


def _utf16_without_mark(sample: bytes) -> str | None:
    """The byte order of UTF-16, recognised by blanks and line ends, or by every other byte being zero."""
    whole = sample[: len(sample) // 2 * 2]
    for order, other in (("<u2", ">u2"), (">u2", "<u2")):
        units, turned = np.frombuffer(whole, order), np.frombuffer(whole, other)
        blanks, by_chance = (np.isin(these, _BLANKS).sum() for these in (units, turned))
        narrow = (units < 128).sum() - (units == 0).sum()
        is_spaced = blanks * 50 >= len(units) and blanks > 3 * by_chance
        if len(units) and (is_spaced or narrow * 2 >= len(units)):
            encoding = "utf-16-le" if order == "<u2" else "utf-16-be"
            decoded = codecs.getincrementaldecoder(encoding)(errors="replace").decode(whole)
            return encoding if decoded.count("\ufffd") * 100 <= len(decoded) else None
    return None


def _legacy(sample: bytes, text: str) -> str | None:
    """The likely encodings of a sample that is not UTF-8, the likeliest first; None where it is damaged UTF-8.

    Args:
        sample: of the file.
        text: the same as UTF-8, with U+FFFD.
    """
    bad = text.count("\ufffd")
    good = len(text) - bad - sum(character < "\x80" for character in text)
    if bad < max(_LEAST_BAD, _LEAST_BAD_SHARE * len(text)) or bad < good:
        return None
    from charset_normalizer import from_bytes  # slow to import

    middle = next((place for place, byte in enumerate(sample) if byte > 127), 0)
    start = sample.rfind(b"\n", 0, middle) + 1  # so that what is cut off is no half character
    matches = list(from_bytes(sample[start : start + _RECOGNISED_BYTES].rpartition(b"\n")[0] or sample))
    if not matches:
        return None
    names = list(dict.fromkeys([*matches[0].could_be_from_charset[:2], *(match.encoding for match in matches)]))
    if "cp1252" in names and not matches[0].multi_byte_usage:
        names.remove("cp1252")
        names.insert(0, "cp1252")  # Western Europe's, of which the others differ in letters that are rare
    return f"{names[0]} (or {', '.join(names[1:4])})" if len(names) > 1 else names[0]


def _is_binary(sample: bytes) -> bool:
    """Whether so many bytes are control characters that this is no text; a stray one, such as NUL, is damage."""
    if _utf16_without_mark(sample):
        return False
    bytes_N = np.frombuffer(sample, np.uint8)
    controls = int(((bytes_N < 32) & ~np.isin(bytes_N, _IN_TEXT)).sum())
    return controls > max(_LEAST_CONTROLS, _MOST_CONTROLS * len(sample))


def _contradiction(sample: bytes, text: str, encoding: str) -> tuple[int, str] | None:
    """A character of the text, and why the bytes there are not of the encoding that was named; None where they may be.

    Args:
        sample: of the file.
        text: the same in that encoding, with U+FFFD.
        encoding: by the name of `checked_encoding`.
    """
    for mark, declared in _MARKS.items():
        if sample.startswith(mark):
            return None if encoding in declared else (0, f"its byte-order mark declares {declared[0]}")
    if encoding.startswith("utf-16") and (order := _utf16_without_mark(sample)) not in (None, encoding):
        return 0, f"it looks like {order}"
    if encoding in ("utf-8", "utf-8-sig"):
        return None  # with U+FFFD for what is none, as whoever names it wants
    if not encoding.startswith(("utf-", "utf_")):
        as_utf8 = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
        if "\ufffd" not in as_utf8 and len(sample) - len(as_utf8) >= _EVIDENCE:
            place = next(place for place, character in enumerate(text) if character > "\x7f")
            return place, "it is utf-8"
    bad = text.count("\ufffd")
    if bad >= max(_LEAST_BAD, _LEAST_BAD_SHARE * len(text)):
        return text.index("\ufffd"), f"{bad:,} places in the first {len(text):,} characters make no character"
    high = np.frombuffer(sample, np.uint8) > 127
    if encoding in _WESTERN and high.sum() > 2 * _EVIDENCE and (high[1:] & high[:-1]).sum() * 2 > high.sum():
        as_utf8 = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
        if (found := _legacy(sample, as_utf8)) and found.partition(" ")[0] not in _WESTERN:
            return int(high.argmax()), f"it looks like {found}"
    return None


def text_form(path: Path, sample: bytes, *, is_whole: bool, encoding: str = AUTO) -> TextForm:
    """How a file is read, by its first bytes.

    A byte-order mark is a declaration, and is followed. Without one a file is UTF-8, of which single bytes may be
    damaged.

    Args:
        path: of the file; for messages.
        sample: its first bytes.
        is_whole: whether they are all of it.
        encoding: as `checked_encoding` gives it.

    Raises:
        UserError: where the bytes are of another encoding than is declared or named, by the name of that one.
    """
    declared = next((names[0] for mark, names in _MARKS.items() if sample.startswith(mark)), None)
    if encoding in ("utf-16", "utf-32") and declared is None and sample:
        order = _utf16_without_mark(sample) if encoding == "utf-16" else None
        if order is None:
            raise UserError(
                f"{path}, line 1: is not {encoding} with a byte-order mark, and does not look like it without one; if "
                f"it is, name {encoding}-le or {encoding}-be"
            )
        encoding = order
    chosen = (declared or "utf-8") if encoding == AUTO else encoding
    text = codecs.getincrementaldecoder(chosen)(errors="replace").decode(sample, is_whole)
    form = TextForm(chosen, "\r" if "\r" in text and "\n" not in text else "\n")
    if encoding != AUTO:
        if found := _contradiction(sample, text, encoding):
            number = text.count(form.line_end, 0, found[0]) + 1
            raise UserError(f"{path}, line {number}: is not {encoding}, as its setting has it: {found[1]}")
    elif chosen == "utf-8" and _is_binary(sample):
        raise UserError(f"{path}: is no text: many of its bytes are control characters")
    elif chosen == "utf-8" and (looks_like := _utf16_without_mark(sample) or _legacy(sample, text)):
        first, number = looks_like.partition(" ")[0], text.count("\n", 0, max(text.find("\ufffd"), 0)) + 1
        raise UserError(
            f"{path}, line {number}: is not UTF-8 and looks like {looks_like}: name it with data.encoding = {first} of "
            f"a corpus, task.encoding of a task, --encoding of predict.py and score.py, or convert the file "
            f"(iconv -f {first} -t UTF-8)"
        )
    return form
