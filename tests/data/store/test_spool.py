"""What is drawn from a spool: the sentences that a formula of a document's hash and a sentence's number takes."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from data.store.cleaner import Cleaner, document_hash
from data.store.spool import Document, Spool, sampled
from data.text.cleaning import sentences

GOLDEN = 0x9E3779B9


def drawn(key: int, number: int, share: float) -> bool:
    """Whether the sentence of that number in a document is taken."""
    return (key % 2**32 + number * GOLDEN) % 2**32 < share * 2**32


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_a_sample_has_the_sentences_that_its_formula_takes(share: float) -> None:
    """Of documents put together as of each alone, in any script; one that goes on counts its sentences before."""
    texts = [["Hello.", " A 😀 b."], ["안녕.", " 또 봐요.", " 끝."], [f" Number {number}." for number in range(300)]]
    documents = [
        Document(key, "".join(parts), np.array([len(one) for one in parts], dtype=np.uint32), before)
        for key, before, parts in zip((2**64 - 1, 7, 2**33 + 5), (0, 0, 1_000_000), texts, strict=True)
    ]
    expected = [
        part
        for document, parts in zip(documents, texts, strict=True)
        for number, part in enumerate(parts, start=document.sentences_before)
        if drawn(document.key, number, share)
    ]
    assert list(itertools.chain.from_iterable(sampled(documents, share))) == expected
    assert list(sampled([], share)) == []


def test_a_sample_is_of_the_chosen_documents_alone(tmp_path: Path) -> None:
    """Also where a segment has none of them."""
    pieces = [[f"One {number}. Two {number}." for number in range(first, first + 5)] for first in range(0, 20, 5)]
    spool = Spool(tmp_path / "spool")
    for piece in pieces:
        spool.add(Cleaner(sentences)(piece))
    key = document_hash([pieces[2][3].encode()])
    assert list(itertools.chain.from_iterable(spool.sample(range(key, key + 1), 10**6))) == ["One 13.", " Two 13."]
