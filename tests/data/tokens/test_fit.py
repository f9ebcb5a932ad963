"""A tokenizer that does not fit the text is reported when the store is built."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from data.store.recipe import Recipe
from data.store.store import TokenStore, find_or_build, read_manifest, read_tokenizer
from data.text.corpora import Corpus
from data.tokens.fit import fit_beside, fit_of
from data.tokens.tokenizer import train_tokenizer
from tests.helpers import made_up_documents, write_jsonl

STEMS = ["부산", "서울", "대구", "학교", "사람", "나라", "오늘", "내일", "친구", "바다"]
ENDS = ["에서", "에게", "까지", "부터", "으로", "이라고"]
KOREAN = [
    " ".join(f"{STEMS[(place * 7 + number) % 10]}{ENDS[(place * place + number) % 6]}" for place in range(30)) + "."
    for number in range(120)
]
ENGLISH = made_up_documents(120)


def built(tmp_path: Path, texts: list[str], **settings: Any) -> tuple[Path, list[str]]:
    lines: list[str] = []
    corpus = Corpus(source=(str(write_jsonl(tmp_path / "corpus.jsonl", texts)),))
    folder = find_or_build(Recipe(corpus=corpus, **settings), tmp_path / "cache", report=lines.append)
    return folder, [line for line in lines if line.startswith("warning")]


def saved(tokenizer: Tokenizer, folder: Path) -> str:
    tokenizer.save(str(folder / "given.json"))
    return str(folder / "given.json")


def test_an_english_vocabulary_on_korean_is_warned_of_with_what_would_do(tmp_path: Path) -> None:
    ascii_only = [text.encode("ascii", "ignore").decode() for text in ENGLISH]
    given = saved(train_tokenizer(iter(ascii_only), kind="byte_bpe", vocab_size=700), tmp_path)
    folder, warnings = built(tmp_path, KOREAN, tokenizer=given)
    [warning] = warnings
    counts = read_manifest(folder)["train"]
    assert f"makes {counts['tokens']:,} tokens of this corpus" in warning
    assert float(warning.partition(" times")[0].rpartition(" ")[2]) > 3


def test_a_vocabulary_of_the_same_kind_of_text_is_not_warned_of(tmp_path: Path) -> None:
    given = saved(train_tokenizer(iter(KOREAN), kind="byte_bpe", vocab_size=700), tmp_path)
    assert built(tmp_path, KOREAN[::-1], tokenizer=given)[1] == []
    assert built(tmp_path, KOREAN, vocab_size=700)[1] == []


def test_the_unknown_tokens_of_a_vocabulary_are_counted_and_warned_of(tmp_path: Path) -> None:
    words = {word: index for index, word in enumerate(["<unk>", *STEMS, "."])}
    given = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    given.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = ["부산 서울 떡볶이.", "대구 <unk> 학교.", "사람 나라."] * 20
    folder, warnings = built(tmp_path, [f"{text} 오늘." for text in texts], tokenizer=saved(given, tmp_path))
    tokenizer, vocabulary = read_tokenizer(folder)
    for split in ("train", "validation"):
        tokens, counts = TokenStore(folder, split).tokens, read_manifest(folder)[split]
        assert counts["unknown"] == (tokens == vocabulary.unk).sum() > 0
    share = read_manifest(folder)["train"]["unknown"] / read_manifest(folder)["train"]["tokens"]
    assert f"{share:.1%} of the tokens of train are unknown" in warnings[0]
    assert tokenizer.id_to_token(vocabulary.unk) == "<unk>"


def test_tokens_a_word_and_a_byte_are_reported(tmp_path: Path) -> None:
    lines: list[str] = []
    corpus = Corpus(source=(str(write_jsonl(tmp_path / "corpus.jsonl", ENGLISH)),))
    folder = find_or_build(Recipe(corpus=corpus, vocab_size=500), tmp_path / "cache", report=lines.append)
    counts = read_manifest(folder)["train"]
    assert sum(read_manifest(folder)[split]["words"] for split in ("train", "validation")) == sum(
        len(text.split()) for text in ENGLISH
    )
    expected = f"({counts['tokens'] / counts['words']:.2f} a word, {counts['tokens'] / counts['bytes']:.3f} a byte)"
    assert any(expected in line and f"{counts['tokens']:,} tokens" in line for line in lines)


def test_what_is_done_beside_the_fit_is_not_kept_waiting_where_it_fails() -> None:
    tokenizer = train_tokenizer(iter(ENGLISH), kind="byte_bpe", vocab_size=700)
    begun = Event()

    def without_end() -> Iterator[list[str]]:
        while True:
            yield ENGLISH
            begun.set()

    def interrupted() -> None:
        assert begun.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), fit_beside(without_end(), tokenizer):
        interrupted()


def test_a_fit_is_that_of_the_whole_sample() -> None:
    tokenizer = train_tokenizer(iter(ENGLISH), kind="byte_bpe", vocab_size=700)
    with fit_beside(iter([ENGLISH[:50], ENGLISH[50:]]), tokenizer) as fit:
        pass
    assert fit.result() == fit_of(ENGLISH, tokenizer)
    assert fit.result().ids == tokenizer.get_vocab_size()
    assert fit.result().taken == sum(len(tokenizer.encode(text).ids) for text in ENGLISH[1::2])
