"""Cleaning and sentences: nothing is lost but what was meant to be."""

import itertools
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data.text.cleaning
from data.text.cleaning import ENORMOUS_CHARACTERS, clean, sentences

BOM, CRLF, NUL, BYTES = (
    "with a byte-order mark",
    "with CRLF or CR line ends",
    "with NUL characters",
    "with bytes that are not UTF-8",
)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
prose = st.lists(
    st.sampled_from(
        [
            *(
                "Mr. ",
                "Smith ",
                "3.14 ",
                "한다. ",
                "그는 ",
                "\n\n",
                "\n",
                "  ",
                "Yes! ",
                '"',
                "e.g. ",
                "。",
                "...",
                "\t\n \n",
            )
        ]
    ),
    max_size=60,
).map("".join)


@pytest.mark.parametrize(
    ("text", "cleaned", "warnings"),
    [
        ("as it is,\n\t twice  spaced\n", "as it is,\n\t twice  spaced\n", {}),
        ("a\r\nb\rc\n", "a\nb\nc\n", {CRLF: 1}),
        ("\ufeffa\ufeff", "a", {BOM: 1}),
        ("a\x00b\x00", "ab", {NUL: 1}),
        ("a\ud800b", "a\ufffdb", {BYTES: 1}),
        (b"caf\xe9".decode(errors="replace"), "caf\ufffd", {BYTES: 1}),
        ("\ufeff\r\n\x00", "", {BOM: 1, CRLF: 1, NUL: 1, "empty": 1}),
        ("", "", {"empty": 1}),
        (" \n\t\u3000", "", {"empty": 1}),
        ("a" * (ENORMOUS_CHARACTERS + 1), "a" * (ENORMOUS_CHARACTERS + 1), {"of over a million characters": 1}),
    ],
    ids=["sound", "crlf", "bom", "nul", "surrogate", "bytes", "nothing left", "empty", "white space", "enormous"],
)
def test_cleaning_takes_away_what_no_text_holds_and_counts_it(
    text: str, cleaned: str, warnings: dict[str, int]
) -> None:
    met: Counter[str] = Counter()
    assert clean(text, met) == cleaned
    assert dict(met) == warnings


@given(text=st.text(st.characters() | st.sampled_from("\r\n\x00\ufeff\ud800"), max_size=60))
@settings(deadline=None, derandomize=True)
def test_clean_text_stays_as_it_is_and_can_be_written(text: str) -> None:
    cleaned = clean(text, Counter())
    assert clean(cleaned, Counter()) == cleaned
    assert cleaned.encode().decode() == cleaned


@given(text=any_text | prose)
@settings(deadline=None, derandomize=True, max_examples=400)
def test_sentences_joined_are_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text


@given(text=any_text | prose)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_a_sentence_says_something_and_leaves_the_white_space_to_the_next(text: str) -> None:
    found = list(sentences(text))
    assert all(found)
    if text.strip():
        assert all(sentence.strip() for sentence in found)
    assert all(sentence == sentence.rstrip() for sentence in found[:-1])


@pytest.mark.parametrize(
    "parts",
    [
        ["Mr. Smith paid 3.14 dollars.", " He left at once.", ' "Why?" she asked.'],
        ["It cost $3.50, e.g. in the U.S. market.", " Really!", " Yes..."],
        ["나는 학교에 갔다.", " 그는 3.5점을 받았다.", " 정말요?", " 네, 그렇습니다."],
        ["One line goes on\nin the next.", "\n\nA new paragraph"],
        ["A heading", "\n\nIts text.", "\n \nMore."],
        ["\n  It begins late.", "\tAnd ends.\n\n"],
        ["다음 줄로\n이어진다.", "\n\n새 문단이다.\n"],
    ],
)
def test_english_and_korean_are_cut_where_a_reader_would(parts: list[str]) -> None:
    assert list(sentences("".join(parts))) == parts


def test_a_long_line_is_a_paragraph_and_a_short_one_is_wrapped() -> None:
    long, short = "word " * 30 + "end", "word " * 5 + "end"
    assert list(sentences(f"{long}\n{long}")) == [long, f"\n{long}"]
    assert list(sentences(f"{short}\n{short}")) == [f"{short}\n{short}"]


@pytest.mark.parametrize(
    "piece",
    ["He saw it. ", "a", " ", "\n", "그는 집에 갔다. ", "no end in sight ", "a.\n", "x" * 8_190 + ". "],
)
def test_an_enormous_paragraph_comes_back_whole(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    assert "".join(sentences(text)) == text


@pytest.mark.parametrize("piece", ["He saw it. ", "no end in sight ", "a. " + "x" * 8_100 + " ", "x" * 8_190 + ". "])
def test_a_paragraph_is_read_at_most_twice_and_in_pieces(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    boundaries = data.text.cleaning.get_sentence_boundaries

    def noting(language: str, text: str) -> list[dict[str, int]]:
        read.append(len(text))
        return boundaries(language, text)

    monkeypatch.setattr(data.text.cleaning, "get_sentence_boundaries", noting)
    text = piece * (500_000 // len(piece))
    longest = max(map(len, sentences(text)))
    assert max(read) <= 8_192
    assert longest <= 8_192 + 1
    assert sum(read) < 2.1 * len(text)


def test_the_cut_into_sentences_does_not_depend_on_where_a_long_paragraph_is_read_in_pieces() -> None:
    sentence = "The old cat sees the river and then it sleeps near the house."
    text = " ".join([sentence] * 1_000)
    assert list(sentences(text)) == [sentence] + [f" {sentence}"] * 999


@given(text=st.text(st.sampled_from("a \n\t\r\x0b"), max_size=60), width=st.integers(118, 122))
def test_a_paragraph_ends_at_a_blank_line_or_at_the_end_of_a_long_one(text: str, width: int) -> None:
    plain = re.compile(r"\n[ \t]*\n\s*|(?<=[^\n]{120})\n")  # the same, tried at every place
    whole = f"{text}{'x' * width}\n{text}"
    ends = [match.end() for match in plain.finditer(whole)]
    assert list(data.text.cleaning._blocks(whole)) == [
        whole[start:end] for start, end in itertools.pairwise([0, *ends, len(whole)]) if start < end
    ]
