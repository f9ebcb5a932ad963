"""Tokenizers trained here: one set of special ids, text that stays text, words told from their ids."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from data.store.recipe import tokenizer_fingerprint
from data.tokens.tokenizer import (
    KINDS,
    NUM_SENTINELS,
    SPECIAL_TOKENS,
    TokenizerKind,
    load_tokenizer,
    sentinel,
    train_tokenizer,
    vocabulary_of,
)
from tests.helpers import made_up_documents

ROLES = ("pad", "eos", "unk", "bos", "cls", "sep", "mask")
LITERALS = " ".join(["[MASK]", "<mask>", "</s>x", "<s>", "<pad>", "[CLS]", "[SEP]", "a<extra_id_0>b", "<extra_id_127>"])
SIZES = {"byte_bpe": 600, "wordpiece": 400, "unigram": 300}


def train(kind: TokenizerKind, vocab_size: int | None = None) -> Tokenizer:
    return train_tokenizer(iter(made_up_documents()), kind=kind, vocab_size=vocab_size or SIZES[kind])


@pytest.fixture(scope="module")
def tokenizers_by_kind() -> dict[str, Tokenizer]:
    return {kind: train(kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest, tokenizers_by_kind: dict[str, Tokenizer]) -> Tokenizer:
    return tokenizers_by_kind[request.param]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


@given(
    text=st.text(max_size=60)
    | st.text(st.sampled_from("가힣ㄱ한 글\n🙂👩‍👩‍👧\x00\x1f\u200b\u3000é[MASK]</s>"), max_size=60)
)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_byte_level_bpe_gives_every_text_back(text: str, tokenizers_by_kind: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers_by_kind["byte_bpe"]
    assert tokenizer.decode(ids_of(tokenizer, text), skip_special_tokens=False) == text


def test_special_tokens_come_first_and_sentinels_fall(tokenizer: Tokenizer) -> None:
    vocabulary = vocabulary_of(tokenizer)
    assert [getattr(vocabulary, role) for role in ROLES] == list(range(7))
    assert NUM_SENTINELS >= 128
    assert vocabulary.sentinels.tolist() == [7 + NUM_SENTINELS - 1 - k for k in range(NUM_SENTINELS)]
    assert tokenizer.id_to_token(int(vocabulary.sentinels[3])) == sentinel(3) == "<extra_id_3>"
    assert np.flatnonzero(vocabulary.is_special).tolist() == list(range(7 + NUM_SENTINELS))
    assert len(vocabulary.ordinary) == vocabulary.size - len(SPECIAL_TOKENS)


def test_special_tokens_in_a_text_are_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    vocabulary = vocabulary_of(tokenizer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for reader in (tokenizer, load_tokenizer(tmp_path / "tokenizer.json")):
        ids = np.array(ids_of(reader, LITERALS))
        assert not vocabulary.is_special[ids[ids != vocabulary.unk]].any()
        batch = reader.encode_batch_fast([LITERALS], add_special_tokens=False)
        assert batch[0].ids == ids.tolist()


def test_special_tokens_of_the_training_text_are_learnt_as_text() -> None:
    sizes: dict[TokenizerKind, int] = {"byte_bpe": 420, "wordpiece": 200, "unigram": 170}
    for kind, vocab_size in sizes.items():
        tokenizer = train_tokenizer(iter([f"{LITERALS} {LITERALS}"] * 20), kind=kind, vocab_size=vocab_size)
        vocabulary, ids = vocabulary_of(tokenizer), np.array(ids_of(tokenizer, LITERALS))
        assert not vocabulary.is_special[ids].any()


def test_a_saved_tokenizer_reads_as_the_one_that_was_saved(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    before, after = vocabulary_of(tokenizer), vocabulary_of(loaded)
    assert after.size == before.size
    assert np.array_equal(after.begins_word, before.begins_word)
    assert np.array_equal(after.is_special, before.is_special)
    for text in made_up_documents(20, seed=1):
        assert ids_of(loaded, text) == ids_of(tokenizer, text)


@pytest.mark.parametrize("vocab_size", [391, 450, 550])
def test_byte_level_bpe_has_as_many_ids_as_wanted(vocab_size: int) -> None:
    assert vocabulary_of(train("byte_bpe", vocab_size)).size == vocab_size


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_other_kinds_have_at_most_as_many_ids_as_wanted(kind: str, tokenizers_by_kind: dict[str, Tokenizer]) -> None:
    assert len(SPECIAL_TOKENS) + 50 < vocabulary_of(tokenizers_by_kind[kind]).size <= SIZES[kind]


def test_byte_level_bpe_comes_out_the_same_each_time(tokenizers_by_kind: dict[str, Tokenizer]) -> None:
    assert train("byte_bpe").to_str() == tokenizers_by_kind["byte_bpe"].to_str()


@pytest.mark.parametrize(("kind", "least"), [("byte_bpe", 391), ("wordpiece", 136), ("unigram", 136)])
def test_a_vocabulary_too_small_is_refused_with_the_least_size(kind: TokenizerKind, least: int) -> None:
    with pytest.raises(ValueError, match=rf"data\.vocab_size = {least - 1} .* at least {least}"):
        train(kind, least - 1)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_a_vocabulary_that_the_characters_of_the_corpus_would_outgrow_is_refused(kind: TokenizerKind) -> None:
    with pytest.raises(ValueError, match=r"data\.vocab_size = 150 has no room for the characters of this corpus"):
        train(kind, 150)


def test_what_the_library_refuses_is_refused_with_the_settings() -> None:
    syllables = (chr(0xAC00 + index % 2_000) for index in range(6_000))
    with pytest.raises(ValueError, match=r"data\.tokenizer = 'unigram' cannot be trained with data\.vocab_size = 1000"):
        train_tokenizer(syllables, kind="unigram", vocab_size=1000)


def words_by_ids(tokenizer: Tokenizer, text: str) -> list[str]:
    """The text of each run of ids from a word's start to the next, without white space around it."""
    ids = np.array(ids_of(tokenizer, text), dtype=np.int64)
    starts = np.flatnonzero(vocabulary_of(tokenizer).word_starts(ids))
    bounds = [*starts.tolist(), len(ids)]
    words = [tokenizer.decode(ids[begin:end].tolist()).strip() for begin, end in itertools.pairwise(bounds)]
    return [word for word in words if word]


@given(
    words=st.lists(st.sampled_from(["the", "catdog,", "고양이가", "(x)", "don't", "12.5%", "\n", " ", "\t", "\r\n"]))
)
@settings(deadline=None, derandomize=True)
def test_words_are_what_stands_between_white_space(words: list[str], tokenizers_by_kind: dict[str, Tokenizer]) -> None:
    text = " ".join(words)
    assert words_by_ids(tokenizers_by_kind["byte_bpe"], text) == text.split()


def test_words_of_every_kind_begin_where_a_word_of_letters_begins(tokenizer: Tokenizer) -> None:
    for document in made_up_documents(20):
        text = document.replace(".", "")
        assert [word.replace(" ", "") for word in words_by_ids(tokenizer, text)] == text.split()


def test_a_special_token_is_a_word_of_its_own(tokenizers_by_kind: dict[str, Tokenizer]) -> None:
    vocabulary = vocabulary_of(tokenizers_by_kind["byte_bpe"])
    goes_on = int(np.flatnonzero(~vocabulary.is_special & ~vocabulary.begins_word & ~vocabulary.ends_word)[0])
    tokens = np.array([goes_on, goes_on, vocabulary.eos, goes_on, goes_on, vocabulary.mask, vocabulary.mask])
    assert vocabulary.word_starts(tokens).tolist() == [True, False, True, True, False, True, True]
    assert vocabulary.word_starts(tokens[:0]).tolist() == []


def test_the_fingerprint_follows_kind_size_and_the_content_of_a_file(tmp_path: Path) -> None:
    assert tokenizer_fingerprint("byte_bpe", 500) != tokenizer_fingerprint("byte_bpe", 501)
    assert tokenizer_fingerprint("byte_bpe", 500) != tokenizer_fingerprint("unigram", 500)
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    for path in (first, second):
        tokenizer.save(str(path))
    before = tokenizer_fingerprint(str(first), 500)
    assert before == tokenizer_fingerprint(str(second), 600)
    assert set(before) == {"sha256"}
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.save(str(second))
    assert before["sha256"] != tokenizer_fingerprint(str(second), 500)["sha256"]
    assert tokenizer_fingerprint(str(second), 500)["reads"] == "whole documents"


@pytest.mark.parametrize("name", ["bpe", "nowhere/tokenizer.json"])
def test_a_tokenizer_that_is_not_there_is_refused_with_what_there_is(name: str) -> None:
    for read in (lambda: tokenizer_fingerprint(name, 500), lambda: load_tokenizer(Path(name))):
        with pytest.raises(ValueError, match=r"data\.tokenizer: no file .*byte_bpe, wordpiece, unigram"):
            read()


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": "1.0"}')
    with pytest.raises(ValueError, match=r"data\.tokenizer: '.*a\.json' is no tokenizer\.json"):
        load_tokenizer(tmp_path / "a.json")
