"""Formats of local files: JSON, SQuAD, CoNLL and text give the rows that stand in them."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from data.files.formats import looked_up, rows_of
from data.text.sources import RowSource

ROWS = [{"text": 'He said "no', "label": "0"}, {"text": "한글\u2028", "label": "1"}]


def read(path: Path, **settings: Any) -> list[dict[str, Any]]:
    return [row for _, row in RowSource(name=(str(path),), **settings).rows()]


SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Nile",
            "paragraphs": [
                {
                    "context": "The Nile is long.",
                    "qas": [
                        {"id": "q1", "question": "Which?", "answers": [{"text": "The Nile", "answer_start": 0}]},
                        {"id": "q2", "question": "Who?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


def test_a_squad_file_has_the_columns_that_it_has_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(SQUAD, indent=1))
    first, second = read(tmp_path / "a.json")
    assert first == {
        "id": "q1",
        "title": "Nile",
        "context": "The Nile is long.",
        "question": "Which?",
        "answers": {"text": ["The Nile"], "answer_start": [0]},
        "is_impossible": False,
    }
    assert (second["id"], second["answers"]["text"], second["is_impossible"]) == ("q2", [], True)


def test_a_json_file_is_a_list_a_list_under_data_or_one_object_a_line(tmp_path: Path) -> None:
    for text in (json.dumps(ROWS, indent=2), json.dumps({"data": ROWS}), "\n".join(map(json.dumps, ROWS))):
        (tmp_path / "a.json").write_text(text)
        assert read(tmp_path / "a.json") == ROWS


@pytest.mark.parametrize("blank", ["", "\t", "  "])
def test_sentences_of_a_conll_file_are_parted_by_blank_lines(blank: str, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(f"New\tB-place\nYork\tI-place\n{blank}\n{blank}\n#tag\tO\n")
    assert read(tmp_path / "a.conll") == [
        {"tokens": ["New", "York"], "tags": ["B-place", "I-place"]},
        {"tokens": ["#tag"], "tags": ["O"]},
    ]


def test_conll_2003_is_read_with_its_columns_by_name(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- -X- O\n\n# id 7\nEU NNP B-NP B-ORG\n# CD B-NP O\n\n9 CD I-NP O\n"
    (tmp_path / "a.conll").write_text(text)
    rows = read(tmp_path / "a.conll", header=("word", "pos", "chunk", "ner"))
    assert [row["word"] for row in rows] == [["EU", "#"], ["9"]]
    assert rows[0]["ner"] == ["B-ORG", "O"]
    assert list(read(tmp_path / "a.conll")[0]) == ["tokens", "column_2", "column_3", "tags"]


def test_a_word_of_a_conll_file_may_be_a_space(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("서\tB-LC\n울\tI-LC\n \tO\n\u00a0\tO\n집\tO\n")
    assert read(tmp_path / "a.conll") == [
        {"tokens": ["서", "울", " ", "\u00a0", "집"], "tags": ["B-LC", "I-LC", "O", "O", "O"]}
    ]


def test_lines_of_a_text_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\tthree\n")
    assert read(tmp_path / "a.txt") == [{"text": "one"}, {"text": "two\tthree"}]


def test_bytes_that_are_not_utf8_become_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"text\ncaf\xe9\n")
    assert read(tmp_path / "a.tsv") == [{"text": "caf\ufffd"}]


def test_every_local_row_knows_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(SQUAD))
    (tmp_path / "b.json").write_text(json.dumps(ROWS[:1]))
    origins = [origin for name in ("a.json", "b.json") for origin, _ in rows_of(tmp_path / name, "json")]
    assert origins == ["a.json, question q1", "a.json, question q2", "b.json, row 1"]


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table", "lines"])
def test_json_that_pandas_wrote_has_its_rows(orient: str, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = [{"text": f"text {number}", "label": number % 2} for number in range(12)]
    frame, path = pandas.DataFrame(rows), tmp_path / "a.json"
    frame.to_json(path, **({"orient": "records", "lines": True} if orient == "lines" else {"orient": orient}))
    assert [{name: row[name] for name in ("text", "label")} for _, row in rows_of(path, "json")] == rows


def test_rows_by_their_names_are_rows_and_one_object_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"q1": {"text": "one"}, "q2": {"text": "two"}}')
    assert [row for _, row in rows_of(path, "json")] == [{"text": "one"}, {"text": "two"}]
    for one in ({"text": "one", "meta": {"n": 1}}, {"meta": {"n": 1}}, {"tokens": ["a", "b"], "tags": ["O", "O"]}):
        path.write_text(json.dumps(one))
        assert [row for _, row in rows_of(path, "json")] == [one]


QUESTION = {"question": "q", "answers": [{"text": "b", "answer_start": 2}]}


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        ([{"title": "empty"}, {"paragraphs": [{"context": "a b", "qas": [{"id": 7, **QUESTION}]}]}], ["7"]),
        ([{"paragraphs": [{"context": "a b", "qas": [{"guid": "klue", **QUESTION}, QUESTION]}]}], ["klue", "2"]),
        ([{"context": "a b", "qas": [{"id": "k", "question": "q", "answer": QUESTION["answers"][0]}]}], ["k"]),
        ([{"paragraphs": None, "context": "a b", "qas": [{"id": "k", **QUESTION}]}], ["k"]),
    ],
)
def test_relatives_of_squads_form_are_read(data: list[Any], ids: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"version": "x", "data": data}))
    rows = [row for _, row in rows_of(path, "json")]
    assert [row["id"] for row in rows] == ids
    for row in rows:
        assert (row["context"], row["question"], row["is_impossible"]) == ("a b", "q", False)
        assert row["answers"] == {"text": ["b"], "answer_start": [2]}


def test_a_column_is_found_in_either_unicode_form_and_within_what_is_null(tmp_path: Path) -> None:
    row = {unicodedata.normalize("NFD", "문장"): "하나", "translation": None, "meta": {"번역": "one"}}
    assert looked_up(row, "문장") == ("하나",)
    assert looked_up(row, unicodedata.normalize("NFD", "meta.번역")) == ("one",)
    assert looked_up(row, "translation.en") == (None,)
    assert looked_up(row, "meta.en") is looked_up(row, "문") is looked_up(row, "text") is None
