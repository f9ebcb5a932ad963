"""What became of the declared hypotheses: a verdict each, as data, with the difference that could have been found."""

from collections.abc import Mapping, Sequence
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


def _difference(hypothesis: Hypothesis, scores: Mapping[str, Mapping[str, SeedScores]]) -> SeedScores | None:
    """Of the seeds that both arms have scores of, if there are any."""
    of_metric = scores.get(hypothesis.metric, {})
    if hypothesis.arm not in of_metric or hypothesis.against not in of_metric:
        return None
    return of_metric[hypothesis.arm].paired_with(of_metric[hypothesis.against])


def _are_the_same(difference: SeedScores) -> bool:
    """Whether two arms agree on every item of several seeds, as one arm under two labels does."""
    return len(difference.seeds) > 1 and not difference.values.any()


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
    hypothesis: Hypothesis, difference: SeedScores | None, p: float | None, adjusted_p: float, num_hypotheses: int
) -> VerdictRecord:
    declared = asdict(hypothesis)
    if difference is None:
        return VerdictRecord(**declared, seeds=0, outcome="untested")
    found, by_seed, num_seeds = estimate(difference), difference.by_seed, len(difference.seeds)
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
    hypotheses: Sequence[Hypothesis], scores: Mapping[str, Mapping[str, SeedScores]]
) -> tuple[VerdictRecord, ...]:
    """A verdict on each of the declared hypotheses, which together err at most 5 % of the time.

    What cannot be tested still counts among them: that runs failed makes no other hypothesis easier to support.

    Args:
        hypotheses: all those of the study.
        scores: by metric, then by arm; what no run has may be left out.

    Raises:
        UserError: where two arms were scored on different items.
    """
    differences = [_difference(hypothesis, scores) for hypothesis in hypotheses]
    p_values = [_p(hypothesis, difference) for hypothesis, difference in zip(hypotheses, differences, strict=True)]
    adjusted = holm([1.0 if p is None else p for p in p_values])
    parts = zip(hypotheses, differences, p_values, adjusted, strict=True)
    return tuple(_verdict(*of_one, num_hypotheses=len(hypotheses)) for of_one in parts)
