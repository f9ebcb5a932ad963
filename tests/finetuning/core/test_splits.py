"""Forms in which data sets come: parallel files, a split column, columns by split, and shares cut from one file."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from finetuning.core.splits import read_splits
from finetuning.data.rows import DataWarnings
from finetuning.tasks.classification import ClassificationTask
from finetuning.tasks.text_generation import GenerationTask
from finetuning.tasks.text_to_text import TextToTextTask


def splits_of(task: Any) -> dict[str, list[Any]]:
    return {str(split): rows for split, rows in read_splits(task, DataWarnings()).items()}


def write_parallel(folder: Path, sources: list[str], targets: list[str]) -> list[str]:
    (folder / "train.en.gz").write_bytes(gzip.compress("".join(f"{text}\n" for text in sources).encode()))
    (folder / "train.de.gz").write_bytes(gzip.compress("".join(f"{text}\r\n" for text in targets).encode()))
    return [str(folder / "train.en.gz"), str(folder / "train.de.gz")]


def test_files_of_one_line_a_row_are_aligned(tmp_path: Path) -> None:
    files = write_parallel(tmp_path, ["one", "", "three", "four"], ["eins", "zwei", "drei", "vier"])
    task = TextToTextTask(name="t", train=files, format="parallel", source="en", target="de", development_fraction=0.25)
    rows = sorted((row for rows in splits_of(task).values() for row in rows), key=lambda row: row.origin)
    assert [(row.source, row.targets) for row in rows] == [
        ("one", ("eins",)),
        ("", ("zwei",)),
        ("three", ("drei",)),
        ("four", ("vier",)),
    ]
    assert rows[2].origin == "train.en.gz, line 3"
    named = TextToTextTask(name="t", train=files, format="parallel", header=("source", "target"))
    assert splits_of(named)["development"][0].target


def test_files_that_do_not_align_are_refused(tmp_path: Path) -> None:
    files = write_parallel(tmp_path, ["one", "two"], ["eins"])
    task = TextToTextTask(name="t", train=files, format="parallel", source="en", target="de")
    with pytest.raises(ValueError, match=r"task\.train: 'de' of .* ends before line 2, and another goes on"):
        splits_of(task)
    with pytest.raises(ValueError, match=r"2 parallel files .* have the columns a: name one for each with"):
        splits_of(TextToTextTask(name="t", train=files, format="parallel", header=("a",)))


def labelled(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"text {row}", "label": "ab"[row % 2], **more} for row in range(number)]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_test_share_is_cut_from_one_file_by_content(tmp_path: Path) -> None:
    rows = labelled(40)
    task = ClassificationTask(name="t", train=write(tmp_path / "a.jsonl", rows), test_fraction=0.25)
    found = splits_of(task)
    assert {split: len(part) for split, part in found.items()} == {"train": 27, "test": 10, "development": 3}
    texts = [{row.texts for row in part} for part in found.values()]
    assert len(set.union(*texts)) == 40
    again = ClassificationTask(name="t", train=write(tmp_path / "b.jsonl", rows[::-1]), test_fraction=0.25)
    assert {row.texts for row in splits_of(again)["test"]} == {row.texts for row in found["test"]}
    with pytest.raises(ValueError, match=r"task\.test_fraction = 0.5 cuts a test split, and task\.test names one"):
        ClassificationTask(name="t", train="a.tsv", test="b.tsv", test_fraction=0.5)
    with pytest.raises(ValueError, match=r"task\.test_fraction = 1.5 must lie between 0 and 1"):
        ClassificationTask(name="t", train="a.tsv", test_fraction=1.5)
    with pytest.raises(ValueError, match=r"too few to hold 50% out of: name a task\.test"):
        splits_of(ClassificationTask(name="t", train=write(tmp_path / "c.jsonl", rows[:1]), test_fraction=0.5))


def test_a_column_marks_the_split_of_each_row(tmp_path: Path) -> None:
    rows = [*labelled(6, split="Train"), *labelled(2, split="dev"), *labelled(4, split=" test ")]
    task = ClassificationTask(name="t", train=write(tmp_path / "a.jsonl", rows), split_column="split")
    assert {name: len(part) for name, part in splits_of(task).items()} == {"train": 6, "development": 2, "test": 4}
    task = ClassificationTask(name="t", train=write(tmp_path / "a.jsonl", rows[:6]), split_column="split")
    assert sorted(splits_of(task)) == ["development", "train"]
    for odd, message in (("tset", "'tset', which is none of train"), (None, "'none', which is none of train")):
        path = write(tmp_path / "a.jsonl", [*rows, {"text": "x", "label": "a", "split": odd}])
        with pytest.raises(ValueError, match=message):
            splits_of(ClassificationTask(name="t", train=path, split_column="split"))
    with pytest.raises(ValueError, match="line 1 has no column 'part'"):
        splits_of(ClassificationTask(name="t", train=path, split_column="part"))
    with pytest.raises(ValueError, match="marks no row of train"):
        splits_of(
            ClassificationTask(name="t", train=write(tmp_path / "a.jsonl", rows[6:]), split_column="split")
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"task\.split_column = 'split' parts the rows of task\.train"):
        ClassificationTask(name="t", train="a.tsv", test="b.tsv", split_column="split")


def test_splits_may_have_headers_and_columns_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("".join(f"{'ab'[row % 2]}\ttext {row}\n" for row in range(6)))
    (tmp_path / "test.tsv").write_text("id\tsentence\tgold\n1\tone\ta\n2\ttwo\tb\n")
    task = ClassificationTask(
        name="t",
        train=str(tmp_path / "train.tsv"),
        test=str(tmp_path / "test.tsv"),
        header={"train": ("label", "text")},
        columns={"test": {"text": "sentence", "label": "gold"}},
        development_fraction=0.3,
    )
    found = splits_of(task)
    assert [(row.texts[0], row.label) for row in found["test"]] == [("one", "a"), ("two", "b")]
    assert len(found["train"]) + len(found["development"]) == 6
    for name in ("header", "columns"):
        odd: dict[str, Any] = {name: {"dev": {}}}
        with pytest.raises(ValueError, match=rf"task\.{name} names a split 'dev': it is one of train"):
            ClassificationTask(name="t", train="a.tsv", **odd)


def test_paragraphs_of_a_text_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n\n \nthree\n\nfour\n")
    task = GenerationTask(name="t", train=str(tmp_path / "a.txt"), format="paragraphs", development_fraction=0.3)
    rows = sorted((row for rows in splits_of(task).values() for row in rows), key=lambda row: row.origin)
    assert [(row.texts[0], row.origin) for row in rows] == [
        ("one\ntwo", "a.txt, line 1"),
        ("three", "a.txt, line 5"),
        ("four", "a.txt, line 7"),
    ]


@pytest.mark.parametrize("target", ["", None, [], [" "]])
def test_targets_that_are_all_empty_are_refused(target: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"source": f"s{row}", "target": target} for row in range(4)])
    with pytest.raises(ValueError, match=r"task\.train: every one of its 4 targets in column 'target' is empty"):
        splits_of(TextToTextTask(name="t", train=path))
    good = write(tmp_path / "b.jsonl", [{"source": "s", "target": "t"}, {"source": "r", "target": ""}])
    with pytest.raises(ValueError, match=r"task\.test: every one of its 4 targets"):
        splits_of(TextToTextTask(name="t", train=good, test=path))
