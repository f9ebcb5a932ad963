"""Corpora that are refused, in one helpful line for every mistake; hub data sets and validation text by settings."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from common.errors import MachineError
from data.text.corpora import Corpus
from tests.data.text.test_corpora import TEXTS, read, write_csv, write_parquet
from tests.helpers import write_jsonl


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


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_text_column_that_a_table_has_twice_is_refused(suffix: str, tmp_path: Path) -> None:
    mark = "," if suffix == "csv" else "\t"
    path = tmp_path / f"a.{suffix}"
    path.write_text(f"text{mark}text{mark}n\none{mark}two{mark}3\n")
    with pytest.raises(ValueError, match=r"names a column twice \(text, text, n\)"):
        read(path)
    assert read(path, text_column="n") == ["3"]
