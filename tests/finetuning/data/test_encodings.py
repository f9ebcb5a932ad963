"""Files of a task in other encodings than UTF-8: taken by their name in every format, or refused by file and line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from finetuning.core.splits import read_splits
from finetuning.data.rows import DataWarnings
from finetuning.tasks.classification import ClassificationTask
from finetuning.tasks.text_generation import GenerationTask
from finetuning.tasks.text_to_text import TextToTextTask
from finetuning.tasks.token_classification import TokenTask

KOREAN = ["영화가 정말 좋다", "다시는 보지 않겠다", "부산에서 만나자", "읽을 만한 책이다"]
FRENCH = ["une soirée très réussie", "où êtes-vous allés", "déjà vu à l'école", "ça ne va pas"]
CASES = {
    "cp949": KOREAN,
    "euc_kr": KOREAN,
    "utf-16": KOREAN,
    "utf-16-le": KOREAN,
    "utf-16-be": FRENCH,
    "latin-1": FRENCH,
}
LABELS = "abab"


def _lines(path: Path, lines: list[str], encoding: str) -> str:
    path.write_bytes("\n".join([*lines, ""]).encode(encoding))
    return str(path)


def _table(folder: Path, texts: list[str], encoding: str, *, suffix: str, mark: str) -> dict[str, Any]:
    lines = [f"text{mark}label", *(mark.join(pair) for pair in zip(texts, LABELS, strict=True))]
    return {"train": _lines(folder / f"a.{suffix}", lines, encoding)}


def csv(folder: Path, texts: list[str], encoding: str) -> Any:
    return ClassificationTask(name="t", encoding=encoding, **_table(folder, texts, encoding, suffix="csv", mark=","))


def tsv(folder: Path, texts: list[str], encoding: str) -> Any:
    return ClassificationTask(name="t", encoding=encoding, **_table(folder, texts, encoding, suffix="tsv", mark="\t"))


def jsonl(folder: Path, texts: list[str], encoding: str) -> Any:
    lines = [f'{{"text": "{text}", "label": "{label}"}}' for text, label in zip(texts, LABELS, strict=True)]
    return ClassificationTask(name="t", encoding=encoding, train=_lines(folder / "a.jsonl", lines, encoding))


def txt(folder: Path, texts: list[str], encoding: str) -> Any:
    return GenerationTask(name="t", encoding=encoding, train=_lines(folder / "a.txt", texts, encoding))


def conll(folder: Path, texts: list[str], encoding: str) -> Any:
    lines = "\n\n".join("\n".join(f"{word}\tO" for word in text.split(" ")) for text in texts).split("\n")
    return TokenTask(name="t", encoding=encoding, train=_lines(folder / "a.conll", lines, encoding))


def parallel(folder: Path, texts: list[str], encoding: str) -> Any:
    files = [_lines(folder / "a.fr", texts, encoding), _lines(folder / "a.en", list("wxyz"), encoding)]
    return TextToTextTask(name="t", encoding=encoding, train=files, format="parallel", source="fr", target="en")


def texts_of(task: Any) -> set[str]:
    rows = [row for part in read_splits(task, DataWarnings()).values() for row in part]
    return {row.source if hasattr(row, "source") else task.unit(row) for row in rows}


@pytest.mark.parametrize("encoding", CASES)
@pytest.mark.parametrize("form", [csv, tsv, jsonl, txt, conll, parallel], ids=lambda form: form.__name__)
def test_an_encoding_is_taken_by_its_name_in_every_format(
    form: Callable[..., Any], encoding: str, tmp_path: Path
) -> None:
    assert texts_of(form(tmp_path, CASES[encoding], encoding)) == set(CASES[encoding])


@pytest.mark.parametrize(
    ("written", "named", "line", "reason"),
    [
        ("utf-8", "cp949", 2, "it is utf-8"),
        ("utf-8", "latin-1", 2, "it is utf-8"),
        ("cp949", "utf-8", 2, "by bytes"),
        ("cp949", "ascii", 2, "make no character"),
        ("cp949", "latin-1", 2, "it looks like cp949"),
        ("cp949", "utf-16", 1, "does not look like it"),
        ("utf-16-le", "utf-16-be", 1, "it looks like utf-16-le"),
        ("utf-16-be", "utf-16-le", 1, "it looks like utf-16-be"),
        ("utf-16", "cp949", 1, "its byte-order mark declares utf-16"),
        ("utf-8-sig", "euc-kr", 1, "its byte-order mark declares utf-8"),
    ],
)
def test_a_wrong_encoding_is_refused_by_file_and_line(
    written: str, named: str, line: int, reason: str, tmp_path: Path
) -> None:
    settings = _table(tmp_path, KOREAN, written, suffix="csv", mark=",")
    with pytest.raises(UserError, match=rf"task\.train: .*a\.csv, line {line}: is not .*({reason})"):
        read_splits(ClassificationTask(name="t", encoding=named, **settings), DataWarnings())


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf16_without_a_mark_is_taken_by_its_common_name(order: str, tmp_path: Path) -> None:
    settings = _table(tmp_path, KOREAN, f"utf-16-{order}", suffix="csv", mark=",")
    assert texts_of(ClassificationTask(name="t", encoding="UTF-16", **settings)) == set(KOREAN)


def test_one_byte_that_is_none_of_the_named_encoding_is_refused_by_its_line_however_far_behind(tmp_path: Path) -> None:
    lines = ["text,label", *(f"{text} {row},{'ab'[row % 2]}" for row, text in enumerate(KOREAN * 4000))]
    content = "\n".join([*lines, ""]).encode("cp949")
    place = content.index(b" 15000,")
    (tmp_path / "a.csv").write_bytes(content[:place] + b"\xff" + content[place:])
    task = ClassificationTask(name="t", encoding="cp949", train=str(tmp_path / "a.csv"))
    with pytest.raises(UserError, match=r"a\.csv, line 15002: is not cp949, by bytes ff"):
        read_splits(task, DataWarnings())


def test_syllables_that_only_the_wider_encoding_has_are_refused_with_its_name(tmp_path: Path) -> None:
    path = _lines(tmp_path / "a.csv", ["text,label", "철수는 학교에 갔다,a", "똠방각하,b"], "cp949")
    with pytest.raises(UserError, match=r"a\.csv, line 3: is not euc_kr, by bytes .*; cp949 has the same characters"):
        read_splits(ClassificationTask(name="t", train=path, encoding="euc-kr"), DataWarnings())


def test_an_unknown_encoding_is_refused_and_splits_may_have_encodings_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task\.encoding = 'cp-949x' is no encoding that Python knows"):
        ClassificationTask(name="t", train="a.csv", encoding="cp-949x")
    with pytest.raises(UserError, match=r"task\.encoding names a split 'dev': it is one of train"):
        ClassificationTask(name="t", train="a.csv", encoding={"dev": "cp949"})
    train = _table(tmp_path, KOREAN, "cp949", suffix="csv", mark=",")
    test = _lines(tmp_path / "b.csv", ["text,label", "영희,a"], "utf-8")
    named = ClassificationTask(name="t", **train, test=test, encoding={"train": "cp949"}, development_fraction=0.3)
    assert texts_of(named) == {*KOREAN, "영희"}


def test_what_no_setting_names_is_refused_by_the_encoding_that_it_looks_like(tmp_path: Path) -> None:
    settings = _table(tmp_path, KOREAN * 1, "cp949", suffix="tsv", mark="\t")
    with pytest.raises(UserError, match=r"a\.tsv, line 2: is not UTF-8 and looks like cp949.*task\.encoding"):
        read_splits(ClassificationTask(name="t", **settings), DataWarnings())
