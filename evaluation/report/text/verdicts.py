"""A verdict in words: what was expected, and what became of it, with no number that is not the verdict's."""

from typing import Literal

from evaluation.record.kinds import Outcome
from evaluation.record.record import StudyRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report.text.formatting import MINUS, difference, interval, number, p_value

Tone = Literal["yes", "no", "open"]  # a class of the page
EXPECTED = {"greater": "is higher than", "less": "is lower than", "equivalent": "is equivalent to"}
SIGNS: dict[Tone, str] = {"yes": "\u2713", "no": "\u2717", "open": "?"}  # beside the colour, which not all can see
_TONES: dict[Outcome, Tone] = {"supported": "yes", "equivalent within the margin": "yes", "contradicted": "no"}


def tone(verdict: VerdictRecord) -> Tone:
    """Whether the hypothesis holds, does not, or is open; with one seed all are."""
    return _TONES.get(verdict.outcome, "open") if verdict.seeds > 1 else "open"


def expected(verdict: VerdictRecord, unit: str) -> str:
    """The hypothesis as a sentence without its full stop."""
    hypothesis = f"{verdict.arm} {EXPECTED[verdict.direction]} {verdict.against} on {verdict.metric}"
    if verdict.direction != "equivalent":
        return hypothesis
    margin = f"{100 * verdict.margin:g}" if unit == "%" else f"{verdict.margin:g}"
    return f"{hypothesis}, within {margin} {'points' if unit == '%' else unit}".rstrip()


def _tested(verdict: VerdictRecord, num_hypotheses: int, unit: str) -> str:
    """What the seeds show of a difference, and what so many of them cannot show."""
    p = p_value(verdict.p_holm)
    p = f"p {p}" if p.startswith("<") else f"p = {p}"
    if num_hypotheses > 1:
        p += f" by Holm over {num_hypotheses} hypotheses"
    bound = f"{verdict.seeds} seeds cannot show a difference below {number(verdict.minimum_detectable, unit)}"
    if verdict.direction == "equivalent":
        if verdict.confirmable_margin is not None:
            bound += f" or confirm a margin below {number(verdict.confirmable_margin, unit)}"
        margin = number(verdict.margin, unit)
        declared, opposite = f"within {margin} of 0", f"more than {margin} from 0"
    else:
        declared = f"{verdict.direction} than 0"
        opposite = "less than 0" if verdict.direction == "greater" else "greater than 0"
    found = {
        "supported": f"{declared}, as declared ({p})",
        "contradicted": f"{opposite}, against what was declared",
        "equivalent within the margin": f"{declared}, as declared ({p})",
        "not shown": f"not shown to be {declared} ({p}), which does not show the contrary",
    }
    return f"over {verdict.seeds} seeds: {found[verdict.outcome]}; {bound} with 80 % power."


def sentence(record: StudyRecord, verdict: VerdictRecord) -> str:
    """What became of a declared hypothesis, with the smallest difference that was detectable."""
    arm, against, unit = verdict.arm, verdict.against, record.unit(verdict.metric)
    if verdict.estimate is None:
        return (
            f"No seed has a score of both {arm} and {against} on {verdict.metric}: nothing is known of their "
            f"difference, and none is detectable."
        )
    if verdict.reason:
        return f"No verdict on {arm} against {against} on {verdict.metric}: {verdict.reason}."
    name = "points" if unit == "%" else unit
    value = f"{arm} {MINUS} {against} on {verdict.metric} is {difference(verdict.estimate, unit)} {name}".rstrip()
    if verdict.seeds == 1:
        return (
            f"One seed shows no difference: {value}, and as it is unknown how far seeds lie apart, none is detectable, "
            f"however large."
        )
    if verdict.low is None:
        return (
            f"{value} for each of {verdict.seeds} seeds alike: what does not vary is no measure of chance, so that the "
            f"detectable difference is unknown."
        )
    if verdict.low == verdict.high:  # seeds that vary have an interval
        return (
            f"{arm} and {against} have the same score on every item of {verdict.metric} with each of {verdict.seeds} "
            f"seeds: there is no difference that could have gone undetected."
        )
    around = interval(verdict.low, verdict.high, unit, signed=True)
    return f"{value} {around} {_tested(verdict, len(record.verdicts), unit)}"
