"""Rows of tasks: what they hold is exact, and what is odd is counted, the first case named."""

from pathlib import Path
from typing import Any

import pytest

from data.text.corpora import Corpus
from data.text.sources import RowSource
from finetuning.data.parse import read_pairs, read_texts
from finetuning.data.rows import DataWarnings, PairRow, TextRow
from tests.finetuning.files import jsonl


@pytest.fixture
def warnings() -> DataWarnings:
    return DataWarnings()


# --- texts ---


def test_texts_and_labels_are_taken_from_the_columns_named(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, {"a": "one", "b": "two", "y": "yes"}, {"a": "three", "b": "four", "y": " no "})
    assert read_texts(source, texts=["b", "a"], label="y", warnings=warnings) == [
        TextRow(texts=("two", "one"), label="yes", origin="rows.jsonl, line 1"),
        TextRow(texts=("four", "three"), label="no", origin="rows.jsonl, line 2"),
    ]
    assert not warnings.lines()


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("1", "1"),
        (1, "1"),
        (1.0, "1"),
        (0, "0"),
        (True, "true"),
        ("positive", "positive"),
        (0.5, "0.5"),
        ("0.0", "0"),
        ("-1.0", "-1"),
    ],
)
def test_a_label_has_one_name_whatever_type_the_file_gave_it(
    value: Any, label: str, tmp_path: Path, warnings: DataWarnings
) -> None:
    assert (
        read_texts(jsonl(tmp_path, {"t": "x", "y": value}), texts=["t"], label="y", warnings=warnings)[0].label == label
    )


def test_several_labels_are_a_list_or_parted_by_a_separator(tmp_path: Path, warnings: DataWarnings) -> None:
    values = [["b", "a"], "a| b |", "", [], [3, 3]]
    source = jsonl(tmp_path, *({"t": "x", "y": value} for value in values))
    rows = read_texts(source, texts=["t"], label="y", form="many", separator="|", warnings=warnings)
    assert [row.label for row in rows] == [("a", "b"), ("a", "b"), (), (), ("3",)]
    assert not warnings.lines()


def test_numbers_are_numbers(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, *({"t": "x", "y": value} for value in ("2.5", -1, "1e-3", None)))
    rows = read_texts(source, texts=["t"], label="y", form="number", warnings=warnings)
    assert [row.label for row in rows] == [2.5, -1.0, 0.001]
    assert warnings.lines() == ["rows without a label, left out: 1 (the first: rows.jsonl, line 4)"]


def test_empty_documents_stay_and_rows_without_a_label_do_not_and_both_are_counted(
    tmp_path: Path, warnings: DataWarnings
) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id\tdocument\tlabel\n1\t\t1\n2\t재밌다\t1\n3\t  \t0\n4\tno label\t\n")
    rows = read_texts(RowSource(name=(str(path),)), texts=["document"], label="label", warnings=warnings)
    assert [(row.texts[0], row.label) for row in rows] == [("", "1"), ("재밌다", "1"), ("  ", "0")]
    assert warnings.lines() == [
        "empty texts: 2 (the first: a.tsv, line 2)",
        "rows without a label, left out: 1 (the first: a.tsv, line 5)",
    ]


def test_bytes_of_another_encoding_are_counted_and_the_first_named(tmp_path: Path, warnings: DataWarnings) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("text\n재밌다\n".encode() + "재밌다\n".encode("cp949") + b"caf\xe9\n")
    assert len(read_texts(RowSource(name=(str(path),)), texts=["text"], warnings=warnings)) == 3
    assert warnings.lines() == ["texts with bytes that make no character: 2 (the first: a.tsv, line 3)"]


def test_what_utf8_cannot_write_is_replaced_and_no_place_moves(tmp_path: Path, warnings: DataWarnings) -> None:
    rows = read_texts(jsonl(tmp_path, {"t": "a\ud800b\r\n😀"}), texts=["t"], warnings=warnings)
    assert rows[0].texts == ("a\ufffdb\r\n😀",)


def test_a_column_may_lie_within_another(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, {"translation": {"en": "cat", "ko": "고양이"}, "a.b": "itself"})
    assert read_pairs(source, inputs="translation.ko", targets="translation.en", warnings=warnings)[0].target == "cat"
    assert read_texts(source, texts=["a.b"], warnings=warnings)[0].texts == ("itself",)


MISTAKES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "column": ({"document": "x", "y": 1}, {"texts": ["documnt"]}, ["'documnt'", "document, y", "mean 'document'?"]),
    "label column": ({"t": "x", "label": 1}, {"texts": ["t"], "label": "lable"}, ["'lable'", "mean 'label'?"]),
    "within": ({"t": {"a": "x"}}, {"texts": ["t.b"]}, ["'t.b'", "it has: t)"]),
    "text": ({"t": 3}, {"texts": ["t"]}, ["column 't' holds int, not text"]),
    "one": ({"t": "x", "y": ["a"]}, {"texts": ["t"], "label": "y"}, ["['a'] must hold one label", "several labels"]),
    "many": ({"t": "x", "y": 3}, {"texts": ["t"], "label": "y", "form": "many"}, ["= 3 must hold a list of labels"]),
    "number": ({"t": "x", "y": "a"}, {"texts": ["t"], "label": "y", "form": "number"}, ["= 'a' must be a number"]),
    "nan": ({"t": "x", "y": "inf"}, {"texts": ["t"], "label": "y", "form": "number"}, ["must be a finite number"]),
    "hidden": ({"t": "x", "y": None}, {"texts": ["t"], "label": "y"}, ["no row", "label in column 'y'", "hidden"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, tmp_path: Path, warnings: DataWarnings) -> None:
    row, settings, words = MISTAKES[mistake]
    with pytest.raises(ValueError, match=r"^task\.train: ") as raised:
        read_texts(jsonl(tmp_path, row), **settings, warnings=warnings)
    assert [word for word in words if word not in str(raised.value)] == []


def test_a_table_read_as_text_is_named(tmp_path: Path, warnings: DataWarnings) -> None:
    (tmp_path / "ratings.txt").write_text("id\tdocument\tlabel\n1\tfine\t1\n")
    source = RowSource(name=(str(tmp_path / "ratings.txt"),))
    with pytest.raises(ValueError, match=r"no column 'document' \(it has: text\).*set its format to tsv or csv"):
        read_texts(source, texts=["document"], warnings=warnings)


def test_names_beside_the_columns_that_are_read_may_repeat_or_be_empty(tmp_path: Path, warnings: DataWarnings) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",text,note,note,label,\n0,one,a,b,x,\n1,two,a,b,y,\n")
    source = RowSource(name=(str(path),))
    rows = read_texts(source, texts=["text"], label="label", warnings=warnings)
    assert [(row.texts, row.label) for row in rows] == [(("one",), "x"), (("two",), "y")]
    with pytest.raises(ValueError, match=r"task\.train: .*a\.csv names a column twice \(, text, note, note, label, \)"):
        read_texts(source, texts=["note"], warnings=warnings)
    with pytest.raises(ValueError, match="names a column twice"):
        list(Corpus(source=(str(path),), text_column="note").texts())


def test_lists_that_a_table_wrote_as_text_are_lists(tmp_path: Path, warnings: DataWarnings) -> None:
    path = tmp_path / "a.csv"
    spelled = ["['joy', 'fear']", "['joy' 'fear']", '[""joy"", ""fear""]', "joy,fear", "[]", ""]
    path.write_text("text,label\n" + "".join(f'x,"{value}"\n' for value in spelled))
    rows = read_texts(RowSource(name=(str(path),)), texts=["text"], label="label", form="many", warnings=warnings)
    assert [row.label for row in rows] == [("fear", "joy")] * 4 + [()] * 2
    assert not warnings.counts


# --- pairs ---


def test_a_target_may_be_several_and_a_source_several_sentences(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, {"s": ["One.", "Two."], "t": ["a", "b"]}, {"s": "Three.", "t": "c"})
    rows = read_pairs(source, inputs="s", targets="t", warnings=warnings)
    assert rows == [
        PairRow(source="One. Two.", targets=("a", "b"), origin="rows.jsonl, line 1"),
        PairRow(source="Three.", targets=("c",), origin="rows.jsonl, line 2"),
    ]
    assert rows[0].target == "a"
    assert read_pairs(source, inputs="s", targets=None, warnings=warnings)[0].targets == ()


def test_lists_of_lists_are_texts(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, {"s": [["One.", "Two."], ["Three."]], "t": [["a", "b"], "c"]})
    (row,) = read_pairs(source, inputs="s", targets="t", warnings=warnings)
    assert (row.source, row.targets) == ("One. Two. Three.", ("a b", "c"))
    assert not warnings.counts
    with pytest.raises(ValueError, match="column 's' holds int, not text"):
        read_pairs(jsonl(tmp_path, {"s": [["One."], [2]], "t": "a"}), inputs="s", targets="t", warnings=warnings)


def test_summaries_that_a_table_wrote_as_lists_are_several(tmp_path: Path, warnings: DataWarnings) -> None:
    path = tmp_path / "a.csv"
    path.write_text("s,t\n\"['One.', 'Two.']\",\"['a', 'b']\"\n[1],[see below]\n")
    one, two = read_pairs(RowSource(name=(str(path),)), inputs="s", targets="t", warnings=warnings)
    assert (one.source, one.targets) == ("One. Two.", ("a", "b"))
    assert (two.source, two.targets) == ("[1]", ("[see below]",))
    assert warnings.counts == {"texts that are written as lists, read as lists": 2}
    source = jsonl(tmp_path, {"s": "['One.']", "t": "a"})  # there a list needs not be written as text
    assert read_pairs(source, inputs="s", targets="t", warnings=warnings)[0].source == "['One.']"


def test_empty_sources_and_targets_stay_and_are_counted(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, {"s": "", "t": "a"}, {"s": "b", "t": ""}, {"s": "c", "t": []}, {"s": "d", "t": None})
    rows = read_pairs(source, inputs="s", targets="t", warnings=warnings)
    assert [row.targets for row in rows] == [("a",), ("",), ("",), ("",)]
    assert warnings.lines() == [
        "empty texts: 1 (the first: rows.jsonl, line 1)",
        "empty targets: 3 (the first: rows.jsonl, line 2)",
    ]
