"""A corpus that changes while it is read is refused by name: no store is sealed under another text's fingerprint."""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from common.errors import UserError
from data.store import ingest
from data.store.recipe import Recipe
from data.store.store import damaged_files, find_or_build
from data.text.corpora import Corpus
from data.tokens.tokenizer import train_tokenizer
from tests.helpers import made_up_documents

SUFFIXES = ("txt", "txt.gz", "jsonl", "json", "csv", "tsv", "parquet")


def write(path: Path, texts: list[str]) -> Path:
    """Texts in the format that the file's name ends in."""
    kind = path.name.partition(".")[2]
    if kind == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"text": texts}), path, row_group_size=20)
        return path
    lines = {
        "txt": "\n\n".join(texts),
        "txt.gz": "\n\n".join(texts),
        "jsonl": "\n".join(json.dumps({"text": text}) for text in texts),
        "json": json.dumps([{"text": text} for text in texts]),
        "csv": "\n".join(["text", *(f'"{text}"' for text in texts)]),
        "tsv": "\n".join(["text", *texts]),
    }[kind]
    path.write_bytes(gzip.compress(lines.encode(), mtime=0) if kind == "txt.gz" else lines.encode())
    return path


def recipe_of(path: Path, **settings: object) -> Recipe:
    return Recipe(corpus=Corpus(source=(str(path),)), vocab_size=480, **settings)  # pyright: ignore[reportArgumentType]


def stores_in(cache: Path) -> list[Path]:
    return list(cache.glob("*/manifest.json"))


def assert_refused(recipe: Recipe, changed: Path, cache: Path) -> None:
    with pytest.raises(UserError, match="was changed while it was read") as refused:
        find_or_build(recipe, cache, report=lambda line: None)
    assert str(changed) in str(refused.value)
    assert not stores_in(cache)


def at_the_first_document(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Changes something once, while the corpus is read."""

    def changed(texts: Iterable[str]) -> Iterator[list[str]]:
        for number, text in enumerate(texts):
            if number == 0:
                change()
            yield [text]

    monkeypatch.setattr(ingest, "in_pieces", changed)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_source_that_is_another_by_the_time_it_is_read_is_refused_and_the_original_is_not_taken_for_it(
    tmp_path: Path, suffix: str
) -> None:
    texts, others = made_up_documents(60), made_up_documents(60, seed=1)
    path = write(tmp_path / f"corpus.{suffix}", texts)
    recipe = recipe_of(path)
    recipe.fingerprint()
    write(path, others)
    assert_refused(recipe, path, tmp_path / "cache")
    write(path, texts)
    store = find_or_build(recipe_of(path), tmp_path / "cache", report=lambda line: None)
    assert store.name == recipe.fingerprint()
    assert not damaged_files(store)
    assert find_or_build(recipe, tmp_path / "other", report=lambda line: None).name == store.name


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "txt.gz"])
def test_a_long_file_that_is_written_to_behind_what_was_read_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = made_up_documents(60)
    path = write(tmp_path / f"corpus.{suffix}", texts)

    def append() -> None:
        added = b"\n" + json.dumps({"text": "One more."}).encode() if suffix == "jsonl" else b"\n\nOne more."
        with path.open("ab") as file:
            file.write(gzip.compress(added) if suffix == "txt.gz" else added)

    at_the_first_document(monkeypatch, append)
    assert_refused(recipe_of(path), path, tmp_path / "cache")


def test_a_parquet_file_that_was_another_for_a_moment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "corpus.parquet", made_up_documents(60))
    before = path.stat()

    def change() -> None:
        content = path.read_bytes()
        write(path, made_up_documents(60, seed=1))
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    at_the_first_document(monkeypatch, change)
    assert_refused(recipe_of(path), path, tmp_path / "cache")


def test_of_several_files_the_one_that_changed_is_named_even_where_it_is_the_text_of_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(3):
        write(folder / f"{number}.txt", made_up_documents(20, seed=number))
    held_out = write(tmp_path / "held_out.txt", made_up_documents(20, seed=9))
    at_the_first_document(monkeypatch, lambda: write(folder / "2.txt", made_up_documents(20, seed=5)))
    assert_refused(recipe_of(folder), folder / "2.txt", tmp_path / "cache")
    at_the_first_document(monkeypatch, lambda: write(held_out, made_up_documents(20, seed=5)))
    validated = Corpus(source=(str(held_out),), key="data.validation")
    assert_refused(recipe_of(folder, validation=validated), held_out, tmp_path / "cache")


def test_files_that_join_the_folder_while_it_is_read_are_not_part_of_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(2):
        write(folder / f"{number}.txt", made_up_documents(20, seed=number))
    recipe = recipe_of(folder)
    expected = find_or_build(recipe, tmp_path / "expected", report=lambda line: None)
    at_the_first_document(monkeypatch, lambda: shutil.copyfile(folder / "0.txt", folder / "0a.txt"))
    recipe = recipe_of(folder)
    store = find_or_build(recipe, tmp_path / "cache", report=lambda line: None)
    assert (store / "manifest.json").read_bytes() == (expected / "manifest.json").read_bytes()


def test_a_tokenizer_that_is_another_by_the_time_it_is_read_is_refused(tmp_path: Path) -> None:
    path, tokenizer = write(tmp_path / "corpus.txt", made_up_documents(60)), tmp_path / "tokenizer.json"
    train_tokenizer(iter(made_up_documents(60)), kind="byte_bpe", vocab_size=480).save(str(tokenizer))
    recipe = recipe_of(path, tokenizer=str(tokenizer))
    recipe.fingerprint()
    train_tokenizer(iter(made_up_documents(60, seed=1)), kind="byte_bpe", vocab_size=470).save(str(tokenizer))
    assert_refused(recipe, tokenizer, tmp_path / "cache")
