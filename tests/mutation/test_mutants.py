"""Every mutant is a mistake in one line of the project as it is, in a file that still parses."""

import ast
from collections import Counter

import pytest

from tests.helpers import ROOT
from tests.mutation.mutant import Mutant
from tests.mutation.mutants import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.mistake}")
def test_a_mutant_changes_one_line_and_its_tests_are_there(mutant: Mutant) -> None:
    before = (ROOT / mutant.file).read_text(encoding="utf-8")
    after = mutant.applied(before)
    ast.parse(after)
    changed = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    for test in mutant.tests:
        path, _, name = test.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text


def test_mutants_are_many_different_and_spread_over_everything_that_a_result_depends_on() -> None:
    assert len(MUTANTS) >= 45
    assert max(Counter((mutant.file, mutant.original, mutant.replacement) for mutant in MUTANTS).values()) == 1
    assert {mutant.file.split("/")[0] for mutant in MUTANTS} == {
        "common",
        "objectives",
        "models",
        "data",
        "training",
        "evaluation",
        "finetuning",
    }


def test_a_fragment_that_stands_nowhere_or_twice_is_refused() -> None:
    mutant = Mutant(file="here.py", original="a", replacement="b", mistake="wrong")
    for text, times in (("x", 0), ("a a", 2)):
        with pytest.raises(ValueError, match=f"here.py holds 'a' {times} times"):
            mutant.applied(text)
