"""The second format of the vocabulary: six marks more; the first stays what it was and is never enlarged."""

import pickle
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from common.errors import UserError
from data.datamodule import DataModule
from data.store.recipe import Recipe, tokenizer_fingerprint
from data.store.store import find_or_build, read_tokenizer
from data.text.corpora import Corpus
from data.tokens.tokenizer import (
    KINDS,
    MARKS,
    SPECIAL_TOKENS,
    TokenizerKind,
    load_tokenizer,
    special_tokens,
    train_tokenizer,
    vocabulary_of,
)
from tests.helpers import made_up_documents, make_vocabulary

SIZES = {"byte_bpe": 600, "wordpiece": 400, "unigram": 300}
LITERALS = "[R] a[X]b [S] <|fim_prefix|> x<|fim_suffix|> <|fim_middle|>y"


def train(kind: TokenizerKind = "byte_bpe", *, second: bool = False) -> Tokenizer:
    texts = [f"{text} {LITERALS}" for text in made_up_documents(60)]
    return train_tokenizer(iter(texts), kind=kind, vocab_size=SIZES[kind], vocabulary_format=2 if second else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_marks_follow_the_special_tokens_of_the_first_format(kind: TokenizerKind) -> None:
    first, second = (vocabulary_of(train(kind, second=is_second)) for is_second in (False, True))
    assert max(first.size, second.size) <= SIZES[kind]
    assert first.marks == {}
    assert list(second.marks) == list(MARKS)
    assert list(second.marks.values()) == list(range(len(SPECIAL_TOKENS), len(SPECIAL_TOKENS) + 6))
    assert (second.mask, second.sentinels.tolist()) == (first.mask, first.sentinels.tolist())
    assert second.is_special[list(second.marks.values())].all()
    assert second.id_of("mode_r") == second.marks["mode_r"]
    assert second.id_of("cls") == second.cls


@pytest.mark.parametrize("kind", KINDS)
def test_a_literal_mark_in_a_text_is_text(kind: TokenizerKind, tmp_path: Path) -> None:
    """Law 6, also after the tokenizer was saved and read again."""
    tokenizer = train(kind, second=True)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for reader in (tokenizer, load_tokenizer(tmp_path / "tokenizer.json")):
        vocabulary = vocabulary_of(reader)
        ids = reader.encode(LITERALS, add_special_tokens=False).ids
        assert not vocabulary.is_special[[i for i in ids if i != vocabulary.unk]].any()


def test_what_a_store_is_made_of_and_called_did_not_change(corpus_file: Path) -> None:
    corpus = Corpus(source=(str(corpus_file),))
    assert Recipe(corpus=corpus).fingerprint() == Recipe(corpus=corpus, vocabulary_format=1).fingerprint()
    assert Recipe(corpus=corpus).fingerprint() != Recipe(corpus=corpus, vocabulary_format=2).fingerprint()
    assert tokenizer_fingerprint("byte_bpe", 500).keys() == {"kind", "vocab_size", "library"}
    assert special_tokens(1) == SPECIAL_TOKENS
    assert DataModule().recipe == DataModule(vocabulary_format=1).recipe


@pytest.mark.parametrize("second", [False, True])
def test_a_tokenizer_of_this_project_is_read_as_it_is(tmp_path: Path, second: bool) -> None:
    path = tmp_path / "tokenizer.json"
    train(second=second).save(str(path))
    read = load_tokenizer(path)
    assert read.get_vocab() == Tokenizer.from_file(str(path)).get_vocab()
    assert len(vocabulary_of(read).marks) == 6 * second
    assert read.to_str() == Tokenizer.from_file(str(path)).to_str()


def test_a_tokenizer_of_the_first_format_is_never_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    train().save(str(path))
    with pytest.raises(UserError, match=re.escape("is of the first format, without [R], [X], [S], <|fim_prefix|>")):
        load_tokenizer(path, 2)
    train(second=True).save(str(path))
    assert len(vocabulary_of(load_tokenizer(path, 2)).marks) == 6


def foreign(path: Path, *special: str, words: str = "the cat sees a bird") -> Path:
    """A tokenizer of whole words from elsewhere."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>", *special])
    tokenizer.train_from_iterator([words], trainer)
    tokenizer.save(str(path))
    return path


def test_a_tokenizer_from_elsewhere_gets_the_marks_it_lacks_and_keeps_those_it_has(tmp_path: Path) -> None:
    path = foreign(tmp_path / "tokenizer.json", "<fim_prefix>", "<fim_suffix>", "<fim_middle>")
    read = load_tokenizer(path, 2)
    vocabulary = vocabulary_of(read)
    assert vocabulary.marks["fim_prefix"] == read.token_to_id("<fim_prefix>") == 1
    assert vocabulary.marks["mode_r"] == read.token_to_id("[R]")
    assert read.token_to_id("<|fim_prefix|>") is None
    assert vocabulary_of(load_tokenizer(path)).marks.keys() == {"fim_prefix", "fim_suffix", "fim_middle"}


def test_a_mark_that_is_a_piece_of_text_elsewhere_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "tokenizer.json", words="the [X] cat")
    with pytest.raises(UserError, match=re.escape("holds [X] as text")):
        load_tokenizer(path, 2)
    assert "mode_x" not in vocabulary_of(load_tokenizer(path)).marks


def test_a_vocabulary_refuses_an_objective_whose_marks_it_lacks() -> None:
    with pytest.raises(UserError, match=r"Own needs \[R\], <\|fim_middle\|>, .*data.vocabulary_format = 2"):
        make_vocabulary().check_marks(("mode_r", "fim_middle"), "Own")
    vocabulary_of(train(second=True)).check_marks(tuple(MARKS), "Own")


def test_a_store_of_the_second_format_is_built_and_its_vocabulary_travels_to_workers(
    corpus_file: Path, tmp_path: Path
) -> None:
    recipe = Recipe(corpus=Corpus(source=(str(corpus_file),)), vocab_size=480, vocabulary_format=2)
    _, vocabulary = read_tokenizer(find_or_build(recipe, tmp_path, report=lambda line: None))
    assert len(vocabulary.marks) == 6
    travelled = pickle.loads(pickle.dumps(vocabulary))
    assert travelled.tokenizer
    assert vocabulary.tokenizer
    assert travelled.tokenizer.encode("the cat").ids == vocabulary.tokenizer.encode("the cat").ids
