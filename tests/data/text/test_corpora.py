"""Corpora: documents of every kind of file, and one helpful line for every mistake."""

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

from common.errors import MachineError
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


def bad_files(folder: Path) -> dict[str, tuple[tuple[str, ...], list[str]]]:
    """Sources that cannot be read, and what their message must hold."""
    (folder / "a.txt").write_text("a")
    (folder / "a.pdf").write_text("a")
    (folder / "broken.jsonl").write_text('{"text": "a"}\n\n{"text": \n')
    (folder / "list.jsonl").write_text('{"text": "a"}\n["b"]\n')
    (folder / "column.jsonl").write_text('{"txt": "a", "id": 3}\n')
    (folder / "empty.csv").write_text("")
    (folder / "uneven.csv").write_text("text,b\n1,2\n1,2,3,4\n")
    (folder / "broken.parquet").write_text("no parquet")
    (folder / "broken.txt.gz").write_text("not compressed")
    whole = gzip.compress(os.urandom(4_000))
    (folder / "cut.txt.gz").write_bytes(whole[:2_000])
    write_csv(folder / "column.csv", TEXTS, column="body")
    write_parquet(folder / "column.parquet", TEXTS, column="body")
    (folder / "nothing").mkdir()
    return {
        "missing": (("texts/no.txt",), ["data.corpus", "texts/no.txt", "no file"]),
        "glob": (("texts/*.txt",), ["data.corpus", "texts/*.txt", "no file"]),
        "second": (("a.txt", "b.txt"), ["data.corpus", "'b.txt'", "no file"]),
        "folder": (("./nothing",), ["data.corpus", "./nothing", "no file"]),
        "no name": ((), ["data.corpus", "names nothing"]),
        "empty name": (("",), ["data.corpus", "names nothing"]),
        "suffix": (("a.pdf",), ["data.corpus", "a.pdf", ".jsonl", ".parquet"]),
        "mixed": (("column.[cp]*",), ["data.corpus", "'column.[cp]*' mixes csv and parquet files"]),
        "json": (("broken.jsonl",), ["broken.jsonl", "line 3", "JSON"]),
        "list": (("list.jsonl",), ["data.corpus", "list.jsonl, line 2: list, not a JSON object with columns"]),
        "json column": (("column.jsonl",), ["line 1", "'text'", "txt, id", "data.text_column"]),
        "csv column": (("column.csv",), ["line 2", "'text'", "number, body", "data.text_column"]),
        "parquet column": (("column.parquet",), ["row 1", "'text'", "number, body", "data.text_column"]),
        "empty csv": (("empty.csv",), ["data.corpus", "empty.csv", "no line names its columns"]),
        "uneven csv": (("uneven.csv",), ["data.corpus", "uneven.csv, line 3: 4 fields", "columns are 2 (text, b)"]),
        "parquet": (("broken.parquet",), ["data.corpus", "broken.parquet"]),
        "gz": (("broken.txt.gz",), ["broken.txt.gz", "cannot be read"]),
        "cut gz": (("cut.txt.gz",), ["cut.txt.gz", "cannot be read"]),
    }


@pytest.mark.parametrize(
    "mistake",
    [
        *("missing", "glob", "second", "folder", "no name", "empty name", "suffix", "mixed", "json", "list"),
        *("json column", "csv column", "parquet column", "empty csv", "uneven csv", "parquet", "gz", "cut gz"),
    ],
)
def test_a_mistake_is_one_line(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, words = bad_files(tmp_path)[mistake]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the words follow)
        read(*sources)
    message = str(raised.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_a_hub_that_cannot_be_reached_is_the_machines() -> None:
    with pytest.raises(MachineError, match=r"data\.corpus: 'nobody/nothing' is no file here, .*HF_HUB_OFFLINE is set"):
        read("nobody/nothing")


def test_a_hub_dataset_is_read_by_its_name_configuration_split_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    calls: list[Any] = []

    def load_dataset(*names: str | None, split: str) -> datasets.Dataset:
        calls.append((*names, split))
        return datasets.Dataset.from_dict({"body": TEXTS, "text": ["other"] * 3})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read("owner/name", configuration="small", split="test", text_column="body") == TEXTS
    assert calls == [("owner/name", "small", "test")]
    with pytest.raises(
        ValueError, match=r"name, row 1 has no column 'txt' \(it has: body, text\); set data\.text_column"
    ):
        read("owner/name", text_column="txt")


def test_validation_of_files_reads_other_files_and_says_its_own_name(tmp_path: Path) -> None:
    corpus = Corpus(source=(str(write_jsonl(tmp_path / "a.jsonl", TEXTS)),), text_column="text")
    other = write_jsonl(tmp_path / "b.jsonl", ["held out"])
    assert list(corpus.held_out((str(other),)).texts()) == ["held out"]
    with pytest.raises(ValueError, match=r"data\.validation: no file at 'c\.jsonl'"):
        corpus.held_out(("c.jsonl",)).files()


def test_validation_of_a_hub_dataset_reads_another_split() -> None:
    held_out = Corpus(source=("wikitext",), configuration="wikitext-2-raw-v1").held_out(("validation",))
    assert (held_out.source, held_out.configuration, held_out.split) == (
        ("wikitext",),
        "wikitext-2-raw-v1",
        "validation",
    )


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


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_text_column_that_a_table_has_twice_is_refused(suffix: str, tmp_path: Path) -> None:
    mark = "," if suffix == "csv" else "\t"
    path = tmp_path / f"a.{suffix}"
    path.write_text(f"text{mark}text{mark}n\none{mark}two{mark}3\n")
    with pytest.raises(ValueError, match=r"names a column twice \(text, text, n\)"):
        read(path)
    assert read(path, text_column="n") == ["3"]


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
