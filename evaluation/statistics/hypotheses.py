"""What a study says of the hypotheses that it declared: a verdict each, in words, with what it could have found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evaluation.record.formatting import MINUS, interval, number, p_value
from evaluation.record.formatting import difference as signed
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

Outcome = Literal[
    "supported",
    "contradicted",
    "equivalent within the margin",
    "not shown",
    "one seed shows no difference",
    "cannot tell",
]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a hypothesis; numbers are in the metric's units, and None where seeds do not show them.

    Attributes:
        hypothesis: as declared.
        outcome: `supported` and `contradicted` are significant differences in the declared direction and against it
            (of an equivalence: beyond the margin), `equivalent within the margin` is a significant equivalence, and
            `not shown` none of these, which is never a sign of equality. The others are where nothing can be tested.
        sentence: the outcome in plain words, with the minimum detectable effect.
        seeds: that both arms have scores of.
        difference: mean of arm minus against.
        interval: of 95 % around it, over seeds and items; not adjusted for the number of hypotheses.
        equivalence_interval: of 90 %, which lies within the margin where TOST's p is at most 0.05; of an equivalence.
        standard_deviation: of the difference between paired seeds.
        p: the deciding one: two-sided Student's t, or TOST's for an equivalence.
        adjusted_p: by Holm over all declared hypotheses.
        sign_flip_p: the exact two-sided one, of these items alone.
        least_sign_flip_p: that so many seeds can attain at best.
        detectable_difference: the smallest that is found with 80 % power at the strictest level of Holm, alpha over
            the number of hypotheses, if seeds and items vary as they did here.
        confirmable_margin: likewise the smallest within which arms that do not differ are found equivalent; of an
            equivalence.
    """

    hypothesis: Hypothesis
    outcome: Outcome
    sentence: str
    seeds: tuple[int, ...]
    difference: float | None = None
    interval: tuple[float, float] | None = None
    equivalence_interval: tuple[float, float] | None = None
    standard_deviation: float | None = None
    p: float | None = None
    adjusted_p: float | None = None
    sign_flip_p: float | None = None
    least_sign_flip_p: float | None = None
    detectable_difference: float | None = None
    confirmable_margin: float | None = None


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


def _value(hypothesis: Hypothesis, mean: float, unit: str) -> str:
    """The difference as the beginning of a sentence."""
    pair = f"{hypothesis.arm} {MINUS} {hypothesis.against}"
    name = "points" if unit == "%" else unit
    return f"{pair} on {hypothesis.metric} is {signed(mean, unit)} {name}".rstrip()


def _untested(hypothesis: Hypothesis, difference: SeedScores | None, unit: str) -> Verdict:
    """Of no seed or one, or of seeds that do not vary."""
    if difference is None:
        sentence = (
            f"No seed has a score of both {hypothesis.arm} and {hypothesis.against} on {hypothesis.metric}: nothing is "
            f"known of their difference, and none is detectable."
        )
        return Verdict(hypothesis=hypothesis, outcome="cannot tell", sentence=sentence, seeds=())
    found, seeds = estimate(difference), difference.seeds
    outcome: Outcome = "cannot tell"
    value = _value(hypothesis, found.mean, unit)
    if len(seeds) == 1:
        outcome = "one seed shows no difference"
        sentence = (
            f"One seed shows no difference: {value} for seed {seeds[0]}, and as it is unknown how far seeds lie apart, "
            f"none is detectable, however large."
        )
    else:
        sentence = (
            f"{value} for each of {len(seeds)} seeds alike: what does not vary is no measure of chance, so that the "
            f"detectable difference is unknown."
        )
    return Verdict(hypothesis=hypothesis, outcome=outcome, sentence=sentence, seeds=seeds, difference=found.mean)


def _of_the_same(hypothesis: Hypothesis, difference: SeedScores, p: float, adjusted_p: float) -> Verdict:
    """Of two arms that agree on every item."""
    return Verdict(
        hypothesis=hypothesis,
        outcome="equivalent within the margin" if hypothesis.direction == "equivalent" else "not shown",
        sentence=(
            f"{hypothesis.arm} and {hypothesis.against} have the same score on every item of {hypothesis.metric} with "
            f"each of {len(difference.seeds)} seeds: there is no difference that could have gone undetected."
        ),
        seeds=difference.seeds,
        difference=0.0,
        interval=(0.0, 0.0),
        equivalence_interval=(0.0, 0.0) if hypothesis.direction == "equivalent" else None,
        standard_deviation=0.0,
        p=p,
        adjusted_p=adjusted_p,
    )


def _outcome(hypothesis: Hypothesis, found: Estimate, adjusted_p: float, num_hypotheses: int) -> Outcome:
    if hypothesis.direction == "equivalent":
        if adjusted_p <= ALPHA:
            return "equivalent within the margin"
        beyond = 2 * found.tail(abs(found.mean) - hypothesis.margin)  # not in Holm's order, hence at Bonferroni's level
        return "contradicted" if num_hypotheses * beyond <= ALPHA else "not shown"
    if adjusted_p > ALPHA:
        return "not shown"
    return "supported" if (found.mean > 0) == (hypothesis.direction == "greater") else "contradicted"


def _sentence(verdict: Verdict, num_hypotheses: int, unit: str) -> str:
    """The outcome in words, with no number that is not the verdict's."""
    assert verdict.difference is not None
    assert verdict.interval is not None
    hypothesis, num_seeds = verdict.hypothesis, len(verdict.seeds)
    p = p_value(verdict.adjusted_p)
    p = f"p {p}" if p.startswith("<") else f"p = {p}"
    if num_hypotheses > 1:
        p += f" by Holm over {num_hypotheses} hypotheses"
    bound = f"{num_seeds} seeds cannot show a difference below {number(verdict.detectable_difference, unit)}"
    if hypothesis.direction == "equivalent":
        bound += f" or confirm a margin below {number(verdict.confirmable_margin, unit)}"
        margin = number(hypothesis.margin, unit)
        declared, opposite = f"within {margin} of 0", f"more than {margin} from 0"
    else:
        declared = f"{hypothesis.direction} than 0"
        opposite = "less than 0" if hypothesis.direction == "greater" else "greater than 0"
    said = {
        "supported": f"{declared}, as declared ({p})",
        "contradicted": f"{opposite}, against what was declared",
        "equivalent within the margin": f"{declared}, as declared ({p})",
        "not shown": f"not shown to be {declared} ({p}), which does not show the contrary",
    }
    return (
        f"{_value(hypothesis, verdict.difference, unit)} {interval(*verdict.interval, unit, signed=True)} over "
        f"{num_seeds} seeds: {said[verdict.outcome]}; {bound} with 80 % power."
    )


def _tested(
    hypothesis: Hypothesis, difference: SeedScores, p: float, adjusted_p: float, *, num_hypotheses: int, unit: str
) -> Verdict:
    """Of two seeds or more."""
    found, by_seed = estimate(difference), difference.by_seed
    equivalent = hypothesis.direction == "equivalent"
    flips = sign_flip(by_seed) if len(by_seed) <= MOST_SEEDS else None
    verdict = Verdict(
        hypothesis=hypothesis,
        outcome=_outcome(hypothesis, found, adjusted_p, num_hypotheses),
        sentence="",
        seeds=difference.seeds,
        difference=found.mean,
        interval=found.interval(),
        equivalence_interval=found.interval(0.9) if equivalent else None,
        standard_deviation=float(by_seed.std(ddof=1)),
        p=p,
        adjusted_p=adjusted_p,
        sign_flip_p=flips and flips.two_sided,
        least_sign_flip_p=flips and flips.least,
        detectable_difference=detectable_difference(found, alpha=ALPHA / num_hypotheses),
        confirmable_margin=confirmable_margin(found, alpha=ALPHA / num_hypotheses) if equivalent else None,
    )
    return replace(verdict, sentence=_sentence(verdict, num_hypotheses, unit))


def judge(
    hypotheses: Sequence[Hypothesis],
    scores: Mapping[str, Mapping[str, SeedScores]],
    units: Mapping[str, str] | None = None,
) -> list[Verdict]:
    """A verdict on each of the declared hypotheses, which together err at most 5 % of the time.

    What cannot be tested still counts among them: that runs failed makes no other hypothesis easier to support.

    Args:
        hypotheses: all those of the study.
        scores: by metric, then by arm; what no run has may be left out.
        units: of the metrics, for the sentences; fractions of "%" are said as points.

    Raises:
        ValueError: where two arms were scored on different items.
    """
    differences = [_difference(hypothesis, scores) for hypothesis in hypotheses]
    p_values = [_p(hypothesis, difference) for hypothesis, difference in zip(hypotheses, differences, strict=True)]
    adjusted = holm([1.0 if p is None else p for p in p_values])
    verdicts, count = [], len(hypotheses)
    for hypothesis, difference, p, adjusted_p in zip(hypotheses, differences, p_values, adjusted, strict=True):
        unit = (units or {}).get(hypothesis.metric, "")
        if difference is None or p is None:
            verdicts.append(_untested(hypothesis, difference, unit))
        elif _are_the_same(difference):
            verdicts.append(_of_the_same(hypothesis, difference, p, adjusted_p))
        else:
            verdicts.append(_tested(hypothesis, difference, p, adjusted_p, num_hypotheses=count, unit=unit))
    return verdicts
