"""Characters as a reader counts them: nothing is lost, and no span cuts one."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.text.graphemes import graphemes, whole_graphemes

FAMILY = "👨\u200d👩\u200d👧"


@settings(deadline=None, derandomize=True)
@given(text=st.text(max_size=20))
def test_characters_are_the_text(text: str) -> None:
    assert "".join(text[start:end] for start, end in graphemes(text)) == text


@pytest.mark.parametrize("text", [unicodedata.normalize("NFD", "서울"), f"{FAMILY}é", "a\r\nb", "🇰🇷"])
def test_no_span_cuts_a_character(text: str) -> None:
    borders = {0} | {end for _, end in graphemes(text)}
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            found = whole_graphemes(text, start, end)
            assert set(found) <= borders
            assert found[0] <= start < end <= found[1]
            if {start, end} <= borders:
                assert found == (start, end)


def test_an_empty_span_stays() -> None:
    assert whole_graphemes(FAMILY, 1, 1) == (1, 1)
