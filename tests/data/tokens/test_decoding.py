"""Generated ids as text: half characters are dropped, whole ones stay."""

import pytest
from tokenizers import Tokenizer

from data.tokens.decoding import decode_generated, decode_text
from data.tokens.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(iter(["the cat"]), kind="byte_bpe", vocab_size=391)


@pytest.mark.parametrize("text", ["부산에서 만나자", "a\ufffdb", "👨\u200d👩\u200d👧", " the cat "])
def test_whole_characters_stay(tokenizer: Tokenizer, text: str) -> None:
    assert decode_text(tokenizer, tokenizer.encode(text).ids) == text


def test_bytes_that_make_no_character_are_dropped(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("부산").ids
    assert len(ids) == 6
    assert decode_text(tokenizer, ids[:-1]) == "부"
    assert decode_text(tokenizer, ids[1:]) == "산"
    assert decode_text(tokenizer, [*ids[:1] * 9]) == ""
    assert decode_text(tokenizer, [*ids[:2], *tokenizer.encode("a\ufffd").ids]) == "a\ufffd"


def test_special_tokens_are_named_or_skipped(tokenizer: Tokenizer) -> None:
    mask, part = tokenizer.get_vocab()["[MASK]"], tokenizer.encode("부").ids[0]
    assert decode_text(tokenizer, [mask, part]) == "[MASK]"
    assert decode_text(tokenizer, [mask, part], skip_special_tokens=True) == ""


def test_a_generated_text_ends_with_a_whole_character(tokenizer: Tokenizer) -> None:
    assert decode_generated(tokenizer, tokenizer.encode(" the 👨\u200d").ids) == "the 👨"


def test_other_tokenizers_have_no_bytes_to_cut() -> None:
    tokenizer = train_tokenizer(iter(["the cat 부산"]), kind="unigram", vocab_size=160)
    assert decode_text(tokenizer, tokenizer.encode("the cat").ids) == "the cat"
