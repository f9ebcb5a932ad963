"""Labels: found in training rows alone, and never silently lost elsewhere."""

import pytest

from finetuning.data.labels import label_ids, label_names, label_sets, tag_ids
from finetuning.data.rows import DataWarnings, Label, TextRow, TokenRow


def rows_of(*labels: Label) -> list[TextRow]:
    return [TextRow(texts=("x",), label=label, origin=f"line {line}") for line, label in enumerate(labels, start=1)]


def test_labels_found_are_in_order() -> None:
    assert label_names(rows_of("b", "a", "b")) == ("a", "b")
    assert label_names(rows_of("10", "9", "-1")) == ("-1", "9", "10")
    assert label_names(rows_of(("b", "a"), (), ("c",))) == ("a", "b", "c")


def test_one_label_is_nothing_to_learn_but_of_several_one_is() -> None:
    with pytest.raises(ValueError, match="too few labels to learn from: 'a' in 2 rows"):
        label_names(rows_of("a", "a"))
    with pytest.raises(ValueError, match="too few labels to learn from: none in 1 rows"):
        label_names(rows_of(()))
    assert label_names(rows_of(("a",), ())) == ("a",)


def test_a_column_of_texts_is_not_one_of_labels() -> None:
    with pytest.raises(ValueError, match=r"40 different labels in 40 rows \('text 0', 'text 1', 'text 10', \.\.\.\)"):
        label_names(rows_of(*(f"text {number}" for number in range(40))))
    assert len(label_names(rows_of(*map(str, range(20))))) == 20
    many = [str(number % 30) for number in range(60)]
    assert len(label_names(rows_of(*many))) == 30
    with pytest.raises(ValueError, match="31 different labels in 60 rows"):
        label_names(rows_of(*many[:-1], "another"))


def test_ids_are_the_places_of_names() -> None:
    assert label_ids(rows_of("b", "a"), ("a", "b")).tolist() == [1, 0]
    assert label_ids([], ("a", "b")).dtype == "int64"


def test_names_given_to_numbers_stand_for_them() -> None:
    assert label_ids(rows_of("0", "1", "negative"), ("negative", "positive")).tolist() == [0, 1, 0]
    assert label_ids(rows_of("1", "2"), ("1", "2")).tolist() == [0, 1]


def test_a_label_unknown_in_training_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="label 'negtive' is none of negative, positive; did you mean 'negative'"):
        label_ids(rows_of("positive", "negtive"), ("negative", "positive"))
    with pytest.raises(ValueError, match="line 1: label '2' is none of"):
        label_ids(rows_of("2"), ("negative", "positive"))


def test_a_label_unseen_in_training_stays_a_row_that_nobody_gets_right() -> None:
    warnings = DataWarnings()
    assert label_ids(rows_of("a", "c", "c", "d"), ("a", "b"), warnings).tolist() == [0, -1, -1, -1]
    assert warnings.lines() == [
        "rows with label 'c', which training does not have and no prediction can be: 2 (the first: line 2)",
        "rows with label 'd', which training does not have and no prediction can be: 1 (the first: line 4)",
    ]


def test_sets_of_labels_are_columns() -> None:
    warnings = DataWarnings()
    sets = label_sets(rows_of(("a", "b"), (), ("c",)), ("a", "b"), warnings)
    assert sets.tolist() == [[True, True], [False, False], [False, False]]
    assert warnings.counts.total() == 1
    with pytest.raises(ValueError, match="line 1: label 'c' is none of a, b"):
        label_sets(rows_of(("c",)), ("a", "b"))


def test_ids_of_tags_are_a_row_each() -> None:
    warnings, names = DataWarnings(), ("O", "B-x", "I-x")
    rows = [TokenRow(words=("a", "b"), tags=("B-x", "O")), TokenRow(words=("c",), tags=("B-y",), origin="line 4")]
    assert [ids.tolist() for ids in tag_ids(rows, names, warnings)] == [[1, 0], [-1]]
    assert [line.split("(")[1] for line in warnings.lines()] == ["the first: line 4)"]
    with pytest.raises(ValueError, match="line 4: label 'B-y'"):
        tag_ids(rows, names)
