"""What became of the declared hypotheses: a verdict each, as data, with the difference that could have been found."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from evaluation.record.kinds import Outcome
from evaluation.record.verdict import VerdictRecord
from evaluation.statistics.intervals import Estimate, SeedScores, estimate
from evaluation.statistics.significance import (
    ALPHA,
    MOST_SEEDS,
    confirmable_margin,
    detectable_difference,
    difference_test,
    equivalence_test,
    holm,
    sign_flip,
)
from evaluation.study.study import Hypothesis

MIN_SEEDS = 3  # of two, Student's t has one degree of freedom and no exact test can decide


def _difference(hypothesis: Hypothesis, scores: Mapping[str, Mapping[str, SeedScores]]) -> SeedScores | None:
    """Of the seeds that both arms have scores of, if there are any."""
    of_metric = scores.get(hypothesis.metric, {})
    if hypothesis.arm not in of_metric or hypothesis.against not in of_metric:
        return None
    return of_metric[hypothesis.arm].paired_with(of_metric[hypothesis.against])


def _are_the_same(difference: SeedScores) -> bool:
    """Whether two arms agree on every item of several seeds, as one arm under two labels does."""
    return len(difference.seeds) > 1 and not difference.values.any()


def _of_bounds(hypothesis: Hypothesis, difference: SeedScores, bounds: Collection[tuple[str, str]]) -> str:
    """Why scores that are upper bounds decide nothing: a single one does where it lies below the other score."""
    bounded = [arm for arm in (hypothesis.arm, hypothesis.against) if (hypothesis.metric, arm) in bounds]
    if not bounded:
        return ""
    is_below = (difference.by_seed.mean() < 0) == (bounded[0] == hypothesis.arm)
    if len(bounded) == 1 and is_below and hypothesis.direction != "equivalent":
        return ""
    have = "have" if len(bounded) > 1 else "has"
    return (
        f"{' and '.join(bounded)} {have} an upper bound of {hypothesis.metric}, which proves nothing unless it is lower"
    )


def _reason(
    hypothesis: Hypothesis,
    difference: SeedScores | None,
    num_declared: int,
    on_plateau: Collection[str],
    bounds: Collection[tuple[str, str]],
) -> str:
    """Why a difference can carry no verdict, whatever it is; empty where it can, or where one seed or none is left."""
    seeds = 0 if difference is None else len(difference.seeds)
    if resting := [arm for arm in (hypothesis.arm, hypothesis.against) if arm in on_plateau]:
        have = "have" if len(resting) > 1 else "has"
        return f"{' and '.join(resting)} {have} not left the plateau at the unigram entropy"
    if difference is not None and (of_bounds := _of_bounds(hypothesis, difference, bounds)):
        return of_bounds
    if 1 < seeds < num_declared:
        return (
            f"{seeds} of the {num_declared} declared seeds have a score of both {hypothesis.arm} and "
            f"{hypothesis.against}"
        )
    if 1 < seeds < MIN_SEEDS:
        return f"{seeds} seeds are too few to estimate how far seeds lie apart; declare {MIN_SEEDS} or more"
    return ""


def _p(hypothesis: Hypothesis, difference: SeedScores | None) -> float | None:
    """The deciding p; None where nothing can be tested: seeds that do not vary are no measure of chance."""
    if difference is None:
        return None
    if _are_the_same(difference):
        return float(hypothesis.direction != "equivalent")
    found = estimate(difference)
    if not found.seed_variance:
        return None
    if hypothesis.direction == "equivalent":
        return equivalence_test(found, hypothesis.margin)
    return difference_test(found)


def _outcome(hypothesis: Hypothesis, found: Estimate, adjusted_p: float, num_hypotheses: int) -> Outcome:
    if hypothesis.direction == "equivalent":
        if adjusted_p <= ALPHA:
            return "equivalent within the margin"
        beyond = 2 * found.tail(abs(found.mean) - hypothesis.margin)  # not in Holm's order, hence at Bonferroni's level
        return "contradicted" if num_hypotheses * beyond <= ALPHA else "not shown"
    if adjusted_p > ALPHA:
        return "not shown"
    return "supported" if (found.mean > 0) == (hypothesis.direction == "greater") else "contradicted"


def _verdict(
    hypothesis: Hypothesis,
    difference: SeedScores | None,
    p: float | None,
    adjusted_p: float,
    num_hypotheses: int,
    reason: str,
) -> VerdictRecord:
    declared = asdict(hypothesis)
    if difference is None:
        return VerdictRecord(**declared, seeds=0, outcome="untested", reason=reason)
    found, by_seed, num_seeds = estimate(difference), difference.by_seed, len(difference.seeds)
    if reason:
        return VerdictRecord(**declared, seeds=num_seeds, outcome="untested", estimate=found.mean, reason=reason)
    if p is None:  # of one seed, or of seeds that do not vary
        outcome: Outcome = "one seed shows no difference" if num_seeds == 1 else "untested"
        return VerdictRecord(**declared, seeds=num_seeds, outcome=outcome, estimate=found.mean)
    is_equivalence = hypothesis.direction == "equivalent"
    if _are_the_same(difference):
        none = 0.0 if is_equivalence else None
        return VerdictRecord(
            **declared,
            seeds=num_seeds,
            outcome="equivalent within the margin" if is_equivalence else "not shown",
            estimate=0.0,
            low=0.0,
            high=0.0,
            equivalence_low=none,
            equivalence_high=none,
            standard_deviation=0.0,
            p=p,
            p_holm=adjusted_p,
        )
    low, high = found.interval() or (None, None)
    equivalence_low, equivalence_high = (is_equivalence and found.interval(0.9)) or (None, None)
    alpha = ALPHA / num_hypotheses
    return VerdictRecord(
        **declared,
        seeds=num_seeds,
        outcome=_outcome(hypothesis, found, adjusted_p, num_hypotheses),
        estimate=found.mean,
        low=low,
        high=high,
        equivalence_low=equivalence_low,
        equivalence_high=equivalence_high,
        standard_deviation=float(by_seed.std(ddof=1)),
        p=p,
        p_holm=adjusted_p,
        p_sign_flip=sign_flip(by_seed) if num_seeds <= MOST_SEEDS else None,
        minimum_detectable=detectable_difference(found, alpha=alpha),
        confirmable_margin=confirmable_margin(found, alpha=alpha) if is_equivalence else None,
    )


def judge(
    hypotheses: Sequence[Hypothesis],
    scores: Mapping[str, Mapping[str, SeedScores]],
    *,
    num_seeds: int = 0,
    on_plateau: Collection[str] = (),
    bounds: Collection[tuple[str, str]] = (),
) -> tuple[VerdictRecord, ...]:
    """A verdict on each of the declared hypotheses, which together err at most 5 % of the time.

    What cannot be tested still counts among them: that runs failed makes no other hypothesis easier to support.

    Args:
        hypotheses: all those of the study.
        scores: by metric, then by arm; what no run has may be left out.
        num_seeds: that were declared; with fewer of them scored nothing is decided.
        on_plateau: arms that have learned no more than how frequent tokens are, of which nothing is decided.
        bounds: metrics, each with an arm whose scores are upper bounds of what is better low.

    Raises:
        UserError: where two arms were scored on different items.
    """
    differences = [_difference(hypothesis, scores) for hypothesis in hypotheses]
    reasons = [_reason(*pair, num_seeds, on_plateau, bounds) for pair in zip(hypotheses, differences, strict=True)]
    p_values = [
        None if reason else _p(hypothesis, difference)
        for hypothesis, difference, reason in zip(hypotheses, differences, reasons, strict=True)
    ]
    adjusted = holm([1.0 if p is None else p for p in p_values])
    parts = zip(hypotheses, differences, p_values, adjusted, reasons, strict=True)
    return tuple(
        _verdict(hypothesis, difference, p, adjusted_p, len(hypotheses), reason)
        for hypothesis, difference, p, adjusted_p, reason in parts
    )
