"""Formats of local files: JSON, SQuAD, CoNLL and text give the rows that stand in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.text.formats import rows_of
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
