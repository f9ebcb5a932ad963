"""Values as tables and data frames spell them, and labels as they are called whatever spelled them."""

import math
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from finetuning.data.parse import LabelForm, read_texts
from finetuning.data.rows import DataWarnings
from finetuning.data.values import class_name, stripped, unwritten
from tests.finetuning.files import jsonl


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("['joy', 'fear']", ["joy", "fear"]),
        ("('joy',)", ("joy",)),
        ("()", ()),
        ("{'joy', 'fear'}", ["fear", "joy"]),
        ("set()", []),
        ("[0 2]", [0, 2]),
        ("[ 1. -2.5 10.]", [1, -2.5, 10]),
        ("[3]", [3]),
        ("(a remark)", "(a remark)"),
        ("('one')", "('one')"),
        ("[sic]", "[sic]"),
        ("[1-2 3]", "[1-2 3]"),
    ],
)
def test_a_list_is_read_as_python_json_or_numpy_writes_it(written: str, value: Any) -> None:
    assert unwritten(written) == value


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((True, "True", "TRUE", "true", "true "), "true"),
        ((False, "False", "FALSE"), "false"),
        (("x", " x\u00a0", "x\u200b", "\ufeffx", "x\u200f", "x\u3000", "x\u2060"), "x"),
        ((1, 1.0, "1", "1.0", "1 "), "1"),
        (("긍정", unicodedata.normalize("NFD", "긍정")), "긍정"),
        (("👩\u200d💻",), "👩\u200d💻"),
        ((None, math.nan, "", " ", "\u200b"), None),
    ],
)
def test_a_class_is_one_however_it_is_spelled(values: tuple[Any, ...], name: str | None) -> None:
    assert {class_name(value) for value in values} == {name}


def test_what_cannot_be_seen_is_taken_from_the_ends_alone() -> None:
    assert stripped("\u200f one\u200btwo \u202c\n") == "one\u200btwo"
    assert stripped("\u200b") == ""


def labels_of(
    folder: Path, *labels: Any, form: LabelForm = "one", separator: str = ","
) -> tuple[list[Any], dict[str, int]]:
    warnings = DataWarnings()
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]
    read = read_texts(
        jsonl(folder, *rows), texts=("text",), label="label", form=form, separator=separator, warnings=warnings
    )
    return [row.label for row in read], dict(warnings.counts)


def test_nan_that_was_made_text_is_no_label(tmp_path: Path) -> None:
    found, counts = labels_of(tmp_path, "nan", "a", "NaN", "<NA>", "None", "b")
    assert found == ["a", "None", "b"]
    assert counts == {"rows without a label, left out": 3}
    assert labels_of(tmp_path, "nan", "1.5", form="number")[0] == [1.5]
    assert labels_of(tmp_path, "nan", "a, nan, b", form="many")[0] == [(), ("a", "b")]


@pytest.mark.parametrize("vector", [[0, 1, 1], [1.0, 0.0, 0.0], [True, False, False], "[0 0 1]"])
def test_a_vector_of_zeros_and_ones_is_no_list_of_labels(vector: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl, line 1, column 'label' = .* is 0 or 1 for each label"):
        labels_of(tmp_path, vector, form="many")


def test_lists_of_labels_may_name_numbers_and_name_one_twice(tmp_path: Path) -> None:
    found, _ = labels_of(tmp_path, [0, 1], [1], "[0 2]", ["a", "a"], [], form="many")
    assert found == [("0", "1"), ("1",), ("0", "2"), ("a",), ()]
    for odd in ([{"name": "a"}], [["a"]]):
        with pytest.raises(UserError, match=r"must hold a list of labels, and not of what holds others"):
            labels_of(tmp_path, odd, form="many")


@pytest.mark.parametrize(("separator", "odd"), [(",", "joy; fear"), (",", "joy|fear"), (";", "joy, fear")])
def test_labels_that_another_mark_parts_are_warned_of(separator: str, odd: str, tmp_path: Path) -> None:
    found, counts = labels_of(tmp_path, odd, f"a{separator}b|c", "a", form="many", separator=separator)
    assert found[0] == (odd,)
    assert counts == {f"labels that hold another mark than task.separator = '{separator}'": 1}
