"""An enormous document is cleaned, cut and encoded in parts, as if it were whole."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.store import cleaner, processes
from data.store.cleaner import DocumentPart, in_pieces
from data.store.recipe import Recipe
from data.store.store import find_or_build
from data.text.cleaning import clean, line_sentences, parts_of, sentences
from data.text.corpora import Corpus
from tests.helpers import made_up_documents, write_jsonl

ODD = ["\n", "\n\n", "\n \t\n", " ", "   ", "\t", "\u3000", "\x0b", "\x85", "\u2028", "\r\n", "\r", "\x00", "\ufeff"]
WORDS = [
    "Yes. ",
    "He came.",
    "그는 갔다. ",
    "문서이다.",
    "word",
    " a long line without an end" * 5,
    "x" * 119,
    "\ufffd",
]


def odd_text(seed: int, pieces: int = 120) -> str:
    """Words and white space of every kind, some of it in long runs, at the beginning and at the end as well."""
    rng = random.Random(seed)
    chosen = [rng.choice(ODD if rng.random() < 0.5 else WORDS) * rng.choice((1, 1, 1, 3)) for _ in range(pieces)]
    return "".join([rng.choice(["", " \n\n\t", " " * 200 + "\n"]), *chosen])


@pytest.mark.parametrize("cut", [sentences, line_sentences])
def test_the_sentences_of_the_parts_of_a_text_are_those_of_the_text(
    cut: Callable[[str], Iterator[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaner, "CHARACTERS_AT_ONCE", 60)
    monkeypatch.setattr(cleaner, "ENORMOUS", 60)
    counts = Counter[bool]()
    for seed in range(300):
        text = odd_text(seed)
        cleaned = clean(text, Counter())
        parts = list(parts_of(cleaned, 60))
        assert "".join(parts) == cleaned
        assert all(len(part) > 60 for part in parts[:-1])
        pieces = list(in_pieces([text]))
        counts[isinstance(pieces[0], DocumentPart)] += 1
        if isinstance(pieces[0], DocumentPart):
            found = [sentence for one in pieces if isinstance(one, DocumentPart) for sentence in one.sentences(cut)]
            assert found == list(cut(cleaned))
            assert len(pieces) == len(parts)
    assert counts[True] > 250


def test_a_text_without_the_end_of_a_paragraph_is_one_part() -> None:
    for text in ("word " * 100, "A line.\n" * 50, "\n" * 500, " " * 500 + "\n\nword", "word" + "\n\n \u3000" * 200):
        assert list(parts_of(text, 60)) == [text]


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("byte_bpe", True),
        ("unigram", False),
        pytest.param("byte_bpe", False, marks=pytest.mark.slow),
        pytest.param("unigram", True, marks=pytest.mark.slow),
    ],
)
def test_a_store_is_the_same_bytes_whether_documents_are_cut_into_parts(
    kind: str, *, end: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of processes; a tokenizer that reads more than sentences is given whole documents."""
    monkeypatch.setattr(processes, "FEW", 1)
    long = ["\n\n".join(made_up_documents(60, seed=seed)) for seed in range(3)]
    korean = "\n\n".join(["\ufeff  그는 갔다. \r\n왔다."] * 300)
    texts = [*made_up_documents(20), long[0], "", odd_text(1), korean, *long[1:]]
    corpus = Corpus(source=(str(write_jsonl(tmp_path / "corpus.jsonl", texts)),))
    stores: list[dict[str, bytes]] = []
    tokenizer = kind
    for number, (enormous, count) in enumerate([(10**9, 1), (10**9, 1), (1_500, 1), (1_500, 2)]):
        monkeypatch.setattr(processes, "processors", lambda count=count: count)
        monkeypatch.setattr(cleaner, "ENORMOUS", enormous)
        monkeypatch.setattr(cleaner, "CHARACTERS_AT_ONCE", 700)
        settings: dict[str, Any] = {
            "corpus": corpus,
            "vocab_size": 500,
            "end_of_document": end,
            "validation_fraction": 0.3,
        }
        folder = find_or_build(
            Recipe(**settings, tokenizer=tokenizer), tmp_path / str(number), report=lambda line: None
        )
        if kind == "unigram" and not number:  # training one gives another every time
            kept = tmp_path / "tokenizer.json"
            kept.write_bytes((folder / "tokenizer.json").read_bytes())
            tokenizer = str(kept)
        stores.append({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")})
    assert len(stores[0]) == 8
    assert stores[2] == stores[3] == stores[1]
