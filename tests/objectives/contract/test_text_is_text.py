"""Law 6: what looks like a special token in a text is read, hidden and said like any other text."""

import numpy as np
import pytest

from data.stream.batch import IGNORE
from data.stream.order import Purpose, generator
from data.stream.windows import TokensInMemory, Windows
from data.tokens.tokenizer import Tokenizer, TokenizerKind, Vocabulary, train_tokenizer, vocabulary_of
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.objectives.texts import made

LITERALS = "Write [MASK] for a word, <extra_id_0> for a span, </s> at the end, <s> and [CLS] before, [SEP] between."


def tokenized(kind: TokenizerKind) -> tuple[Windows, Tokenizer, Vocabulary]:
    """The text as documents of one sentence each, and its tokenizer."""
    tokenizer = train_tokenizer(iter([LITERALS] * 20), kind=kind, vocab_size=420 if kind == "byte_bpe" else 220)
    vocabulary = vocabulary_of(tokenizer)
    ids = [tokenizer.encode(LITERALS, add_special_tokens=False).ids] * 4
    windows = Windows(TokensInMemory.of([[sentence] for sentence in ids]), length=len(ids[0]), end_token=vocabulary.eos)
    return windows, tokenizer, vocabulary


@pytest.fixture(scope="module")
def text() -> tuple[Windows, Tokenizer, Vocabulary]:
    return tokenized("byte_bpe")


@pytest.mark.parametrize("kind", ["byte_bpe", "wordpiece"])
def test_no_text_is_a_special_id(kind: TokenizerKind) -> None:
    windows, _, vocabulary = tokenized(kind)
    assert not vocabulary.is_special[windows.store.tokens].any()


@pytest.mark.parametrize(
    "objective",
    [made(MaskedLM, next_sentence=False), made(Denoising), made(SpanCorruption), made(CausalLM)],
    ids=lambda objective: type(objective).__name__,
)
def test_special_ids_are_those_that_the_objective_put_there(
    objective: Objective, text: tuple[Windows, Tokenizer, Vocabulary]
) -> None:
    """A mask or sentinel always stands for hidden text, and what is said reads as the text does, brackets and all."""
    windows, tokenizer, vocabulary = text
    corrupt = objective.corruption(vocabulary)
    for index in range(len(windows)):
        window = windows[index]
        for draw in range(10):
            example = corrupt(window, generator(draw, Purpose.NOISE, 0, index), windows)
            labels = example.token_labels
            if example.encoder_ids is not None and example.decoder_ids is None:
                assert (labels[example.encoder_ids == vocabulary.mask] != IGNORE).all()
                restored = np.where(labels == IGNORE, example.encoder_ids, labels)
            else:
                restored = labels
            if isinstance(objective, SpanCorruption):
                assert tokenizer.decode(window.tokens.tolist(), skip_special_tokens=False) == LITERALS
                inside = restored[~np.isin(restored, vocabulary.sentinels)][:-1]
                assert not vocabulary.is_special[inside].any()
            else:
                ordinary = restored[~vocabulary.is_special[restored]]
                assert tokenizer.decode(ordinary.tolist(), skip_special_tokens=False) == LITERALS
