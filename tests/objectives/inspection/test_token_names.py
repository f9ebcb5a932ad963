"""A token by itself as a reader sees it: in one line, and never half a character."""

import pytest
from tokenizers import Tokenizer

from data.stream.order import Purpose, generator
from data.tokens.decoding import bytes_of
from data.tokens.tokenizer import train_tokenizer, vocabulary_of
from objectives.inspection.names import token_names
from objectives.inspection.picture import Painter
from objectives.inspection.text import windows_of_text
from objectives.masked_lm import MaskedLM

KOREAN = "초대 해 주셔서\n감사 🙂 합니다 ."


@pytest.fixture(scope="module")
def english() -> Tokenizer:
    """A tokenizer that has never seen Korean, and cuts each of its characters into bytes."""
    return train_tokenizer(iter(["plain words of English , line by line"] * 8), kind="byte_bpe", vocab_size=420)


def painter_of(tokenizer: Tokenizer) -> Painter:
    return Painter(vocabulary_of(tokenizer), lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False))


def test_parts_of_a_character_have_the_whole_with_their_number(english: Tokenizer) -> None:
    painter = painter_of(english)
    ids = english.encode(KOREAN, add_special_tokens=False).ids
    names = painter.names(ids)
    assert len(names) == len(ids)
    assert names[:3] == ["초₁", "초₂", "초₃"]
    assert "↵" in names
    assert {"🙂₁", "🙂₄"} <= {*names}
    assert not any("\ufffd" in name or "\n" in name for name in names)


def test_a_part_alone_is_named_as_in_the_window_where_it_has_one_meaning_and_else_by_its_bytes(
    english: Tokenizer,
) -> None:
    painter, vocabulary = painter_of(english), vocabulary_of(english)
    windows = windows_of_text("초대 대해", english, vocabulary)
    first, last = windows[0].tokens[[0, 2]].tolist()
    assert bytes_of(english, first) == "초".encode()[:1]
    assert painter.names([last]) == ["⟨88⟩"]
    assert windows[0].tokens.tolist().count(last) == 1
    assert painter.names([last], windows[0]) == ["초₃"]
    assert painter.names([first, vocabulary.mask, last], windows[0])[1] == "[MASK]"


@pytest.mark.parametrize("seed", range(4))
def test_no_row_of_a_picture_has_debris_or_is_broken(english: Tokenizer, seed: int) -> None:
    painter, vocabulary = painter_of(english), vocabulary_of(english)
    windows = windows_of_text(KOREAN, english, vocabulary)
    corrupt = MaskedLM(second_segment="none", noise_density=0.3).corruption(vocabulary)
    example = corrupt(windows[0], generator(seed, Purpose.DISPLAY, 0, 0), windows)
    whole = painter.names(windows[0].tokens.tolist())
    panel = painter.panels(windows[0], example)[0]
    for row in panel.values():
        for cell in row:
            assert "\ufffd" not in cell.text
            assert "\n" not in cell.text
    assert example.encoder_origins is not None
    for origin, read, target in zip(example.encoder_origins.tolist(), panel["reads"], panel["predicts"], strict=True):
        if origin >= 0 and read.kind in ("plain", "kept"):
            assert read.text.removeprefix("\u00b7") == whole[origin]
        if target.text:
            assert target.text.removeprefix("\u00b7") == whole[origin]


def test_a_tokenizer_without_bytes_is_named_as_it_decodes() -> None:
    names = token_names([1, 2, 3], lambda ids: "".join({1: " a", 2: "\t", 3: ""}[token] for token in ids))
    assert names == ["a", "⇥", "␣"]
