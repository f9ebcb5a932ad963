"""Sources: every form gives the rows that stand in it, and every mistake is told in one line."""

import csv
import errno
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import MachineError, UserError
from data.files.formats import rows_of
from data.text.sources import RowSource, read_or_named

FIXED = settings(deadline=None, derandomize=True, max_examples=60)

ROWS = [
    {"text": 'He said "no', "label": "0"},
    {"text": '"quoted"', "label": "1"},
    {"text": "", "label": "0"},
    {"text": "한글 NA null", "label": "1"},
    {"text": "a\u2028b\x85c, d", "label": "0"},
]


def read(path: Path | str, **settings: Any) -> list[dict[str, Any]]:
    return [row for _, row in RowSource(name=(str(path),), **settings).rows()]


def as_tsv(rows: list[dict[str, str]]) -> str:
    return "".join("\t".join(line) + "\n" for line in [list(rows[0]), *(row.values() for row in rows)])


def as_csv(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


WRITERS: dict[str, Callable[[list[dict[str, str]]], bytes]] = {
    "tsv": lambda rows: as_tsv(rows).encode(),
    "csv": lambda rows: as_csv(rows).encode(),
    "jsonl": lambda rows: as_jsonl(rows).encode(),
    "json": lambda rows: json.dumps(rows).encode(),
}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "mark"])
@pytest.mark.parametrize("suffix", [*WRITERS, "csv.gz", "jsonl.gz"])
def test_rows_of_every_form_are_what_stands_there(suffix: str, mark: bytes, tmp_path: Path) -> None:
    content = mark + WRITERS[suffix.removesuffix(".gz")](ROWS)
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    assert read(path) == ROWS


def test_rows_of_parquet_are_what_stands_there(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert read(tmp_path / "rows.parquet") == ROWS


cell = st.text(alphabet=st.characters(exclude_characters="\t\n\r\x00", exclude_categories=["Cs"]), max_size=8)


@FIXED
@given(table=st.lists(st.tuples(cell, cell), min_size=1, max_size=6))
def test_a_tsv_is_read_exactly_whatever_its_signs(
    table: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "exact.tsv"
    path.write_bytes(b"a\tb\n" + "".join(f"{a}\t{b}\n" for a, b in table).encode())
    assert [(row["a"], row["b"]) for _, row in rows_of(path, "tsv")] == table


def test_a_table_without_a_header_is_given_one(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("it 's fine\t1\r\nno\t0")
    assert read(tmp_path / "a.tsv", header=("text", "label")) == [
        {"text": "it 's fine", "label": "1"},
        {"text": "no", "label": "0"},
    ]


def test_a_field_of_a_csv_may_hold_lines_and_be_long(tmp_path: Path) -> None:
    rows = [{"text": 'one,\n"two"\n', "label": "x" * 200_000}]
    (tmp_path / "a.csv").write_text(as_csv(rows))
    assert read(tmp_path / "a.csv") == rows


def test_rows_are_called_by_their_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text\n"one\ntwo"\nthree\n')
    (tmp_path / "b.csv").write_text("text\nfour\n")
    origins = [origin for origin, _ in RowSource(name=(str(tmp_path / "*.csv"),)).rows()]
    assert origins == ["a.csv, line 2", "a.csv, line 4", "b.csv, line 2"]


def bad_files(folder: Path) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Settings of sources that cannot be read, and what their message must hold."""
    (folder / "uneven.tsv").write_text("a\tb\n1\t2\n1\t2\t3\n")
    (folder / "short.csv").write_text("a,b\n1,2\n1\n")
    (folder / "quotes.csv").write_text('a,b\n1,2\n"1"x,2\n')
    (folder / "header.tsv").write_text("a\tb\n")
    (folder / "empty.jsonl").write_text("")
    (folder / "broken.jsonl").write_text('{"a": 1}\n\n{"a":\n')
    (folder / "list.jsonl").write_text("[1]\n")
    (folder / "broken.json").write_text('[\n{"a": 1},\n{"a": }\n]')
    (folder / "lines.json").write_text('{"a": 1}\n{"a": }\n')
    (folder / "number.json").write_text("7")
    (folder / "squad.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": "c"}]}]}))
    (folder / "uneven.conll").write_text("a\tO\nb\n")
    (folder / "utf16.csv").write_bytes("text,label\none,1\n".encode("utf-16-le"))
    (folder / "a.pdf").write_text("a")
    (folder / "broken.parquet").write_text("no parquet")
    (folder / "folder").mkdir()
    return {
        "missing": ({"name": ("data/no.tsv",)}, ["task.train: no file at 'data/no.tsv'"]),
        "glob": ({"name": ("no*.csv",)}, ["no file at 'no*.csv'"]),
        "folder": ({"name": ("./folder",)}, ["no file at './folder'"]),
        "plain folder": ({"name": ("folder",)}, ["no file at 'folder'"]),
        "nothing": ({"name": ()}, ["task.train names nothing"]),
        "empty name": ({"name": ("",)}, ["task.train names nothing"]),
        "second": ({"name": ("uneven.tsv", "no.tsv")}, ["no file at 'no.tsv'"]),
        "key": ({"name": ("no.tsv",), "key": "task.test"}, ["task.test: no file"]),
        "suffix": ({"name": ("a.pdf",)}, ["task.train: 'a.pdf'", "format", "csv, tsv, jsonl"]),
        "no format": ({"name": ("short.csv",), "format": None}, ["task.train: its format = None is none of auto, csv"]),
        "mixed": ({"name": ("uneven.tsv", "short.csv")}, ["csv and tsv files cannot be mixed"]),
        "uneven tsv": ({"name": ("uneven.tsv",)}, ["uneven.tsv, line 3: 3 fields", "columns are 2 (a, b)"]),
        "short csv": ({"name": ("short.csv",)}, ["short.csv, line 3: 1 fields"]),
        "quotes": ({"name": ("quotes.csv",)}, ["quotes.csv, line 3: not csv"]),
        "header alone": ({"name": ("header.tsv",)}, ["'header.tsv' holds no rows"]),
        "empty": ({"name": ("empty.jsonl",)}, ["task.train: 'empty.jsonl' holds no rows"]),
        "json": ({"name": ("broken.jsonl",)}, ["broken.jsonl, line 3: not a JSON object"]),
        "list": ({"name": ("list.jsonl",)}, ["list.jsonl, line 1: list"]),
        "broken": ({"name": ("broken.json",)}, ["broken.json, line 3: not JSON ("]),
        "lines": ({"name": ("lines.json",)}, ["lines.json, line 2: not a JSON object on one line"]),
        "number": ({"name": ("number.json",)}, ["number.json: not a list of JSON objects"]),
        "squad": ({"name": ("squad.json",)}, ["squad.json: not the form of SQuAD's files", "qas"]),
        "conll": ({"name": ("uneven.conll",)}, ["uneven.conll, line 2: 1 columns where there are 2 (tokens, tags)"]),
        "utf16": ({"name": ("utf16.csv",)}, ["utf16.csv, line 1: is not UTF-8 and looks like utf-16-le"]),
        "parquet": ({"name": ("broken.parquet",)}, ["task.train: cannot read 'broken.parquet'"]),
    }


MISTAKES = [
    *(
        "missing",
        "glob",
        "folder",
        "plain folder",
        "nothing",
        "empty name",
        "second",
        "key",
        "suffix",
        "no format",
        "mixed",
        "uneven tsv",
    ),
    *("short csv", "quotes", "header alone", "empty", "json", "list", "broken", "lines", "number", "squad"),
    *("conll", "utf16", "parquet"),
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = bad_files(tmp_path)
    assert [*bad] == MISTAKES
    settings, words = bad[mistake]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the words follow)
        list(RowSource(**settings).rows())
    message = str(raised.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_a_hub_data_set_is_read_by_name_configuration_and_split_with_the_names_of_its_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    label = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": label,
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B-a"])),
        }
    )
    rows = [
        {"text": "one", "label": 1, "tags": [0, 1]},
        {"text": "two", "label": -1, "tags": []},
        {"text": "three", "label": None, "tags": [0]},
    ]
    calls: list[Any] = []

    def load_dataset(*names: str | None, split: str) -> datasets.Dataset:
        calls.append((*names, split))
        return datasets.Dataset.from_list(rows, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = RowSource(name=("owner/name",), configuration="small", split="test")
    assert list(source.rows()) == [
        ("owner/name, row 1", {"text": "one", "label": "yes", "tags": ["O", "B-a"]}),
        ("owner/name, row 2", {"text": "two", "label": None, "tags": []}),
        ("owner/name, row 3", {"text": "three", "label": None, "tags": ["O"]}),
    ]
    assert calls == [("owner/name", "small", "test")]


def test_an_empty_split_of_a_hub_data_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, split: datasets.Dataset.from_dict({"text": []}))
    with pytest.raises(ValueError, match=r"task\.test: split 'test' of 'owner/name' holds no rows"):
        list(RowSource(name=("owner/name",), split="test", key="task.test").rows())


def raising(error: Exception) -> Iterator[int]:
    yield 1
    raise error


def decoded() -> Iterator[str]:
    yield b"\xff".decode()


def test_a_hub_that_cannot_be_reached_is_the_machines() -> None:
    with pytest.raises(MachineError, match=r"task\.train: 'nobody/nothing' is no file here, .*HF_HUB_OFFLINE is set"):
        list(RowSource(name=("nobody/nothing",)).rows())


@pytest.mark.parametrize("kind", [httpx.ConnectError, requests.exceptions.ConnectionError, TimeoutError])
def test_a_lost_network_is_the_machines_whichever_library_names_it(kind: type[Exception]) -> None:
    with pytest.raises(MachineError, match=r"^x: 'a' is no file here"):
        list(read_or_named(raising(kind("no route")), key="x", name="a"))


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no", "a.csv"), OSError(errno.EIO, "no"), MemoryError()]
)
def test_what_the_system_refuses_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        list(read_or_named(raising(error), key="x", name="a"))
    assert raised.value is error


@pytest.mark.parametrize("error", [AssertionError(), KeyError("column"), ValueError("of a line of ours")])
def test_a_mistake_of_ours_is_not_taken_for_a_damaged_file(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        list(read_or_named(raising(error), key="x", name="a"))
    assert raised.value is error


def test_what_python_cannot_read_is_the_files() -> None:
    with pytest.raises(UserError, match=r"x: cannot read 'a': .*can't decode"):
        list(read_or_named(decoded(), key="x", name="a"))
