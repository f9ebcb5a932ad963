"""The embedded corpus: prose of docstrings, without code, tables and signatures."""

import itertools

import pytest

from data.text.embedded import (
    MINIMUM_DOCUMENT_CHARACTERS,
    docstrings,
    embedded_documents,
    is_prose,
    paragraphs,
    versions,
)

DOCSTRING = """Return the :class:`~torch.Tensor` with its rows shuffled, as `Knuth <https://a.b>`_ describes.

    A second paragraph runs
    over **two** lines.

    Args:
        size (int): the number of rows that are drawn at once.
        seed: what the generator of random numbers begins with.

    * an item of a list, which is a paragraph

    >>> shuffled(3)
    [2, 0, 1]

    ===== ======
    table table
    ===== ======
    """


def test_a_docstring_comes_apart_into_paragraphs_and_items() -> None:
    found = list(paragraphs(DOCSTRING))
    assert found[:2] == [
        "Return the torch.Tensor with its rows shuffled, as Knuth describes.",
        "A second paragraph runs over two lines.",
    ]
    assert "the number of rows that are drawn at once." in found
    assert "what the generator of random numbers begins with." in found
    assert "an item of a list, which is a paragraph" in found
    assert not [text for text in found if ">>>" in text or "==" in text or "[2, 0, 1]" in text]


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("This function returns the number of rows it has read.", True),
        ('It isn\'t a well-known fact, but "quoted words" count as words.', True),
        ("Too few words here.", False),
        ("A heading of many words that no full stop closes", False),
        ("The following example shows how that can be done::", False),
        ("a = b + c; d = f(x)[0] and then e |= {1: 2}.", False),
        ("1 2 3 4 5 6 7 8 9 10 and so on.", False),
    ],
)
def test_prose_is_told_from_code(paragraph: str, expected: bool) -> None:
    assert is_prose(paragraph) is expected


def test_docstrings_are_found_in_the_order_of_the_source() -> None:
    definitions = '"""a"""\nclass C:\n    """b"""\n    def f(self):\n        """c"""\n'
    source = definitions + 'add_docstr(torch.abs, "d")\nx = "no"\nf("no")\n'
    assert list(docstrings(source)) == ["a", "b", "c", "d"]
    assert list(docstrings("def broken(:")) == []
    assert list(docstrings("\x00")) == []


def test_the_first_documents_are_long_prose_in_the_same_order_each_time() -> None:
    first, again = (list(itertools.islice(embedded_documents(), 60)) for _ in range(2))
    assert first == again
    assert len(first) == 60
    assert min(map(len, first)) >= MINIMUM_DOCUMENT_CHARACTERS
    found = [paragraph for document in first for paragraph in document.split("\n\n")]
    assert all(map(is_prose, found))
    assert len(set(found)) == len(found)


def test_versions_name_python_and_the_packages_that_are_there() -> None:
    found = versions()
    assert {"python", "torch", "numpy"} <= set(found)
    assert not [version for version in found.values() if "+" in version]


@pytest.mark.slow
def test_the_whole_corpus_is_ten_megabytes_of_paragraphs_that_do_not_repeat() -> None:
    documents = list(embedded_documents())
    found = [paragraph for document in documents for paragraph in document.split("\n\n")]
    assert len(set(found)) == len(found)
    assert 5e6 < sum(map(len, documents)) < 30e6
