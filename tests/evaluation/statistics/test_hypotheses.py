"""Verdicts on declared hypotheses: what the seeds show, what they never do, and how often a verdict is wrong."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.record.kinds import Direction
from evaluation.record.verdict import VerdictRecord
from evaluation.scoring.results import EvaluationResult
from evaluation.statistics.aggregate import scores_of, summaries
from evaluation.statistics.hypotheses import judge
from evaluation.statistics.intervals import SeedScores
from evaluation.study.study import Hypothesis
from tests.evaluation.statistics.simulated import detectable_effect, numbers, of_numbers

FIXED = settings(deadline=None, derandomize=True, max_examples=60)
MIRRORED: dict[Direction, Direction] = {"greater": "less", "less": "greater", "equivalent": "equivalent"}


def expecting(direction: Direction, *, margin: float = 0.0, arm: str = "A", against: str = "B") -> Hypothesis:
    return Hypothesis(arm=arm, against=against, metric="pairs", direction=direction, margin=margin)


def of(hypothesis: Hypothesis, *differences: float) -> VerdictRecord:
    """The verdict where arm A scored so much more than B with each seed."""
    (verdict,) = judge([hypothesis], {"pairs": {"A": numbers(*differences), "B": numbers(*([0.0] * len(differences)))}})
    return verdict


CLEAR = (1.0, 1.1, 0.9, 1.05, 0.95)


@pytest.mark.parametrize(
    ("direction", "sign", "bounded", "is_decided"),
    [
        ("less", -1, ("A",), True),  # a bound below an exact score
        ("greater", 1, ("A",), False),  # a bound above it
        ("greater", 1, ("B",), True),
        ("less", -1, ("B",), False),
        ("less", -1, ("A", "B"), False),
        ("equivalent", -1, ("A",), False),
        ("greater", 1, (), True),
    ],
)
def test_an_upper_bound_proves_something_only_below_another_score(
    direction: Direction, sign: int, bounded: tuple[str, ...], is_decided: bool
) -> None:
    scores = {"pairs": {"A": numbers(*(sign * value for value in CLEAR)), "B": numbers(*[0.0] * 5)}}
    bounds = [("pairs", arm) for arm in bounded]
    margin = 2.0 if direction == "equivalent" else 0.0
    (verdict,) = judge([expecting(direction, margin=margin)], scores, num_seeds=5, bounds=bounds)
    assert (verdict.outcome == "untested") != is_decided
    if not is_decided:
        assert "upper bound of pairs" in verdict.reason


FAINT = (1.0, -0.9, 0.3, -0.2, 0.1)


@pytest.mark.parametrize(
    ("hypothesis", "differences", "outcome"),
    [
        (expecting("greater"), CLEAR, "supported"),
        (expecting("less"), CLEAR, "contradicted"),
        (expecting("greater"), FAINT, "not shown"),
        (expecting("less"), FAINT, "not shown"),
        (expecting("equivalent", margin=2.0), CLEAR, "equivalent within the margin"),
        (expecting("equivalent", margin=0.5), CLEAR, "contradicted"),
        (expecting("equivalent", margin=1.0), CLEAR, "not shown"),
        (expecting("equivalent", margin=0.1), FAINT, "not shown"),
    ],
)
def test_a_verdict_is_what_the_seeds_show(hypothesis: Hypothesis, differences: tuple[float], outcome: str) -> None:
    assert of(hypothesis, *differences).outcome == outcome


@given(
    values=st.lists(st.floats(-3, 3), min_size=2, max_size=6, unique=True),
    hypothesis=st.sampled_from(
        [
            expecting("greater"),
            expecting("less"),
            expecting("equivalent", margin=0.5),
            expecting("equivalent", margin=4),
        ]
    ),
)
@FIXED
def test_arms_the_other_way_round_get_the_same_verdict(values: list[float], hypothesis: Hypothesis) -> None:
    scores = {"pairs": {"A": numbers(*values), "B": numbers(*reversed(values))}}
    turned = replace(hypothesis, arm="B", against="A", direction=MIRRORED[hypothesis.direction])
    (one,), (other,) = judge([hypothesis], scores), judge([turned], scores)
    assert one.outcome == other.outcome
    assert one.p == pytest.approx(other.p)
    assert one.p_sign_flip == other.p_sign_flip
    assert one.estimate == pytest.approx(-(other.estimate or 0.0), abs=1e-12)
    assert one.minimum_detectable == pytest.approx(other.minimum_detectable)


def test_a_verdict_has_the_numbers_that_it_follows_from() -> None:
    """The effect of 3 seeds is 3.264 standard deviations, here of 1 point."""
    scores = {"pairs": {"A": numbers(0.51, 0.52, 0.53), "B": numbers(0.5, 0.5, 0.5)}}
    (verdict,) = judge([expecting("less")], scores)
    assert verdict.minimum_detectable == pytest.approx(0.01 * detectable_effect(3))
    assert (verdict.seeds, verdict.outcome) == (3, "not shown")
    assert (verdict.estimate, verdict.low, verdict.high) == pytest.approx((0.02, -0.00484, 0.04484), abs=1e-5)
    assert verdict.p == verdict.p_holm == pytest.approx(0.0742, abs=1e-4)
    assert verdict.standard_deviation == pytest.approx(0.01)
    assert (verdict.equivalence_low, verdict.equivalence_high, verdict.confirmable_margin) == (None, None, None)


def test_an_equivalence_has_its_90_percent_interval_and_the_margin_that_could_have_been_confirmed() -> None:
    verdict = of(expecting("equivalent", margin=2.0), *CLEAR)
    assert verdict.equivalence_low == pytest.approx(0.9246, abs=1e-4)
    assert verdict.equivalence_high == pytest.approx(1.0754, abs=1e-4)
    assert verdict.confirmable_margin is not None


def test_one_seed_shows_no_difference() -> None:
    verdict = of(expecting("greater"), 12.0)
    assert verdict.outcome == "one seed shows no difference"
    assert (verdict.estimate, verdict.low, verdict.p, verdict.p_holm) == (12.0, None, None, None)
    assert verdict.minimum_detectable is None


@pytest.mark.parametrize(
    ("differences", "num_seeds", "on_plateau", "reason"),
    [
        (CLEAR[:2], 2, (), "2 seeds are too few to estimate how far seeds lie apart; declare 3 or more"),
        (CLEAR[:4], 5, (), "4 of the 5 declared seeds have a score of both A and B"),
        (CLEAR, 5, ("B", "C"), "B has not left the plateau at the unigram entropy"),
        (CLEAR, 5, ("A", "B"), "A and B have not left the plateau at the unigram entropy"),
    ],
)
@pytest.mark.parametrize("hypothesis", [expecting("greater"), expecting("equivalent", margin=2.0)])
def test_what_cannot_carry_a_verdict_has_none(
    hypothesis: Hypothesis, differences: tuple[float, ...], num_seeds: int, on_plateau: tuple[str, ...], reason: str
) -> None:
    scores = {"pairs": {"A": numbers(*differences), "B": numbers(*([0.0] * len(differences)))}}
    (verdict,) = judge([hypothesis], scores, num_seeds=num_seeds, on_plateau=on_plateau)
    assert (verdict.outcome, verdict.reason, verdict.p) == ("untested", reason, None)
    assert verdict.estimate == pytest.approx(sum(differences) / len(differences))


def test_what_can_carry_a_verdict_has_it() -> None:
    scores = {"pairs": {"A": numbers(*CLEAR[:3]), "B": numbers(0.0, 0.0, 0.0)}}
    (verdict,) = judge([expecting("greater")], scores, num_seeds=3, on_plateau=("C",))
    assert (verdict.outcome, verdict.reason) == ("supported", "")


def test_of_arms_without_a_common_seed_nothing_is_known() -> None:
    scores: list[Mapping[str, Mapping[str, SeedScores]]] = [
        {},
        {"pairs": {"A": numbers(1, 2)}},
        {"pairs": {"A": numbers(1, 2), "B": of_numbers({7: 1.0})}},
    ]
    for found in scores:
        (verdict,) = judge([expecting("greater")], found)
        assert (verdict.outcome, verdict.seeds, verdict.estimate) == ("untested", 0, None)


def test_seeds_that_agree_by_rounding_are_no_evidence() -> None:
    """As where accuracy is counted on few items: a spread of 0 is not a p of 0."""
    verdict = of(expecting("greater"), 0.25, 0.25, 0.25)
    assert (verdict.outcome, verdict.p, verdict.low) == ("untested", None, None)


def test_one_arm_under_two_labels_does_not_differ() -> None:
    values = np.random.default_rng(0).normal(size=(5, 30))
    arm = SeedScores(values=values, seeds=tuple(range(5)), strata=("",) * 30)
    found = judge([expecting("greater"), expecting("equivalent", margin=0.1)], {"pairs": {"A": arm, "B": arm}})
    assert [verdict.outcome for verdict in found] == ["not shown", "equivalent within the margin"]
    assert all((verdict.low, verdict.high, verdict.minimum_detectable) == (0, 0, None) for verdict in found)


# --- several hypotheses ---


def test_hypotheses_share_their_errors_and_those_that_failed_still_count() -> None:
    arms = {"A": numbers(*CLEAR), "B": numbers(0, 0, 0, 0, 0), "C": numbers(*FAINT)}
    declared = [expecting("greater"), expecting("greater", arm="C"), expecting("less", arm="D")]
    clear, faint, failed = judge(declared, {"pairs": arms})
    assert clear.p is not None
    assert faint.p is not None
    assert clear.p_holm == pytest.approx(3 * clear.p)
    assert faint.p_holm == pytest.approx(min(1, 2 * faint.p))
    assert (failed.outcome, failed.p_holm) == ("untested", None)
    deviation = np.std(CLEAR, ddof=1)
    assert clear.minimum_detectable == pytest.approx(detectable_effect(5, alpha=0.05 / 3) * deviation)


def test_beyond_sixteen_seeds_the_t_test_stands_alone() -> None:
    verdict = of(expecting("greater"), *np.random.default_rng(0).normal(1, 1, 17).tolist())
    assert (verdict.outcome, verdict.p_sign_flip) == ("supported", None)


def study(rng: np.random.Generator, *, seeds: int, effect: float) -> dict[str, dict[str, SeedScores]]:
    """Two arms on one set of items, which share what is due to the items and to the seeds."""
    items = rng.standard_normal((1, 40)) + 0.5 * rng.standard_normal((seeds, 1))
    arms = {}
    for arm, mean in (("A", effect), ("B", 0.0)):
        own = 0.2 * rng.standard_normal((seeds, 1)) + 0.2 * rng.standard_normal((1, 40))
        values = mean + items + own + 0.5 * rng.standard_normal((seeds, 40))
        arms[arm] = SeedScores(values=values, seeds=tuple(range(seeds)), strata=("p", "q") * 20)
    return {"pairs": arms}


def test_studies_of_no_effect_find_one_in_at_most_5_percent() -> None:
    """300 studies have a standard error of 1.3 %."""
    rng, declared = np.random.default_rng(0), [expecting("greater"), expecting("less")]
    studies = [judge(declared, study(rng, seeds=5, effect=0.0)) for _ in range(300)]
    wrong = sum(any(verdict.outcome != "not shown" for verdict in found) for found in studies)
    assert wrong / 300 < 0.05 + 3 * 0.013


def test_a_planted_effect_is_found() -> None:
    rng = np.random.default_rng(0)
    found = [judge([expecting("greater")], study(rng, seeds=5, effect=1.0))[0].outcome for _ in range(100)]
    assert found.count("supported") >= 90
    assert "contradicted" not in found


# --- in the record ---


def result(scores: list[float], *, metric: str = "pairs") -> EvaluationResult:
    return EvaluationResult(
        metric=metric,
        scores=np.array(scores),
        strata=("p",) * len(scores),
        mean=float(np.mean(scores)),
        higher_is_better=True,
        rankable=True,
        unit="%",
    )


def test_a_run_that_diverged_is_missing_and_the_others_count() -> None:
    runs = {
        "A": {0: {"pairs": result([1.0, 0.0])}, 1: {"pairs": result([np.nan, 0.0])}, 2: {"pairs": result([1.0, 1.0])}},
        "B": {0: {"pairs": result([0.0, 0.0])}, 1: {"pairs": result([0.0, 1.0]), "loss": result([np.inf])}},
    }
    scores = scores_of(runs)
    assert {metric: {arm: of_arm.seeds for arm, of_arm in arms.items()} for metric, arms in scores.items()} == {
        "pairs": {"A": (0, 2), "B": (0, 1)}
    }
    a, b = summaries(scores, budget=1e6)
    assert (a.arm, a.metric, a.seeds, a.mean, a.budget) == ("A", "pairs", 2, 0.75, 1e6)
    assert a.low is not None
    (alone,) = summaries({"pairs": {"A": numbers(3.0)}})
    assert (alone.mean, alone.low, alone.high) == (3.0, None, None)
    assert b.mean == 0.25
