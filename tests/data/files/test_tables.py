"""Tables as spreadsheets and pandas write them, and files that are packed, or no text at all."""

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from common.errors import UserError
from data.text.corpora import Corpus
from data.text.sources import RowSource
from finetuning.data.columns import ColumnReader
from finetuning.data.rows import DataWarnings

ROWS = [{"text": 'say "hi"', "label": "a"}, {"text": "plain", "label": "b"}, {"text": "one\ttwo\nthree", "label": "a"}]


def read(path: Path, **settings: Any) -> list[dict[str, Any]]:
    return [row for _, row in RowSource(name=(str(path),), **settings).rows()]


def test_a_tsv_that_pandas_wrote_is_read_as_it_was_where_it_is_called_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(ROWS).to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    assert read(tmp_path / "a.tsv", format="csv") == ROWS
    warnings = DataWarnings()
    (tmp_path / "b.tsv").write_text('text\n"say ""hi"""\n"whole"\nsay "hi"\n', encoding="utf-8")
    texts = [reader.text("text") for reader in ColumnReader(RowSource(name=(str(tmp_path / "b.tsv"),)), warnings)]
    assert texts == ['"say ""hi"""', '"whole"', 'say "hi"']  # as its characters stand
    assert warnings.counts == {"texts with csv's quotation marks in a tsv; with task.format = csv they go": 1}


def test_a_tsv_that_excel_wrote_may_have_tabs_and_lines_in_its_fields_however_far_they_go(tmp_path: Path) -> None:
    body = "".join(f"{number}\t{'ab'[number % 2]}\n" for number in range(997))
    (tmp_path / "a.tsv").write_text(f'text\tlabel\n"x\ty"\ta\n{body}"one\n\ntwo"\tb\nlast\ta\n', encoding="utf-8")
    texts = [row["text"] for row in read(tmp_path / "a.tsv")]
    assert (texts[0], texts[-2], texts[-1], len(texts)) == ("x\ty", "one\n\ntwo", "last", 1000)


@pytest.mark.parametrize("cell", ['"', '""', 'a "b" c', '"a" said', '"whole"', '5" x 6"', '""재미""'])
def test_quotation_marks_of_a_tsv_that_are_not_csvs_are_characters(cell: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(f"text\tlabel\n{cell}\ta\nother\tb\n", encoding="utf-8")
    assert [row["text"] for row in read(tmp_path / "a.tsv")] == [cell, "other"]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_csv_may_have_another_mark_between_its_fields(mark: str, tmp_path: Path) -> None:
    lines = [f"text{mark}label", f"one, two{mark}a", f'"three{mark} ""four"""{mark}b']
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    expected = [{"text": "one, two", "label": "a"}, {"text": f'three{mark} "four"', "label": "b"}]
    assert read(tmp_path / "a.csv") == expected
    (tmp_path / "b.csv").write_text("\n".join(lines[:0:-1]), encoding="utf-8")
    assert read(tmp_path / "b.csv", header=("text", "label")) == expected[::-1]
    (tmp_path / "c.csv").write_text("text\none; two | three\n", encoding="utf-8")
    assert read(tmp_path / "c.csv") == [{"text": "one; two | three"}]


MARKED = {
    "sep=;": ";", '"sep=;"': ";", "\ufeffsep=;": ";", "SEP=;": ";", "sep=;;;": ";",
    "sep=\\t": "\t", "sep=\t": "\t", "sep=^": "^", "sep=|": "|", "sep=,": ",",
}  # fmt: skip


@pytest.mark.parametrize("first", MARKED)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_mark_that_excel_declares_is_obeyed_and_no_row(first: str, end: str, tmp_path: Path) -> None:
    mark = MARKED[first]
    lines = [first, f"text{mark}label", f'"one, {mark}two; |"{mark}a', f"three{mark}b", ""]
    path = tmp_path / "a.csv"
    path.write_text(end.join(lines), encoding="utf-8", newline="")
    expected = [{"text": f"one, {mark}two; |", "label": "a"}, {"text": "three", "label": "b"}]
    assert read(path) == expected
    assert [origin for origin, _ in RowSource(name=(str(path),)).rows()] == ["a.csv, line 3", "a.csv, line 4"]
    assert list(Corpus(source=(str(path),)).texts()) == [row["text"] for row in expected]
    path.write_text(end.join([first, *lines[2:]]), encoding="utf-8", newline="")
    assert read(path, header=("text", "label")) == expected


def test_a_mark_that_a_tsv_declares_leaves_its_quotation_marks_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('sep=\t\ntext\tlabel\n"whole"\ta\n5" x 6"\tb\n', encoding="utf-8")
    assert [row["text"] for row in read(path)] == ['"whole"', '5" x 6"']
    path.write_text("sep=;\ntext;label\nwhole;a;b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.tsv, line 3: 3 fields where the columns are 2 \(text, label\)"):
        read(path)
    path.write_text("sep=;\n", encoding="utf-8")
    with pytest.raises(UserError, match="is empty, and no line names its columns"):
        read(path)
    path.write_text("text\tlabel\nsep=;\ta\n", encoding="utf-8")  # a mark stands before all else
    assert [row["text"] for row in read(path)] == ["sep=;"]


def test_the_mark_of_a_csv_is_the_one_by_which_its_rows_have_as_many_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"text, the";"label"\n"one";"a"\n', encoding="utf-8")
    assert read(path) == [{"text, the": "one", "label": "a"}]
    path.write_text("text, or title;label\none;a\ntwo, three, four;b\n", encoding="utf-8")
    assert read(path) == [{"text, or title": "one", "label": "a"}, {"text, or title": "two, three, four", "label": "b"}]
    path.write_text('text;label\n"one\n\n;two";a\n1,5;b\n', encoding="utf-8")
    assert [row["text"] for row in read(path)] == ["one\n\n;two", "1,5"]


def test_a_mark_that_nothing_tells_is_named_with_the_line_that_would(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text^label\none^a\n", encoding="utf-8")
    expected = r"'text' \(it has: text\^label\); where '\^' parts its fields, put a line 'sep=\^' before its first"
    with pytest.raises(UserError, match=expected):
        [row.text("text") for row in ColumnReader(RowSource(name=(str(path),)), DataWarnings())]
    with pytest.raises(UserError, match=expected):
        list(Corpus(source=(str(path),)).texts())
    path.write_text(f"sep=^\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    assert read(path) == [{"text": "one", "label": "a"}]
    path.write_text("text_a\none\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"\(it has: text_a\); did you mean 'text_a'\?$"):
        [row.text("text") for row in ColumnReader(RowSource(name=(str(path),)), DataWarnings())]


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t")])
def test_columns_that_are_named_again_are_refused_by_their_line(
    suffix: str, mark: str, bom: str, tmp_path: Path
) -> None:
    part = f"text{mark}label\none{mark}a\n"
    path = tmp_path / f"a.{suffix}"
    path.write_text(part + bom + part, encoding="utf-8")
    with pytest.raises(UserError, match=rf"a\.{suffix}, line 3: names the columns again"):
        read(path)
    path.write_text("text\none\ntext\n", encoding="utf-8")  # of one column it may be a text
    assert [row["text"] for row in read(path)] == ["one", "text"]


def _zstandard(content: bytes) -> bytes:
    half = len(content) // 2  # of two frames, as files that were put together are
    parts = [pa.compress(part, codec="zstd", asbytes=True) for part in (content[:half], content[half:])]
    return b"".join(bytes(part) for part in parts)


PACKERS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": _zstandard, ".GZ": gzip.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_files_of_every_kind_are_read(suffix: str, tmp_path: Path) -> None:
    lines = [f"text {number},{'ab'[number % 2]}" for number in range(20_000)]
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(PACKERS[suffix]("\n".join(["text,label", *lines, ""]).encode()))
    assert [f"{row['text']},{row['label']}" for row in read(path)] == lines
    corpus = Corpus(source=(str(path),))
    assert corpus.num_bytes() is None
    assert corpus.fingerprint()["source"][0]["name"] == f"a.csv{suffix}"
    assert len(list(corpus.texts())) == len(lines)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_packed_file_that_is_damaged_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{suffix}"
    for content in (b"hello", PACKERS[suffix](b"hello " * 9999)[:-20]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"a\.txt{suffix}: cannot be read"):
            list(Corpus(source=(str(path),)).texts())


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(b"hello", mtime=0), "begins as gzip does"),
        (b"PK\x03\x04rest", "begins as zip does"),
        (b"%PDF-1.7\n", "begins as PDF does"),
        (b"\x89PNG\r\n\x1a\n", "begins as PNG does"),
        (bytes(range(256)) * 20, "many of its bytes are control characters"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_what_is_no_text_is_refused_by_what_it_is(content: bytes, kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for reading in (lambda: read(path), lambda: list(Corpus(source=(str(path),)).texts())):
        with pytest.raises(UserError, match=rf"{name}: is no text.*{kind}"):
            reading()


def test_a_stray_control_character_is_damage_and_no_reason(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\x00two \x1b[0m three")
    assert list(Corpus(source=(str(tmp_path / "a.txt"),)).texts()) == ["one\x00two \x1b[0m three"]
