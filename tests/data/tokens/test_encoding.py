"""Documents are encoded word by word, each word once, and have the tokens that the tokenizer makes of them whole."""

import itertools
import pickle
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from data.text.cleaning import sentences
from data.tokens import encoding, word_encoding
from data.tokens.encoding import DocumentEncoder
from data.tokens.pieces import cuts_before_blanks, cuts_before_white_space
from data.tokens.tokenizer import _keep_text_text, train_tokenizer
from tests.data.tokens.test_pieces import MAKERS, TEXTS, bpe, unigram

SPACES = [" ", " ", " ", "  ", "\n", "\n\n", "\t", " \n", "\n ", "\x1c", "\xa0", "\u3000", "\u2028", "\x0b ", "\r\n"]
INK = [
    *("the", "Cat", "it's", "We'LL", "1234", "?!", ".", "),", "[MASK]", "<|x|>", "한국어", "문서이다.", "我们走。"),
    *("cafe\u0301", "\u0301", "▁", "a▁b", "\u00a8", "\ufb01", "ſ", "İ", "\U0001f600\u200d", "\u200b", "Ω", "\ufc5e"),
]
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def split_by(pattern: str) -> Tokenizer:
    cut = pre_tokenizers.Split(Regex(pattern), "isolated")
    inner = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return bpe(pre_tokenizers.Sequence([cut, inner]), alphabet=True)


def own(kind: Any) -> Tokenizer:
    return train_tokenizer(iter(TEXTS), kind=kind, vocab_size=700)


BY_SENTENCE: dict[str, Callable[[], Tokenizer]] = {
    "byte_bpe": lambda: own("byte_bpe"),
    "wordpiece": lambda: own("wordpiece"),
    "white space": lambda: bpe(pre_tokenizers.Whitespace(), normalizers.NFKC()),
    "letters": lambda: bpe(pre_tokenizers.Whitespace(), alphabet=True),
    "letters by bert": lambda: bpe(pre_tokenizers.BertPreTokenizer(), alphabet=True),
    "bert": lambda: bpe(pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer()),
}
BY_WORD: dict[str, Callable[[], Tokenizer]] = {
    "unigram": lambda: own("unigram"),
    "always": lambda: _keep_text_text(unigram(pre_tokenizers.Metaspace(prepend_scheme="always"))),
    "first": lambda: unigram(pre_tokenizers.Metaspace(prepend_scheme="first")),
    "prefix": MAKERS["byte level"],
    "digits": MAKERS["in a sequence"],
    "llama 3": lambda: split_by(LLAMA_3),
    "gpt-2": lambda: split_by(GPT_2),
}
WHOLE = {name: MAKERS[name] for name in ("prepend", "line ends", "strip")}
EVERY = {**BY_SENTENCE, **BY_WORD, **WHOLE}


@cache
def odd_texts(count: int) -> list[str]:
    """Texts of words and white space of every kind, in any order; none is empty or blank."""
    rng = random.Random(0)
    drawn = [
        "".join(rng.choice(rng.choice([SPACES, INK, INK])) for _ in range(rng.randrange(1, 40))) for _ in range(count)
    ]
    return [text for text in drawn if text.strip()]


def reference(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """The tokens of each sentence: of itself, or those of the whole text that begin in it."""
    cut = list(sentences(text))
    if cuts_before_white_space(tokenizer):
        return [tokenizer.encode(sentence, add_special_tokens=False).ids for sentence in cut]
    encoding = tokenizer.encode(text, add_special_tokens=False)
    begins = list(itertools.accumulate((start for start, _ in encoding.offsets), max))
    starts = [sum(map(len, cut[:number])) for number in range(len(cut))]
    firsts = [0, *(sum(begin < start for begin in begins) for start in starts[1:]), len(begins)]
    return [encoding.ids[first:last] for first, last in itertools.pairwise(firsts)]


def encoded(encoder: DocumentEncoder, texts: list[str]) -> list[list[list[int]]]:
    lengths = [np.array([len(sentence) for sentence in sentences(text)], dtype=np.uint32) for text in texts]
    ids, counts = encoder(texts, lengths)
    assert counts.sum() == len(ids)
    found = iter(np.split(ids, np.cumsum(counts))[:-1])
    return [[next(found).tolist() for _ in each] for each in lengths]


def test_each_tokenizer_reads_as_much_at_once_as_it_must() -> None:
    for name, make in EVERY.items():
        assert cuts_before_white_space(make()) is (name in BY_SENTENCE), name
        assert cuts_before_blanks(make()) is (name in {**BY_SENTENCE, **BY_WORD}), name


@pytest.mark.parametrize("name", EVERY)
def test_the_tokens_of_documents_are_those_of_their_whole_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = EVERY[name]()
    texts = [*TEXTS, *odd_texts(300)]
    wanted = [reference(tokenizer, text) for text in texts]
    assert encoded(DocumentEncoder(tokenizer), texts) == wanted
    monkeypatch.setattr(encoding, "CHARACTERS_AT_ONCE", 40)
    monkeypatch.setattr(word_encoding, "KEPT_CHARACTERS", 100)
    encoder = pickle.loads(pickle.dumps(DocumentEncoder(tokenizer)))
    assert encoder.tokenizer.encode_special_tokens is tokenizer.encode_special_tokens
    for first in range(0, len(texts), 50):
        assert encoded(encoder, texts[first : first + 50]) == wanted[first : first + 50]


@pytest.mark.parametrize("lengths", [[3, 0], [0, 3], [2, 0, 1], [1, 0, 0, 2]])
def test_an_empty_sentence_has_no_token(lengths: list[int]) -> None:
    for text in ("a.b", "a b"):
        ids, counts = DocumentEncoder(own("byte_bpe"))([text], [np.array(lengths)])
        assert counts.sum() == len(ids)
        assert [count == 0 for count in counts] == [length == 0 for length in lengths]
