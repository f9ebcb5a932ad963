"""What a store holds: the tokens of every cleaned document, once, with its sentences and its split."""

import hashlib
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from data.store.cleaner import Cleaner, document_hash
from data.store.recipe import Recipe
from data.store.spool import Spool
from data.store.store import TokenStore, find_or_build, read_manifest, read_tokenizer
from data.stream.windows import Windows
from data.text.cleaning import clean, sentences
from data.text.corpora import Corpus
from objectives.masked_lm import MaskedLM
from tests.helpers import made_up_documents, write_jsonl

ODD = [
    "",
    " \n\t",
    "\ufeff",
    "\x00\x00",
    "a",
    "[MASK] </s> <extra_id_0>",
    "줄\r\n바꿈.\r\n끝.",
    "caf\ufffd",
    "No end. \n\n",
]


def build(tmp_path: Path, texts: list[str], **settings: Any) -> Path:
    path = write_jsonl(tmp_path / "corpus.jsonl", texts)
    recipe = Recipe(corpus=Corpus(source=(str(path),)), **{"vocab_size": 420, **settings})
    return find_or_build(recipe, tmp_path / "cache", report=lambda line: None)


def documents_in(store: TokenStore) -> list[list[list[int]]]:
    """The documents of a split as sentences of ids, by their starts alone."""
    ends = [*store.document_starts.tolist(), len(store.tokens)]
    starts = store.sentence_starts.tolist()
    return [
        [
            store.tokens[first:last].tolist()
            for first, last in itertools.pairwise([*(start for start in starts if begin <= start < end), end])
        ]
        for begin, end in itertools.pairwise(ends)
    ]


def documents_expected(folder: Path, texts: list[str], *, end: bool = True) -> list[list[list[int]]]:
    """What the store's tokenizer makes of the cleaned texts, sentence by sentence; empty ones left out."""
    tokenizer, vocabulary = read_tokenizer(folder)
    found = []
    for text in texts:
        ids = [
            tokenizer.encode(sentence, add_special_tokens=False).ids for sentence in sentences(clean(text, Counter()))
        ]
        ids = [sentence for sentence in ids if sentence]
        if ids:
            ids[-1] = ids[-1] + [vocabulary.eos] * end
            found.append(ids)
    return found


def in_validation(texts: list[str], fraction: float) -> list[bool]:
    """Whether each text is set aside: by the first 64 bits of the SHA-256 of what cleaning leaves of it."""
    digests = [hashlib.sha256(clean(text, Counter()).encode()).digest() for text in texts]
    return [int.from_bytes(digest[:8], "big") < fraction * 2**64 for digest in digests]


@pytest.mark.parametrize("end", [True, False])
def test_the_store_holds_the_tokens_of_every_document_in_order(end: bool, tmp_path: Path) -> None:
    texts = made_up_documents(150) + ODD
    folder = build(tmp_path, texts, validation_fraction=0.2, end_of_document=end)
    aside = in_validation(texts, 0.2)
    for split, wanted in {"train": False, "validation": True}.items():
        chosen = [text for text, held_out in zip(texts, aside, strict=True) if held_out is wanted]
        assert documents_in(TokenStore(folder, split)) == documents_expected(folder, chosen, end=end)


def test_byte_level_documents_are_given_back_as_they_were_cleaned(tmp_path: Path) -> None:
    texts = made_up_documents(40) + ODD
    folder = build(tmp_path, texts)
    tokenizer, vocabulary = read_tokenizer(folder)
    found = []
    for split in ("train", "validation"):
        for document in documents_in(TokenStore(folder, split)):
            *ids, end = itertools.chain(*document)
            assert end == vocabulary.eos
            found.append(tokenizer.decode(ids, skip_special_tokens=False))
    assert Counter(found) == Counter(text for text in (clean(text, Counter()) for text in texts) if text)


def test_sentence_by_sentence_the_tokens_are_those_of_the_whole_text(tmp_path: Path) -> None:
    texts = made_up_documents(30)
    folder = build(tmp_path, texts)
    tokenizer, vocabulary = read_tokenizer(folder)
    whole = [[*tokenizer.encode(text, add_special_tokens=False).ids, vocabulary.eos] for text in texts]
    found = [document for split in ("train", "validation") for document in documents_in(TokenStore(folder, split))]
    assert sorted(list(itertools.chain(*document)) for document in found) == sorted(whole)


def test_the_manifest_counts_what_is_there_and_what_was_met(tmp_path: Path) -> None:
    texts = made_up_documents(50) + ODD
    folder = build(tmp_path, texts)
    manifest = read_manifest(folder)
    for split in ("train", "validation"):
        store = TokenStore(folder, split)
        counts = manifest[split]
        assert counts["tokens"] == len(store.tokens)
        assert counts["sentences"] == len(store.sentence_starts)
        assert counts["documents"] == len(store.document_starts)
        shares = np.bincount(store.tokens) / len(store.tokens)
        entropy = -sum(share * np.log(share) for share in shares if share)
        assert counts["unigram_entropy"] == store.unigram_entropy == pytest.approx(entropy)
    cleaned = [clean(text, Counter()) for text in texts]
    assert sum(manifest[split]["bytes"] for split in ("train", "validation")) == sum(len(t.encode()) for t in cleaned)
    warnings = {name: count for name, count in manifest["warnings"].items() if count}
    assert warnings == {
        "read": len(texts),
        "empty": 4,
        "with a byte-order mark": 1,
        "with NUL characters": 1,
        "with CRLF or CR line ends": 1,
        "with bytes that are not UTF-8": 1,
        "of one token": 1,
    }


def test_the_splits_never_share_a_text_and_a_text_keeps_its_split(tmp_path: Path) -> None:
    texts = made_up_documents(80)
    for folder, corpus in {"a": texts, "b": texts[::-1], "c": texts * 2}.items():
        (tmp_path / folder).mkdir()
        store = build(tmp_path / folder, corpus, validation_fraction=0.3)
        counts = read_manifest(store)
        aside = in_validation(corpus, 0.3)
        assert counts["validation"]["documents"] == sum(aside)
        assert counts["train"]["documents"] == len(corpus) - sum(aside)
    assert [document_hash([text.encode()]) < 0.3 * 2**64 for text in texts] == in_validation(texts, 0.3)


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_each_split_gets_a_document_however_small_its_share(fraction: float, tmp_path: Path) -> None:
    manifest = read_manifest(build(tmp_path, ["one text.", "another text.", "a third."], validation_fraction=fraction))
    assert min(manifest[split]["documents"] for split in ("train", "validation")) == 1
    assert sum(manifest[split]["documents"] for split in ("train", "validation")) == 3


def test_named_validation_files_are_the_validation_and_nothing_is_set_aside(tmp_path: Path) -> None:
    held_out = write_jsonl(tmp_path / "held_out.jsonl", ["Held out. 둘째."])
    texts = made_up_documents(20)
    folder = build(tmp_path, texts, validation=Corpus(source=(str(held_out),)))
    assert documents_in(TokenStore(folder, "validation")) == documents_expected(folder, ["Held out. 둘째."])
    assert documents_in(TokenStore(folder, "train")) == documents_expected(folder, texts)


@pytest.mark.parametrize("sentences_each", [1, 1_000, 10_000])
def test_the_tokenizer_learns_from_an_even_sample_however_long_the_documents(
    sentences_each: int, tmp_path: Path
) -> None:
    documents = [
        " ".join(f"Number {index * sentences_each + place}." for place in range(sentences_each))
        for index in range(10_000 // sentences_each)
    ]
    num_bytes = sum(map(len, documents))
    spool = Spool(tmp_path / "spool")
    spool.add(Cleaner(sentences)(documents))
    for share in (0.1, 0.5, 1.0, 2.0):
        wanted = round(share * (num_bytes + 16 * len(documents)))
        sample = list(itertools.chain.from_iterable(spool.sample(range(2**64), wanted)))
        assert len(sample) == pytest.approx(min(share, 1.0) * 10_000, rel=0.1 if share < 1 else 0)
        halves = sum(int(sentence.split()[1].rstrip(".")) < 5_000 for sentence in sample)
        assert halves == pytest.approx(len(sample) / 2, rel=0.1)


@pytest.mark.parametrize(("size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_tokens_take_two_bytes_as_long_as_every_id_fits(size: int, dtype: type, tmp_path: Path) -> None:
    words = {"<unk>": 0, **{f"w{index}": index for index in range(1, size - 6 - 128)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "words.json"))
    last = f"w{len(words) - 1}"
    folder = build(tmp_path, [f"w1 {last}", f"{last} w1 w2"], tokenizer=str(tmp_path / "words.json"))
    stores = [TokenStore(folder, split) for split in ("train", "validation")]
    assert {store.tokens.dtype.type for store in stores} == {dtype}
    assert all(len(words) - 1 in store.tokens for store in stores)
    assert read_tokenizer(folder)[1].size == size


def test_an_enormous_document_is_one_document_of_bounded_sentences(tmp_path: Path) -> None:
    enormous = "그는 집에 갔다. She went home. " * 50_000
    folder = build(tmp_path, [enormous, "a short one."], validation_fraction=1e-9)
    stores = [TokenStore(folder, split) for split in ("train", "validation")]
    assert max(len(store.sentence_starts) for store in stores) == 100_000
    assert [len(store.document_starts) for store in stores] == [1, 1]
    assert read_manifest(folder)["warnings"]["of over a million characters"] == 1


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["", " "], r"data\.corpus = '.*' holds no text \(2 read, 2 empty \(left out\)\)"),
        (["the same"] * 3, r"data\.corpus holds 1 document, and validation needs another.*data\.documents"),
        ([None, 3.5, "text"], r"data\.text_column = 'text' holds float, not text: 3\.5"),
        ([["a", "list"]], r"data\.text_column = 'text' holds list, not text"),
    ],
)
def test_a_corpus_without_text_is_refused_in_one_line(texts: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        build(tmp_path, texts)
    assert "\n" not in str(raised.value)
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


def test_validation_files_without_text_are_refused(tmp_path: Path) -> None:
    empty = write_jsonl(tmp_path / "empty.jsonl", [" "])
    with pytest.raises(ValueError, match=r"data\.validation = '.*empty\.jsonl' holds no text"):
        build(tmp_path, ["some text."], validation=Corpus(source=(str(empty),)))


BERT_FORM = "Dr. Kim went home. It was late\n  She slept!\nThen she woke\n\n 둘째 문서이다\n끝. 정말 끝\n\n"


def test_in_berts_form_each_line_is_a_sentence_and_blank_lines_part_documents(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(BERT_FORM * 6, encoding="utf-8")
    (tmp_path / "held_out.txt").write_text(BERT_FORM, encoding="utf-8")
    corpus = Corpus(source=(str(tmp_path / "corpus.txt"),), documents="sentence_per_line")
    recipe = Recipe(corpus=corpus, validation=corpus.held_out((str(tmp_path / "held_out.txt"),)), vocab_size=420)
    folder = find_or_build(recipe, tmp_path / "cache", report=lambda line: None)
    tokenizer, _ = read_tokenizer(folder)
    lines = [
        "Dr. Kim went home. It was late",
        "\n  She slept!",
        "\nThen she woke\n",
        " 둘째 문서이다",
        "\n끝. 정말 끝\n",
    ]
    for split, times in {"train": 6, "validation": 1}.items():
        documents = documents_in(TokenStore(folder, split))
        found = [[tokenizer.decode(sentence) for sentence in document] for document in documents]
        assert found == [lines[:3], lines[3:]] * times
    assert recipe.fingerprint() != Recipe(corpus=Corpus(source=corpus.source, documents="paragraph")).fingerprint()


def test_the_hidden_files_of_a_folder_are_counted_where_there_are_any(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt", "._a.txt"):
        (tmp_path / "texts" / name).write_text(f"This is {name}.")
    recipe = Recipe(corpus=Corpus(source=(str(tmp_path / "texts"),)), vocab_size=420)
    lines: list[str] = []
    folder = find_or_build(recipe, tmp_path / "cache", report=lines.append)
    assert read_manifest(folder)["warnings"]["hidden files (left out)"] == 1
    assert any("1 hidden files (left out)" in line for line in lines)


def test_the_share_of_bytes_that_are_no_characters_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"\n\n".join(f"Text {number}: caf".encode() + b"\xe9" for number in range(2)))
    lines: list[str] = []
    recipe = Recipe(corpus=Corpus(source=(str(path),)), vocab_size=420)
    find_or_build(recipe, tmp_path / "cache", report=lines.append)
    [warning] = [line for line in lines if "U+FFFD" in line]
    assert "2 of 25 characters (8.00%) of data.corpus" in warning
    assert "data.encoding" in warning
    lines.clear()
    recipe = Recipe(corpus=Corpus(source=(str(path),), encoding="cp1252"), vocab_size=420)
    find_or_build(recipe, tmp_path / "cache", report=lines.append)
    assert not [line for line in lines if "U+FFFD" in line]


def test_next_sentence_prediction_cuts_berts_form_at_its_lines(tmp_path: Path) -> None:
    lines = [f"{'Dr. Kim and Mr. Lee ' * (number % 3)}went home {number}" for number in range(60)]
    (tmp_path / "corpus.txt").write_text("\n\n".join("\n".join(lines[at : at + 6]) for at in range(0, 60, 6)))
    corpus = Corpus(source=(str(tmp_path / "corpus.txt"),), documents="sentence_per_line")
    folder = find_or_build(Recipe(corpus=corpus, vocab_size=500), tmp_path / "cache", report=lambda line: None)
    tokenizer, vocabulary = read_tokenizer(folder)
    windows = Windows(TokenStore(folder, "train"), length=48, end_token=vocabulary.eos)
    objective = MaskedLM(noise_density=0.15, next_sentence=True)
    objective.check_data(windows)
    cuts = [
        tokenizer.decode(window.tokens[start : start + 2].tolist())
        for window in (windows[index] for index in range(len(windows)))
        for start in np.setdiff1d(window.sentence_starts, window.document_starts)
    ]
    assert cuts
    assert all(text.startswith("\n") for text in cuts)
