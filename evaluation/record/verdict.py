"""What became of a declared hypothesis, as data; the report puts it into words."""

from dataclasses import dataclass

from evaluation.record.kinds import Direction, Outcome, Strict


@dataclass(frozen=True, kw_only=True)
class VerdictRecord(Strict):
    """A declared hypothesis and what became of it: `arm` minus `against` on `metric`, paired by seed.

    Numbers are in the metric's units, and None where the seeds do not show them.

    Attributes:
        arm, against, metric, direction, margin: the hypothesis as declared.
        seeds: number of those that both arms have scores of.
        outcome: `supported` and `contradicted` are significant differences in the declared direction and against it
            (of an equivalence: beyond the margin), `equivalent within the margin` is a significant equivalence, and
            `not shown` none of these, which is never a sign of equality. The others are where nothing can be tested.
        estimate: mean of arm minus against.
        low, high: the 95 % interval of the estimate, over seeds and items; not adjusted for the number of hypotheses.
        equivalence_low, equivalence_high: the 90 % one, which lies within the margin where TOST's p is at most 0.05;
            of an equivalence.
        standard_deviation: of the difference between paired seeds.
        p: of the deciding test: two-sided Student's t, or TOST for an equivalence.
        p_holm: the same, adjusted by Holm over all declared hypotheses.
        p_sign_flip: of the exact two-sided sign-flip test, of these items alone.
        minimum_detectable: the smallest difference that is found with 80 % power at the strictest level of Holm, alpha
            over the number of hypotheses, if seeds and items vary as they did here.
        confirmable_margin: likewise the smallest margin within which arms that do not differ are found equivalent; of
            an equivalence.
        reason: why nothing was tested, where that is more than a missing score.
    """

    arm: str
    against: str
    metric: str
    direction: Direction
    margin: float = 0.0
    seeds: int
    outcome: Outcome
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    equivalence_low: float | None = None
    equivalence_high: float | None = None
    standard_deviation: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_sign_flip: float | None = None
    minimum_detectable: float | None = None
    confirmable_margin: float | None = None
    reason: str = ""
