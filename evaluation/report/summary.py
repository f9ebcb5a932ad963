"""The first screen of a report: which arm is better, by how much, how sure that is, and on what."""

from collections.abc import Sequence

from evaluation.record.record import MetricRecord, StudyRecord, SummaryRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report.blocks import ReportBlock, Table, TableCell
from evaluation.report.text.formatting import (
    NONE,
    among,
    estimated,
    interval,
    number,
    p_value,
    score,
    unit_of_difference,
)
from evaluation.report.text.verdicts import SIGNS, tone

_PLATEAU = "not left the plateau at the unigram entropy"  # ends what statistics/hypotheses.py writes of arms at it


def _size(value: float, unit: str) -> str:
    return f"{number(abs(value), unit)} {unit_of_difference(unit)}"


def answers(record: StudyRecord) -> list[str]:
    """A sentence for each declared hypothesis that is decided, or one that gives the reason why none is."""
    decided = [_answer(record, verdict) for verdict in record.verdicts if tone(verdict) != "open"]
    if decided:
        return decided
    if reasons := _reasons(record.verdicts):
        return [f"No verdict: {'; '.join(reasons)}."]
    if not record.verdicts:
        return ["No hypothesis was declared beforehand: no difference below is more than an observation."]
    return ["None of the declared hypotheses was shown, one way or the other."]


def _reasons(verdicts: Sequence[VerdictRecord]) -> list[str]:
    """Why nothing was tested, each reason once: arms at the plateau are named together."""
    resting: dict[str, None] = {}
    found: dict[str, None] = {}
    for verdict in verdicts:
        pair = verdict.arm, verdict.against
        if verdict.reason == f"{' and '.join(pair)} have {_PLATEAU}":
            resting |= dict.fromkeys(pair)
        elif (label := verdict.reason.removesuffix(f" has {_PLATEAU}")) in pair:
            resting[label] = None
        elif verdict.reason:
            found[verdict.reason] = None
    names = [*resting]
    together = [f"{among(names)} {'have' if len(names) > 1 else 'has'} {_PLATEAU}"] if names else []
    return [*together, *found]


def _answer(record: StudyRecord, verdict: VerdictRecord) -> str:
    unit = record.unit(verdict.metric)
    assert verdict.estimate is not None
    around = f"95\u00a0% interval {interval(verdict.low, verdict.high, unit, signed=True)}"
    p = p_value(verdict.p_holm)
    sure = f"{around}, p {p if p.startswith('<') else f'= {p}'}, {verdict.seeds} seeds"
    if verdict.direction == "equivalent":
        within = f"within {_size(verdict.margin, unit)} of each other"
        found = within if verdict.outcome != "contradicted" else f"not {within}"
        return f"{verdict.arm} and {verdict.against} are {found} on {verdict.metric} ({sure})."
    side = "higher" if verdict.estimate > 0 else "lower"
    against = "" if verdict.outcome == "supported" else ", against what was declared"
    return (
        f"{verdict.arm} is {_size(verdict.estimate, unit)} {side} than {verdict.against} on {verdict.metric}"
        f"{against} ({sure})."
    )


def _standing(arm: str, verdict: VerdictRecord, metric: MetricRecord) -> tuple[str, str]:
    """What a verdict shows of one of its two arms, in a few words, and the other arm."""
    other = verdict.against if verdict.arm == arm else verdict.arm
    if tone(verdict) == "open" or verdict.estimate is None:
        return f"{SIGNS['open']} undecided against", other
    if verdict.direction == "equivalent":
        return (
            "\u2248 within the margin of" if verdict.outcome != "contradicted" else "\u2260 beyond the margin of"
        ), other
    is_higher = (verdict.estimate > 0) == (verdict.arm == arm)
    return ("\u25b2 better than" if is_higher == metric.higher_is_better else "\u25bd worse than"), other


def _cell(record: StudyRecord, arm: str, metric: MetricRecord, found: dict[str, SummaryRecord]) -> TableCell:
    summary = found.get(arm)
    if summary is None or summary.mean is None:
        return TableCell(NONE)
    means = [one.mean for one in found.values() if one.mean is not None]
    best = max(means) if metric.higher_is_better else min(means)
    standings: dict[str, list[str]] = {}
    for verdict in record.verdicts:
        if verdict.metric == metric.name and arm in (verdict.arm, verdict.against):
            standing, other = _standing(arm, verdict, metric)
            standings.setdefault(standing, []).append(other)
    around = interval(summary.low, summary.high, metric.unit) if summary.low is not None else ""
    bound = [estimated(summary.bound, metric.unit)] if summary.bound else []
    lines = [
        *([around] if around else []),
        *bound,
        *(f"{words} {among(others)}" for words, others in standings.items()),
    ]
    return TableCell(score(summary, metric.unit), below=tuple(lines), tone="best" if summary.mean == best else "")


def overview(record: StudyRecord) -> list[ReportBlock]:
    """Arms by metrics: the mean with its interval, and what the declared hypotheses show of it."""
    found = {
        metric.name: {s.arm: s for s in record.summaries if s.metric == metric.name and s.budget is None}
        for metric in record.metrics
        if metric.rankable and not metric.part_of
    }
    fewest = min(2, len(record.arms))  # what one arm alone has compares nothing
    metrics = [metric for metric in record.metrics if len(found.get(metric.name, ())) >= fewest]
    if not metrics:
        return []
    header = ["arm", *(f"{m.name}, {m.unit or 'score'} ({'higher' if m.higher_is_better else 'lower'} is better)"
                       for m in metrics)]  # fmt: skip
    rows = [
        [TableCell(arm.label, series=series), *(_cell(record, arm.label, m, found[m.name]) for m in metrics)]
        for series, arm in enumerate(record.arms)
    ]
    intervals = " with its 95 % interval over seeds" if len(record.seeds) > 1 else " of one seed"
    caption = (
        f"Every arm on what may rank different objectives: the mean{intervals}; bold is the best mean, which need not "
        f"be a difference. Better, worse, equal within a margin and undecided are verdicts on declared hypotheses."
    )
    return [Table(caption, header, rows)]
