"""predict.py reads the files that training reads: every format, encoding and column, and says what it cuts."""

import gzip
import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import predict
from tests.finetuning.test_scripts import Capture, predictions, status_of


def _rows_file(folder: Path, name: str, rows: list[dict[str, str]], encoding: str = "utf-8") -> Path:
    """The rows in the format that the file's name ends in."""
    path, kind = folder / name, name.partition(".")[2].removesuffix(".gz")
    mark = {"csv": ",", "tsv": "\t", "txt": "\t"}.get(kind)
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
        return path
    if mark is not None:
        lines = [mark.join(rows[0]), *(mark.join(row.values()) for row in rows)]
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        lines = [f"[{', '.join(lines)}]"] if kind == "json" else lines
    content = "".join(f"{line}\n" for line in lines).encode(encoding)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *("a.csv", "a.tsv.gz", "a.jsonl", "a.parquet"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("a.tsv", "a.json")),
    ],
)
def test_rows_of_every_format_are_predicted_by_the_tasks_columns(
    name: str, tuned: Path, tmp_path: Path, capsys: Capture
) -> None:
    rows = [{"id": "1", "text": "the cat sees"}, {"id": "2", "text": "a big river 강을 보고"}]
    expected = predictions(capsys, str(tuned), *(row["text"] for row in rows))
    found = predictions(capsys, str(tuned), "--file", str(_rows_file(tmp_path, name, rows)))
    assert [line["input"] for line in found] == rows
    assert [line["probabilities"] for line in found] == [line["probabilities"] for line in expected]


@pytest.mark.parametrize(
    "encoding",
    ["cp949", "utf-16", *(pytest.param(name, marks=pytest.mark.slow) for name in ("utf-16-le", "euc_kr"))],
)
def test_files_and_standard_input_are_decoded_by_the_encoding_that_is_named(
    encoding: str, tuned: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["그 고양이가 집을 보고", "새가 강을 본다", "철수는 학교에 갔다"]
    (tmp_path / "a.txt").write_bytes("\n".join(texts).encode(encoding))
    found = predictions(capsys, str(tuned), "--file", str(tmp_path / "a.txt"), "--encoding", encoding)
    assert [line["input"] for line in found] == texts
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(texts).encode(encoding))))
    assert [line["input"] for line in predictions(capsys, str(tuned), "-", "--encoding", encoding)] == texts
    table = _rows_file(tmp_path, "a.csv", [{"text": text} for text in texts], encoding)
    assert len(predictions(capsys, str(tuned), "--file", str(table), "--encoding", encoding)) == 3
    if encoding != "utf-16":
        assert status_of(predict.main, [str(tuned), "--file", str(tmp_path / "a.txt")]) == 2
        assert "a.txt, line 1: is not UTF-8 and looks like" in capsys.readouterr().err
    assert status_of(predict.main, [str(tuned), "--file", str(table), "--encoding", "ascii"]) == 2
    assert re.search(r"--file: .*a\.csv, line \d: is not ascii", capsys.readouterr().err)


def test_a_table_that_is_called_a_text_is_refused_with_the_flag_that_reads_it(
    tuned: Path, tmp_path: Path, capsys: Capture
) -> None:
    table = _rows_file(tmp_path, "a.txt", [{"text": "the cat sees", "label": "animal"}])
    assert status_of(predict.main, [str(tuned), "--file", str(table)]) == 2
    assert "begins with names of columns (text, label): read it with --format tsv" in capsys.readouterr().err
    (line,) = predictions(capsys, str(tuned), "--file", str(table), "--format", "tsv")
    assert line["input"]["text"] == "the cat sees"


def test_columns_of_an_input_are_read_as_those_of_training(tuned: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = ['{"text": ["the cat", "sees"]}', '{"text": null}', '{"text": "a \\ud800 b"}']
    (tmp_path / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    found = predictions(capsys, str(tuned), "--file", str(tmp_path / "a.jsonl"))
    expected = predictions(capsys, str(tuned), "the cat sees", "", "a \ufffd b")
    assert [line["probabilities"] for line in found] == [line["probabilities"] for line in expected]
    (tmp_path / "a.jsonl").write_text('{"text": 3}', encoding="utf-8")
    assert status_of(predict.main, [str(tuned), "--file", str(tmp_path / "a.jsonl")]) == 2
    assert "column 'text' holds int, not text" in capsys.readouterr().err


def test_what_is_cut_of_an_input_is_named(tuned: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert status_of(predict.main, [str(tuned), "the cat", "the cat sees " * 200]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert re.search(r"warning: texts longer than .* cut off: 1 \(the first: input 2 of 2\)", shown.err)


def test_of_many_inputs_the_one_that_is_none_is_named_by_its_number(
    tuned: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n', encoding="utf-8")
    assert status_of(predict.main, [str(tuned), "--file", str(tmp_path / "a.jsonl")]) == 2
    assert "input 2 of 2: this row has no column 'text' (it has: txt)" in capsys.readouterr().err
