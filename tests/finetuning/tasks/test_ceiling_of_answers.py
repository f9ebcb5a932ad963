"""What a perfect model of extractive answers would reach: the gold answers through tokens, windows and characters."""

from collections.abc import Callable
from typing import cast

import pytest

from data.tokens.tokenizer import train_tokenizer
from finetuning.data.rows import AnswerSpan, QuestionRow
from finetuning.load import predictions_of
from finetuning.tasks.question_answering import QuestionAnswering
from tests.finetuning.opened import opened

Command = Callable[..., list[str]]
Opened = Callable[..., QuestionAnswering]


@pytest.fixture
def questions(tiny_task: Command) -> Opened:
    def make(*more: str) -> QuestionAnswering:
        return cast(QuestionAnswering, opened(tiny_task("questions", "masked_lm", *more))[0])

    return make


def row(context: str, answer: str, *, impossible: bool = False) -> QuestionRow:
    answers = (AnswerSpan(text=answer, start=context.find(answer)),) if answer else ()
    return QuestionRow(id="1", question="where", context=context, answers=answers, impossible=impossible)


def ceilings(module: QuestionAnswering, *rows: QuestionRow) -> tuple[float, float]:
    found = module.measure_predictions(rows, predictions_of(module, rows))
    assert list(found) == ["f1", "exact_match", "f1_ceiling", "exact_match_ceiling"]
    return found["f1_ceiling"].value, found["exact_match_ceiling"].value


def test_answers_that_are_whole_words_can_all_be_found(questions: Opened) -> None:
    module = questions()
    contexts = ["the old cat sees a small bird", "새가 강을 보고", "a" * 9 + " cat"]
    rows = [
        row(contexts[0], "cat"),
        row(contexts[0], "a small bird"),
        row(contexts[1], "강을"),
        row(contexts[2], "cat"),
    ]
    assert ceilings(module, *rows) == (1.0, 1.0)


def test_an_answer_that_ends_within_a_token_cannot_be_found_whole(questions: Opened) -> None:
    module = questions("--task.korean", "true")
    joining = train_tokenizer(iter(["영희가 부산에서 만나자 " * 9]), kind="byte_bpe", vocab_size=480)
    object.__setattr__(module.start, "tokenizer", joining)
    one = row("영희가 부산에서 만나자", "부산")
    assert [answer.text for answer in module.ceiling([one])] == ["부산에서"]
    assert ceilings(module, one) == (pytest.approx(2 / 3), 0.0)


def test_answers_end_at_characters_that_a_reader_sees(questions: Opened) -> None:
    family = "👨\u200d👩\u200d👧"
    module = questions()
    assert [answer.text for answer in module.ceiling([row(f"the {family} cat", "👩")])] == [family]


def test_windows_and_the_longest_answer_bound_what_can_be_found(questions: Opened) -> None:
    context, answer = "the cat sees " * 30 + "a bird in a house by the river", "a bird in a house by the river"
    assert ceilings(questions("--data.max_length", "40"), row(context, answer))[1] == 1.0
    short = questions("--task.longest_answer", "2")
    assert ceilings(short, row(context, answer))[1] == 0.0
    assert ceilings(short, row(context, answer), row(context, "river"))[1] == 0.5


def test_no_answer_is_found_where_it_may_be_predicted_and_an_answer_from_elsewhere_never(questions: Opened) -> None:
    none = row("the cat", "", impossible=True)
    assert ceilings(questions("--task.no_answer", "true", "--task.threshold", "9"), none, row("the cat", "cat")) == (
        1,
        1,
    )
    assert ceilings(questions("--task.no_answer", "false"), none, row("the cat", "cat")) == (0.5, 0.5)
    assert ceilings(questions(), row("the cat", "dog")) == (0.0, 0.0)
