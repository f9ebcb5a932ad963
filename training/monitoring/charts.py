"""How matplotlib writes the texts of charts: any corpus's words, in fonts that have their letters."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager

_KOREAN_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Apple SD Gothic Neo", "Malgun Gothic")
_RULES: dict[Any, Any] = {
    "svg.hashsalt": "objective-lab",  # the same chart is the same file
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.parse_math": False,  # a corpus may hold dollars
}


@contextmanager
def chart_style(rules: Mapping[str, Any]) -> Iterator[None]:
    """These rules of matplotlib, beside those of every chart; a letter that no font here has is no warning."""
    installed = [name for name in _KOREAN_FONTS if name in font_manager.get_font_names()]
    every: dict[Any, Any] = {**_RULES, "font.family": ["DejaVu Sans", *installed], **rules}
    with mpl.rc_context(every), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a page's fonts are its reader's
        yield
