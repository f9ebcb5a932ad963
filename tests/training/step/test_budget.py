"""Budgets: what they say, what they refuse, and the steps that follow from them."""

import time

import pytest

from training.step.budget import Budget, Progress, StepCost, quantity

COST = StepCost(raw_tokens=300, target_tokens=45, flops=3e11, epochs=1 / 49)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("10M", 10e6),
        ("2.5e15", 2.5e15),
        ("300_000", 3e5),
        (" 1.5 k ", 1500),
        ("3B", 3e9),
        ("3g", 3e9),
        (7, 7),
        (0.5, 0.5),
    ],
)
def test_quantities_have_suffixes_that_count_in_thousands(written: str | float, number: float) -> None:
    assert quantity(written, "budget.steps") == number


@pytest.mark.parametrize("written", ["", "ten", "-5", "0", "10MB", "nan", "inf", -1, 0])
def test_a_quantity_that_is_no_positive_number_is_refused_by_name_and_value(written: str | float) -> None:
    with pytest.raises(ValueError, match=r"budget\.steps = .* must be a number above 0 and at most 1e30, such as 10M"):
        quantity(written, "budget.steps")


def test_exactly_one_budget_is_set() -> None:
    with pytest.raises(ValueError, match="raw_tokens and steps are set; choose one"):
        Budget(raw_tokens="10M", steps=5)
    with pytest.raises(ValueError, match="set one of raw_tokens, steps, flops, target_tokens, epochs, minutes"):
        Budget().total_steps(COST)


def test_a_budget_is_used_up_to_the_last_started_step() -> None:
    assert Budget(raw_tokens="1k").total_steps(COST) == 4
    assert Budget(raw_tokens=900).total_steps(COST) == 3
    assert Budget(flops="1T").total_steps(COST) == 4
    assert Budget(target_tokens=91).total_steps(COST) == 3
    assert [Budget(epochs=number).total_steps(COST) for number in range(1, 200)] == list(range(49, 9800, 49))
    assert Budget(steps="2k").total_steps(COST) == 2000
    assert Budget(minutes=2).total_steps(COST) is None
    assert Budget(minutes=2).seconds == 120


def test_progress_in_steps_ends_at_one() -> None:
    progress = Progress(total_steps=8, seconds=None)
    assert [progress.fraction(step) for step in (0, 2, 8, 9)] == [0, 0.25, 1, 1]
    assert progress.total(3) == 8


def test_progress_by_the_clock_goes_by_what_was_agreed_over_all_sittings() -> None:
    progress = Progress(total_steps=None, seconds=100)
    progress.start(seconds_before=25)
    assert progress.fraction(5) == 0.25
    assert progress.total(5) == 20
    progress.agreed_seconds = 50
    assert progress.total(5) == 10
    assert 25 <= progress.elapsed <= 25 + time.monotonic()
