"""Sentence by sentence the store holds the whole text's tokens, whatever the tokenizer; so do prompts and scores."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from common.errors import UserError
from data.store.recipe import Recipe
from data.store.store import TokenStore, find_or_build, read_manifest
from data.text.cleaning import sentences
from data.text.corpora import Corpus
from data.tokens import encoding
from data.tokens.encoding import DocumentEncoder
from data.tokens.pieces import continuing, cuts_before_white_space, puts_blank_before
from data.tokens.tokenizer import Vocabulary, load_tokenizer, train_tokenizer, vocabulary_of
from evaluation.scoring.cached import Passage, tokens_of
from objectives.core.prompts import MARK, Prompts
from objectives.fill_in_the_middle import FillInTheMiddle
from tests.helpers import made_up_documents, write_jsonl

ODD = [
    "A.  B.",
    "First line.\nSecond line.\n\nThird (3).",
    "我们走。他来了。很好。",
    " Begins blank. Ends blank. ",
    "a",
    "?!",
    "줄.\n끝.",
]
TEXTS = [*made_up_documents(40), *ODD]


def trained(model: Any, trainer: Any, cut: Any, normalizer: Any = None, decoder: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if cut:
        tokenizer.pre_tokenizer = cut
    if decoder:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def bpe(cut: Any, normalizer: Any = None, alphabet: bool = False) -> Tokenizer:
    letters = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=letters, special_tokens=["<unk>"]
    )
    return trained(models.BPE(unk_token="<unk>"), trainer, cut, normalizer)


def unigram(cut: Any) -> Tokenizer:
    trainer = trainers.UnigramTrainer(vocab_size=400, show_progress=False, unk_token="<unk>", special_tokens=["<unk>"])
    return trained(models.Unigram(), trainer, cut, decoder=decoders.Metaspace())


def llama() -> Tokenizer:
    """As Llama's first tokenizers are: pieces within words, found without a cut before."""
    tokenizer = bpe(pre_tokenizers.Metaspace(prepend_scheme="never"))
    tokenizer.pre_tokenizer = None  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


LLAMA3 = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "prepend": llama,
    "byte level": lambda: bpe(pre_tokenizers.ByteLevel(add_prefix_space=True), alphabet=True),
    "metaspace": lambda: unigram(pre_tokenizers.Metaspace(prepend_scheme="always")),
    "metaspace first": lambda: unigram(pre_tokenizers.Metaspace(prepend_scheme="first")),
    "in a sequence": lambda: bpe(
        pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=True)]),
        alphabet=True,
    ),
    "line ends": lambda: bpe(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(LLAMA3, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
        alphabet=True,
    ),
    "strip": lambda: bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizers.Strip(), alphabet=True),
}  # fmt: skip


def sentence_tokens(texts: list[str], tokenizer: Tokenizer) -> list[list[list[int]]]:
    """The tokens of each sentence of each document, as a store has them."""
    lengths = [np.array([len(sentence) for sentence in sentences(text)]) for text in texts]
    ids, counts = DocumentEncoder(tokenizer)(texts, lengths)
    found = iter(np.split(ids, np.cumsum(counts))[:-1])
    return [[next(found).tolist() for _ in each] for each in lengths]


BLANK = ("prepend", "byte level", "metaspace", "metaspace first", "in a sequence")


@pytest.fixture(scope="module", params=MAKERS)
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    MAKERS[request.param]().save(str(path))
    return request.param, path


def test_the_store_holds_the_tokens_of_the_whole_text(foreign: tuple[str, Path], tmp_path: Path) -> None:
    name, path = foreign
    tokenizer = load_tokenizer(path)
    assert puts_blank_before(tokenizer) is (name in BLANK)
    recipe = Recipe(
        corpus=Corpus(source=(str(write_jsonl(tmp_path / "a.jsonl", TEXTS)),)),
        validation=Corpus(source=(str(write_jsonl(tmp_path / "b.jsonl", ODD)),), key="data.validation"),
        tokenizer=str(path),
        end_of_document=False,
    )
    folder = find_or_build(recipe, tmp_path / "cache", report=lambda line: None)
    for split, texts in {"train": TEXTS, "validation": ODD}.items():
        store = TokenStore(folder, split)
        whole = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        assert store.tokens.tolist() == list(itertools.chain(*whole))
        assert store.document_starts.tolist() == np.cumsum([0, *map(len, whole)])[:-1].tolist()
        assert (np.diff(store.sentence_starts) > 0).all()
        assert set(store.document_starts.tolist()) <= set(store.sentence_starts.tolist())
        counts = read_manifest(folder)[split]
        assert counts["sentences"] == len(store.sentence_starts)


def test_a_sentence_begins_with_its_first_token(foreign: tuple[str, Path]) -> None:
    name, path = foreign
    tokenizer = load_tokenizer(path)
    [document] = sentence_tokens(["The cat sat. It slept. They woke."], tokenizer)
    assert len(document) == 3
    assert tokenizer.encode("The cat sat.", add_special_tokens=False).ids == document[0]
    if name in BLANK:
        behind = continuing(tokenizer)
        assert [behind.encode(text).ids for text in (" It slept.", " They woke.")] == document[1:]


@pytest.mark.parametrize("kind", ["byte_bpe", "wordpiece"])
def test_our_own_tokenizers_are_read_sentence_by_sentence_and_have_the_same_tokens(kind: Any) -> None:
    tokenizer = train_tokenizer(iter(TEXTS), kind=kind, vocab_size=700)
    assert cuts_before_white_space(tokenizer)
    assert continuing(tokenizer) is tokenizer
    for text, document in zip(TEXTS, sentence_tokens(TEXTS, tokenizer), strict=True):
        assert list(itertools.chain(*document)) == tokenizer.encode(text, add_special_tokens=False).ids
        assert document == [tokenizer.encode(one, add_special_tokens=False).ids for one in sentences(text)]


def test_unigram_of_our_own_has_the_tokens_of_the_whole_text() -> None:
    tokenizer = train_tokenizer(iter(TEXTS), kind="unigram", vocab_size=500)
    for text, document in zip(TEXTS, sentence_tokens(TEXTS, tokenizer), strict=True):
        assert list(itertools.chain(*document)) == tokenizer.encode(text, add_special_tokens=False).ids


def prompts_of(tokenizer: Tokenizer, vocabulary: Vocabulary) -> Prompts:
    return Prompts(texts=["a"], tokenizer=tokenizer, vocabulary=vocabulary, max_positions=99)


def test_prompts_have_the_tokens_of_the_whole_text(foreign: tuple[str, Path]) -> None:
    tokenizer = load_tokenizer(foreign[1])
    prompts = prompts_of(tokenizer, vocabulary_of(tokenizer))
    for given in TEXTS:
        text = given.removesuffix(" ")  # which would be part of what follows
        assert prompts.encode(text).tolist() == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", BLANK)
def test_behind_a_mark_or_a_prefix_there_is_no_stray_blank(name: str, tmp_path: Path) -> None:
    MAKERS[name]().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    mask = vocabulary_of(tokenizer).mask
    prompts = prompts_of(tokenizer, vocabulary_of(tokenizer))
    text = "The cat sat on the mat."
    encoded = tokenizer.encode(text, add_special_tokens=False)
    whole = encoded.ids
    cut = next(place for place, (start, _) in enumerate(encoded.offsets) if text[start:].lstrip().startswith("on the"))
    ids = prompts.encode("The cat sat [MASK] on the mat.", MARK, itertools.repeat(mask)).tolist()
    assert ids == [*whole[:cut], mask, *whole[cut:]]
    [passage] = tokens_of(tokenizer, [Passage(prefix="The cat sat", text=" on the mat.")])
    assert [*passage.prefix.tolist(), *passage.text.tolist()] == whole
    [alone] = tokens_of(tokenizer, [Passage(text=text)])
    assert alone.text.tolist() == whole


def test_a_document_that_is_too_long_to_be_read_whole_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "WHOLE_CHARACTERS", 1_000)
    MAKERS["prepend"]().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match=r"a document of 1,100 characters is too long for this data\.tokenizer"):
        sentence_tokens(["A sentence. " * 10, "ten of it. " * 100], tokenizer)


def test_parts_of_words_are_not_tokenised_by_what_puts_blanks_before_them(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(iter(TEXTS), kind="byte_bpe", vocab_size=500, vocabulary_format=2)
    FillInTheMiddle(level="character").check_vocabulary(vocabulary_of(tokenizer))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    with pytest.raises(UserError, match="puts a blank before each text: take level = token"):
        FillInTheMiddle(level="character").check_vocabulary(vocabulary_of(tokenizer))
