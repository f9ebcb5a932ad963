"""Tagged units: every one that is no white space has tokens of its own where none parts them."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from data.tokens.tokenizer import KINDS, train_tokenizer
from finetuning.data.rows import TokenRow
from finetuning.data.units import in_characters, tokens_one_by_one, whole_text_tokens
from finetuning.metrics.spans import to_entities
from tests.helpers import made_up_documents

KOREAN = "영희가 부산에서 철수를 만났다. 부산에서 서울까지 영희가 갔다."


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(iter([KOREAN] * 20 + made_up_documents(20)), kind=request.param, vocab_size=600)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(words=st.lists(st.sampled_from(["영", "희", "가", " ", "부산", "에서", "  ", "a", ".", "cat "]), max_size=12))
def test_no_two_units_share_a_token_and_white_space_has_none(tokenizer: Tokenizer, words: list[str]) -> None:
    (found,) = tokens_one_by_one(tokenizer, [words], "")
    inked = [place for place, word in zip(found.first.tolist(), words, strict=True) if word.strip()]
    assert all(place >= 0 for place in inked)
    assert len(set(inked)) == len(inked)
    assert inked == sorted(inked)
    assert all(place < 0 for place, word in zip(found.first.tolist(), words, strict=True) if not word.strip())
    (whole,) = whole_text_tokens(tokenizer, [words], " ")
    assert all(place < 0 for place, word in zip(whole.first.tolist(), words, strict=True) if not word.strip())


def test_byte_level_units_are_the_text() -> None:
    tokenizer = train_tokenizer(iter([KOREAN] * 20), kind="byte_bpe", vocab_size=600)
    words = [*"영희가 부산에서  살아.  "]
    (found,) = tokens_one_by_one(tokenizer, [words], "")
    assert tokenizer.decode(found.ids) == "".join(words)


def test_a_blank_unit_takes_nothing_of_the_token_that_begins_with_it() -> None:
    """Neighbours of the joined case: words of a text with blanks of their own, and several blanks."""
    tokenizer = train_tokenizer(iter([KOREAN] * 20), kind="byte_bpe", vocab_size=600)
    for words in (["영희가", " ", "부산에서"], ["영희가", "  ", "부산에서"], [" ", "부산에서"]):
        (found,) = whole_text_tokens(tokenizer, [words], "")
        last = found.first[-1]
        assert last >= 0
        assert found.first[words.index(next(word for word in words if not word.strip()))] == -1


def test_words_become_characters_and_entities_their_characters() -> None:
    row = in_characters(TokenRow(words=("부산", "에서", " ", "New York ", "."), tags=("B-LC", "O", "O", "B-LC", "O")))
    assert "".join(row.words) == "부산에서 New York ."
    assert [("".join(row.words[start:end])) for _, start, end in to_entities(row.tags)] == ["부산", "New York"]
    tags = in_characters(TokenRow(words=("a", " ", "b"), tags=("O", "B-x", "I-x"))).tags
    assert tags == ("O", "O", "B-x")
    assert in_characters(TokenRow(words=("ab", "\u00e9"))).tags == ()


def test_a_character_of_several_code_points_is_one_unit() -> None:
    word = unicodedata.normalize("NFD", "부산")
    assert len(in_characters(TokenRow(words=(word,), tags=("B-LC",))).words) == 2
