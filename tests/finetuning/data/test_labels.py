"""Labels: found in training rows alone, and never silently lost elsewhere."""

import pytest

from finetuning.data.labels import (
    LabelNames,
    label_ids,
    label_names,
    label_sets,
    refuse_unseen,
    tag_ids,
    without_unlabelled,
)
from finetuning.data.rows import DataWarnings, Label, TextRow, TokenRow


def names(*labels: str, first_label: int | None = None) -> LabelNames:
    return LabelNames(names=labels, first_label=first_label)


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
    assert label_ids(rows_of("b", "a"), names("a", "b")).tolist() == [1, 0]
    assert label_ids([], names("a", "b")).dtype == "int64"


def test_names_given_to_numbers_stand_for_them() -> None:
    given = names("negative", "positive", first_label=0)
    assert label_ids(rows_of("0", "1", "negative"), given).tolist() == [0, 1, 0]
    assert label_ids(rows_of("1", "2"), names("1", "2", first_label=0)).tolist() == [0, 1]
    assert label_ids(rows_of("1", "0"), names("1.0", "0.0", first_label=0)).tolist() == [0, 1]
    news = names("World", "Sports", "Business", "Science", first_label=1)  # AG News counts from 1
    assert label_ids(rows_of("1", "4", "Sports"), news).tolist() == [0, 3, 1]
    for odd in ("0", "5", "-1"):
        with pytest.raises(ValueError, match=f"label '{odd}' is none of World"):
            label_ids(rows_of(odd), news)


def test_a_number_stands_for_no_name_that_nobody_gave_it() -> None:
    warnings = DataWarnings()
    assert label_ids(rows_of("2", "1", "3"), names("2", "3"), warnings).tolist() == [0, -1, 1]
    assert label_ids(rows_of("1", "4"), names("Alpha", "Beta", "Gamma", "Zeta"), warnings).tolist() == [-1, -1]
    assert [line.split("'")[1] for line in warnings.lines()] == ["1", "4"]


def test_labels_of_which_training_has_none_are_refused() -> None:
    known, rows = names("Alpha", "Beta"), rows_of("1", "2", "2")
    with pytest.raises(ValueError, match=r"none of their labels \('1', '2'\) is one of training \(Alpha, Beta\)"):
        refuse_unseen(rows, label_ids(rows, known, DataWarnings()), known)
    several = rows_of(("1",), ())
    with pytest.raises(ValueError, match=r"task\.first_label"):
        refuse_unseen(several, label_sets(several, known, DataWarnings()), known)
    refuse_unseen(rows_of("Beta", "1"), label_ids(rows_of("Beta", "1"), known, DataWarnings()), known)
    refuse_unseen(rows_of((), ()), label_sets(rows_of((), ()), known), known)  # several labels may be none


@pytest.mark.parametrize(
    ("trained", "other", "given", "left"),
    [
        (["0", "1", "2", "-1"], ["-1", "2"], None, (["0", "1", "2"], ["2"])),  # SNLI's numbers
        (["entailment", "neutral", "-"], ["-", "neutral"], None, (["entailment", "neutral"], ["neutral"])),
        (["yes", "no", "-1"], ["no", "-1"], None, (["yes", "no"], ["no"])),
        (["0", "1"], ["-1", "0"], None, (["0", "1"], ["0"])),
        (["-1", "1"], ["-1", "1"], None, (["-1", "1"], ["-1", "1"])),  # two classes of a margin
        (["-1", "0", "1"], ["-1"], None, (["-1", "0", "1"], ["-1"])),  # polarity
        (["-2", "-1", "3"], ["-1"], None, (["-2", "-1", "3"], ["-1"])),
        (["+", "-"], ["-"], None, (["+", "-"], ["-"])),
        (["0", "1", "-1"], ["1"], ("no", "yes"), (["0", "1"], ["1"])),
        (["-1", "1"], ["-1"], ("-1", "1"), (["-1", "1"], ["-1"])),
    ],
)
def test_a_mark_of_no_label_is_none_and_counted(
    trained: list[str], other: list[str], given: tuple[str, ...] | None, left: tuple[list[str], list[str]]
) -> None:
    warnings = DataWarnings()
    found = without_unlabelled({"train": rows_of(*trained), "test": rows_of(*other)}, given, warnings)
    assert tuple([row.label for row in rows] for rows in found.values()) == left
    assert warnings.counts.total() == len(trained) + len(other) - len(left[0]) - len(left[1])
    assert all("without a label" in line for line in warnings.lines())


def test_a_split_whose_labels_are_all_hidden_is_refused() -> None:
    splits = {"train": rows_of("0", "1"), "test": rows_of("-1", "-1")}
    with pytest.raises(ValueError, match=r"task\.test: no row has a label, all have '-1'; is it a hidden test split"):
        without_unlabelled(splits, None, DataWarnings())  # pyright: ignore[reportArgumentType]


def test_a_label_unknown_in_training_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="label 'negtive' is none of negative, positive; did you mean 'negative'"):
        label_ids(rows_of("positive", "negtive"), names("negative", "positive"))
    with pytest.raises(ValueError, match="line 1: label '2' is none of"):
        label_ids(rows_of("2"), names("negative", "positive"))


def test_a_label_unseen_in_training_stays_a_row_that_nobody_gets_right() -> None:
    warnings = DataWarnings()
    assert label_ids(rows_of("a", "c", "c", "d"), names("a", "b"), warnings).tolist() == [0, -1, -1, -1]
    assert warnings.lines() == [
        "rows with label 'c', which training does not have and no prediction can be: 2 (the first: line 2)",
        "rows with label 'd', which training does not have and no prediction can be: 1 (the first: line 4)",
    ]


def test_sets_of_labels_are_columns() -> None:
    warnings = DataWarnings()
    sets = label_sets(rows_of(("a", "b"), (), ("c",)), names("a", "b"), warnings)
    assert sets.tolist() == [[True, True], [False, False], [False, False]]
    assert warnings.counts.total() == 1
    with pytest.raises(ValueError, match="line 1: label 'c' is none of a, b"):
        label_sets(rows_of(("c",)), names("a", "b"))


def test_ids_of_tags_are_a_row_each() -> None:
    warnings, tags = DataWarnings(), ("O", "B-x", "I-x")
    rows = [TokenRow(words=("a", "b"), tags=("B-x", "O")), TokenRow(words=("c",), tags=("B-y",), origin="line 4")]
    assert [ids.tolist() for ids in tag_ids(rows, tags, warnings)] == [[1, 0], [-1]]
    assert [line.split("(")[1] for line in warnings.lines()] == ["the first: line 4)"]
    with pytest.raises(ValueError, match="line 4: label 'B-y'"):
        tag_ids(rows, tags)
