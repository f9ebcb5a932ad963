"""What a reader takes for one character: a letter with its marks, a syllable of several jamo, a joined emoji."""

import regex

_GRAPHEME = regex.compile(r"\X")  # Unicode Standard Annex 29, extended grapheme clusters


def graphemes(text: str) -> list[tuple[int, int]]:
    """The code points [start, end) of each character of a text, in order; together they are the whole text."""
    return [match.span() for match in _GRAPHEME.finditer(text)]


def whole_graphemes(text: str, start: int, end: int) -> tuple[int, int]:
    """[start, end) widened to the borders of the characters that it cuts; an empty span stays as it is."""
    if start == end:
        return start, end
    spans = graphemes(text)
    first = next(begin for begin, stop in spans if stop > start)
    last = next(stop for _, stop in spans if stop >= end)
    return first, last
