"""Corpora: documents of every kind of file, and the fingerprint that follows what changes them."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.text.corpora import Corpus
from data.text.parts import DocumentRule
from tests.helpers import write_jsonl

TEXTS = ["First one.", "둘째 문서이다.", 'A third, with "quotes",\nand two lines.']


def read(*sources: Path | str, **settings: Any) -> list[Any]:
    return list(Corpus(source=tuple(map(str, sources)), **settings).texts())


def compressed(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def write_csv(path: Path, texts: list[str], column: str = "text") -> Path:
    rows = [
        f"number,{column}",
        *(f'{number},"{text.replace(chr(34), chr(34) * 2)}"' for number, text in enumerate(texts)),
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_parquet(path: Path, texts: list[str], column: str = "text") -> Path:
    pq.write_table(pa.table({"number": list(range(len(texts))), column: texts}), path)
    return path


def write_tsv(path: Path, texts: list[str]) -> Path:
    lines = [f"{number}\t{text}\n" for number, text in enumerate(texts)]
    path.write_text("number\ttext\n" + "".join(lines), encoding="utf-8")
    return path


def write_json(path: Path, texts: list[str]) -> Path:
    path.write_text(json.dumps([{"text": text} for text in texts], indent=1), encoding="utf-8")
    return path


WRITERS: dict[str, Callable[[Path, list[str]], Path]] = {
    "jsonl": write_jsonl,
    "json": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_table_is_read_row_by_row(suffix: str, tmp_path: Path) -> None:
    assert read(WRITERS[suffix](tmp_path / f"a.{suffix}", TEXTS)) == TEXTS


@pytest.mark.parametrize("writer", [write_tsv, write_json])
def test_what_tasks_read_is_a_corpus_too(writer: Callable[[Path, list[str]], Path], tmp_path: Path) -> None:
    texts = ["First one.", "둘째 문서이다."]
    assert read(writer(tmp_path / f"a.{writer.__name__.removeprefix('write_')}", texts)) == texts


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_compressed_table_is_read_like_a_plain_one(suffix: str, tmp_path: Path) -> None:
    assert read(compressed(WRITERS[suffix](tmp_path / f"a.{suffix}", TEXTS))) == TEXTS


@pytest.mark.parametrize("writer", [write_csv, write_parquet])
def test_the_text_may_stand_in_another_column(writer: Callable[..., Path], tmp_path: Path) -> None:
    path = writer(tmp_path / f"a.{writer.__name__.removeprefix('write_')}", TEXTS, column="body")
    assert read(path, text_column="body") == TEXTS


@pytest.mark.parametrize(
    ("rule", "documents"),
    [
        ("file", ["one\r\ntwo\n\n \nthree\n\n\n"]),
        ("paragraph", ["one\r\ntwo\n", "three\n"]),
        ("auto", ["one\r\ntwo\n", "three\n"]),
        ("line", ["one\r\n", "two\n", "\n", " \n", "three\n", "\n", "\n"]),
    ],
)
@pytest.mark.parametrize("pack", [compressed, lambda path: path], ids=["gz", "txt"])
def test_the_rule_says_what_a_document_of_a_text_file_is(
    rule: DocumentRule, documents: list[str], pack: Callable[[Path], Path], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\n\n \nthree\n\n\n")
    assert read(pack(tmp_path / "a.txt"), documents=rule) == documents


def test_of_several_text_files_each_is_a_document(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"{name}\n\n{name}\n")
    assert read(tmp_path / "a.txt", tmp_path / "b.txt") == ["a\n\na\n", "b\n\nb\n"]


def test_folders_and_globs_are_read_in_the_order_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b/z.txt", "b/a.txt", "a/m.txt", "a/notes.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    in_order = ["a/m.txt", "b/a.txt", "b/z.txt"]
    assert read(tmp_path) == read("**/*.txt") == read("./*/*.txt") == in_order
    assert read("b", "a") == ["b/a.txt", "b/z.txt", "a/m.txt"]


def test_a_name_with_brackets_is_a_name_before_it_is_a_pattern(tmp_path: Path) -> None:
    assert read(write_csv(tmp_path / "data[1].csv", TEXTS)) == TEXTS


def test_a_byte_order_mark_or_a_blank_line_does_not_break_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b"}')
    assert read(path) == ["a", "b"]


def test_bytes_that_are_not_utf8_become_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    (tmp_path / "a.csv").write_bytes(b"text\ncaf\xe9\n")
    assert read(tmp_path / "a.txt") == read(tmp_path / "a.csv") == ["caf\ufffd"]


def test_words_that_other_readers_take_for_nothing_are_text(tmp_path: Path) -> None:
    words = ["NA", "null", "None", "nan"]
    assert read(write_csv(tmp_path / "a.csv", words)) == words


def test_the_fingerprint_follows_the_content_and_neither_folder_nor_date(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    before = Corpus(source=(str(path),)).fingerprint()
    (tmp_path / "elsewhere").mkdir()
    copy = Path(shutil.copy(path, tmp_path / "elsewhere" / "a.jsonl"))
    os.utime(copy, (0, 0))
    assert Corpus(source=(str(copy),)).fingerprint() == before
    assert Corpus(source=(str(copy.parent),)).fingerprint() == before
    status = path.stat()
    path.write_text(path.read_text(encoding="utf-8").replace("First", "Other"), encoding="utf-8")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Corpus(source=(str(path),)).fingerprint() != before


def test_the_fingerprint_follows_what_changes_the_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\n\nb")
    corpora = [
        *(Corpus(source=(str(path),), documents=rule) for rule in ("file", "paragraph", "line")),
        Corpus(source=(str(path),), documents="line", text_column="body"),
        Corpus(source=("wikitext",)),
        Corpus(source=("wikitext",), split="test"),
        Corpus(source=("wikitext",), configuration="wikitext-2-raw-v1"),
        Corpus(),
    ]
    assert len({json.dumps(corpus.fingerprint(), sort_keys=True) for corpus in corpora}) == len(corpora)
    decided = Corpus(source=(str(path),)).fingerprint()
    assert decided == Corpus(source=(str(path),), documents="paragraph").fingerprint()


HIDDEN = ("._a0.txt", ".ipynb_checkpoints/a0-checkpoint.txt", "__MACOSX/._a0.txt", "__MACOSX/a0.txt", "b/.git/x.txt")


@pytest.mark.parametrize("source", ["", "**/*.txt", "*/*.txt", "*.txt"])
def test_hidden_files_are_left_out_and_counted(source: str, tmp_path: Path) -> None:
    root = tmp_path / ".corpora" / "mine"  # that a folder above is hidden says nothing
    for name in ("a0.txt", "b/a1.txt", *HIDDEN):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(name)
    corpus = Corpus(source=(str(root / source),), documents="file")
    shown = {"*/*.txt": ["b/a1.txt"], "*.txt": ["a0.txt"]}.get(source, ["a0.txt", "b/a1.txt"])
    assert list(corpus.texts()) == shown
    num_hidden = {"*/*.txt": 3, "*.txt": 1}.get(source, len(HIDDEN))
    assert len(corpus.hidden_files()) == num_hidden


def test_a_hidden_file_that_is_named_is_read(tmp_path: Path) -> None:
    for name in (".notes.txt", ".more.txt"):
        (tmp_path / name).write_text(name)
    assert read(tmp_path / ".notes.txt") == [".notes.txt"]
    assert read(tmp_path / ".*.txt") == [".more.txt", ".notes.txt"]
    with pytest.raises(ValueError, match=r"no file at '.*'.*2 hidden files are left out"):
        read(tmp_path)


def test_cells_of_a_table_are_text_as_they_are_written(tmp_path: Path) -> None:
    cells = ["0042", "1e5", "3.50", "True", "2024-01-02"]
    assert read(write_csv(tmp_path / "a.csv", cells)) == cells
    assert read(write_tsv(tmp_path / "a.tsv", cells)) == cells


def test_the_text_may_stand_within_another_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    rows = [{"meta": {"text": text, "n": 1}} for text in TEXTS]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.table({"other": [0] * 3, "meta": [row["meta"] for row in rows]}), tmp_path / "a.parquet")
    for suffix in ("json", "jsonl", "parquet"):
        assert read(tmp_path / f"a.{suffix}", text_column="meta.text") == TEXTS
        with pytest.raises(ValueError, match=r"has no column 'meta\.txt'"):
            read(tmp_path / f"a.{suffix}", text_column="meta.txt")
    found = datasets.Dataset.from_list(rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, split: found)
    assert read("owner/name", text_column="meta.text") == TEXTS


def test_a_json_array_of_texts_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(TEXTS))
    assert read(tmp_path / "a.json") == TEXTS
