"""Questions: an answer stands where it says, or is counted; its text is a slice of its context."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from data.text.sources import RowSource
from finetuning.core.splits import read_splits
from finetuning.data.questions import read_questions
from finetuning.data.rows import AnswerSpan, DataWarnings
from finetuning.tasks.question_answering import QuestionTask
from tests.finetuning.files import jsonl

FIXED = settings(deadline=None, derandomize=True, max_examples=50)


@pytest.fixture
def warnings() -> DataWarnings:
    return DataWarnings()


CONTEXT = "서울은 수도이다. Seoul, the capital; Seoul."


def question(folder: Path, answers: Any, **more: Any) -> RowSource:
    return jsonl(folder, {"id": 7, "question": "?", "context": CONTEXT, "answers": answers, **more})


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["Seoul", "수도"], "answer_start": [30, 4]},
        [{"text": "Seoul", "answer_start": 30}, {"text": "수도", "answer_start": 4}],
    ],
)
def test_predictions_of_either_form_stand_where_they_say(answers: Any, tmp_path: Path, warnings: DataWarnings) -> None:
    (row,) = read_questions(question(tmp_path, answers), warnings=warnings)
    assert row.id == "7"
    assert row.answers == row.places == (AnswerSpan(text="Seoul", start=30), AnswerSpan(text="수도", start=4))
    assert all(CONTEXT[answer.start : answer.end] == answer.text for answer in row.places)
    assert not row.impossible
    assert not warnings.lines()


@pytest.mark.parametrize(("offset", "found"), [(28, 30), (12, 10), (0, 10), (99, 30)])
def test_an_answer_beside_its_place_is_taken_at_the_nearest_and_counted(
    offset: int, found: int, tmp_path: Path, warnings: DataWarnings
) -> None:
    (row,) = read_questions(question(tmp_path, {"text": ["Seoul"], "answer_start": [offset]}), warnings=warnings)
    assert row.places == (AnswerSpan(text="Seoul", start=found),)
    assert warnings.lines() == [
        "answers not at the place they name, taken at the nearest that holds them: 1 (the first: rows.jsonl, line 1)"
    ]


def test_an_answer_that_is_not_in_its_context_is_kept_to_judge_by_and_counted(
    tmp_path: Path, warnings: DataWarnings
) -> None:
    (row,) = read_questions(question(tmp_path, {"text": ["Busan"], "answer_start": [3]}), warnings=warnings)
    assert row.answers == (AnswerSpan(text="Busan", start=-1),)
    assert row.places == ()
    assert not row.impossible
    assert warnings.lines() == [
        "answers that are not in their context, nothing to learn from: 1 (the first: rows.jsonl, line 1)"
    ]


@pytest.mark.parametrize("answers", ["Seoul", ["Seoul"], {"text": ["Seoul"]}, [{"text": "Seoul"}]])
def test_an_answer_without_a_place_is_taken_at_its_first(answers: Any, tmp_path: Path, warnings: DataWarnings) -> None:
    (row,) = read_questions(question(tmp_path, answers), warnings=warnings)
    assert row.places == (AnswerSpan(text="Seoul", start=10),)
    assert warnings.counts == {"answers without a place, taken at their first in the context": 1}


@pytest.mark.parametrize("answers", [None, [], {"text": [], "answer_start": []}])
def test_a_question_without_answers_has_none(answers: Any, tmp_path: Path, warnings: DataWarnings) -> None:
    (row,) = read_questions(question(tmp_path, answers), warnings=warnings)
    assert row.impossible
    assert row.answers == ()


@pytest.mark.parametrize(
    "answers",
    [
        {"text": "Seoul", "answer_start": 10},
        {"text": "Seoul", "answer_start": [10]},
        {"text": ["Seoul"], "answer_start": 10},
        [{"text": "Seoul", "answer_start": 10.0}],
        {"text": ["Seoul"], "answer_start": ["10"]},
        "{'text': ['Seoul'], 'answer_start': [10]}",
        "{'text': array(['Seoul'], dtype=object), 'answer_start': array([10], dtype=int32)}",
        '{"text": "Seoul", "answer_start": 10}',
    ],
)
def test_one_answer_is_one_in_every_form(answers: Any, tmp_path: Path, warnings: DataWarnings) -> None:
    (row,) = read_questions(question(tmp_path, answers), warnings=warnings)
    assert row.answers == (AnswerSpan(text="Seoul", start=10),)
    assert not warnings.counts


@pytest.mark.parametrize("start", [None, float("nan"), -1, ""])
def test_a_start_that_is_null_is_unknown(start: Any, tmp_path: Path, warnings: DataWarnings) -> None:
    for answers in ({"text": ["Seoul"], "answer_start": [start]}, {"text": "Seoul", "answer_start": start}):
        (row,) = read_questions(question(tmp_path, answers), warnings=warnings)
        assert row.answers == (AnswerSpan(text="Seoul", start=10),)
    assert list(warnings.counts) == ["answers without a place, taken at their first in the context"]


def test_a_number_is_an_answer_by_its_digits(tmp_path: Path, warnings: DataWarnings) -> None:
    for number in (1973, 1973.0):
        source = jsonl(tmp_path, {"question": "?", "context": "in 1973", "answers": {"text": [number]}})
        assert read_questions(source, warnings=warnings)[0].answers == (AnswerSpan(text="1973", start=3),)


@pytest.mark.parametrize("start", [2.5, "here", True, [1, 2]])
def test_a_start_that_is_no_number_is_refused(start: Any, tmp_path: Path, warnings: DataWarnings) -> None:
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 1, column 'answers' holds no answers"):
        read_questions(question(tmp_path, {"text": "Seoul", "answer_start": start}), warnings=warnings)


FALSE = [False, 0, 0.0, "False", "false", "FALSE", "0", "0.0", "no", "N", "", None, float("nan")]
TRUE = [True, 1, 1.0, "True", "true", "1", "1.0", "yes", "Y"]


@pytest.mark.parametrize("marked", [*FALSE, *TRUE])
def test_truth_has_its_usual_spellings(marked: Any, tmp_path: Path, warnings: DataWarnings) -> None:
    source = question(tmp_path, {"text": ["Seoul"], "answer_start": [10]}, is_impossible=marked)
    assert read_questions(source, warnings=warnings)[0].impossible == any(marked is value for value in TRUE)
    squad = {"id": "1", "question": "?", "answers": [{"text": "a", "answer_start": 0}], "is_impossible": marked}
    file = {"data": [{"paragraphs": [{"context": "a", "qas": [squad]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(file))
    found = read_questions(RowSource(name=(str(tmp_path / "squad.json"),)), warnings=warnings)
    assert found[0].impossible == any(marked is value for value in TRUE)


def test_another_spelling_of_truth_is_refused(tmp_path: Path, warnings: DataWarnings) -> None:
    with pytest.raises(ValueError, match=r"line 1, column 'is_impossible': 'maybe' is neither true nor false"):
        read_questions(question(tmp_path, "Seoul", is_impossible="maybe"), warnings=warnings)


def test_a_question_marked_as_having_no_answer_has_none(tmp_path: Path, warnings: DataWarnings) -> None:
    source = question(tmp_path, {"text": ["Seoul"], "answer_start": [10]}, is_impossible=True)
    (row,) = read_questions(source, warnings=warnings)
    assert (row.impossible, row.answers) == (True, ())
    assert list(warnings.counts) == ["questions marked as without an answer that list some, taken as without"]


def test_questions_without_a_column_of_identifiers_are_numbered(tmp_path: Path, warnings: DataWarnings) -> None:
    source = jsonl(tmp_path, *[{"q": "?", "c": " "}] * 2)
    rows = read_questions(source, question="q", context="c", answers=None, warnings=warnings)
    assert [row.id for row in rows] == ["0", "1"]
    assert warnings.lines() == ["empty contexts: 2 (the first: rows.jsonl, line 1)"]


@pytest.mark.parametrize("answers", [3, {"texts": ["a"]}, [{"answer": "a"}], {"text": ["a", "b"], "answer_start": [0]}])
def test_a_column_that_holds_no_answers_is_named(answers: Any, tmp_path: Path, warnings: DataWarnings) -> None:
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 1, column 'answers' holds no answers"):
        read_questions(question(tmp_path, answers), warnings=warnings)
    with pytest.raises(ValueError, match=r"no column 'answer' .*did you mean 'answers'"):
        read_questions(question(tmp_path, answers), answers="answer", warnings=warnings)


@FIXED
@given(
    context=st.text(alphabet="ab한 ", min_size=1, max_size=20),
    start=st.integers(-3, 25),
    answer=st.text("ab한 ", max_size=3),
)
def test_every_placed_answer_is_a_slice_of_its_context(
    context: str, start: int, answer: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    answers = {"text": [answer], "answer_start": [start]}
    source = jsonl(tmp_path_factory.getbasetemp(), {"question": "?", "context": context, "answers": answers})
    (row,) = read_questions(source, warnings=DataWarnings())
    assert all(context[place.start : place.end] == answer for place in row.places)
    assert bool(row.places) == (answer != "" and answer in context)


def test_an_answer_in_another_unicode_form_is_taken_as_its_context_has_it(
    tmp_path: Path, warnings: DataWarnings
) -> None:
    decomposed = unicodedata.normalize("NFD", "한국의 수도는 서울")
    rows = [
        {"question": "?", "context": decomposed, "answers": {"text": ["수도"], "answer_start": [4]}},
        {"question": "?", "context": "the\u00a0old city, the old city", "answers": {"text": ["old city"]}},
        {"question": "?", "context": "the\u00a0old city, the old\u00a0city", "answers": "the old city"},
        {"question": "?", "context": decomposed, "answers": "수"},
        {"question": "?", "context": unicodedata.normalize("NFD", "숙도"), "answers": "수"},
    ]
    found = read_questions(jsonl(tmp_path, *rows), warnings=warnings)
    assert [row.places[0].text for row in found[:2]] == [unicodedata.normalize("NFD", "수도"), "old city"]
    assert found[0].context[found[0].places[0].start :].startswith(found[0].places[0].text)
    assert found[2].places == (AnswerSpan(text="the\u00a0old city", start=0),)
    assert found[3].places[0].text == unicodedata.normalize("NFD", "수")
    assert found[4].places == ()  # a part of another character
    assert warnings.counts["answers that their context has in another Unicode form, taken as they stand there"] == 3


def test_answers_of_which_none_stands_in_its_context_are_refused(tmp_path: Path) -> None:
    rows = [{"question": "?", "context": f"context {number}", "answers": "Seoul"} for number in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = QuestionTask(name="t", train=str(tmp_path / "a.jsonl"))
    with pytest.raises(
        UserError, match=r"task\.train: not one of its 4 answers stands in its context .*'Seoul' of a\.j"
    ):
        read_splits(task, DataWarnings())
