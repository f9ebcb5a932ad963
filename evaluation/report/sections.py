"""The sections of a report, each a function of the record, in their order; here those of what was found."""

import statistics
from collections.abc import Callable

from evaluation.record.record import StudyRecord, SummaryRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report import samples
from evaluation.report.blocks import (
    Card,
    Choice,
    Folded,
    Picture,
    Points,
    Prose,
    ReportBlock,
    Section,
    Table,
    TableCell,
)
from evaluation.report.figures import estimates, learning, parts, strata
from evaluation.report.procedure import all_runs, cost, ground, reproduce
from evaluation.report.summary import answers, overview
from evaluation.report.tables import arm_cells, parts_table, strata_table
from evaluation.report.text import sentences
from evaluation.report.text.formatting import NONE, amount, apart, difference, interval, number, p_value, score
from evaluation.report.text.verdicts import SIGNS, expected, sentence, tone
from training.monitoring.display import short

TERMS = (
    "Arm: what is trained under one label, a configuration with its settings.",
    "Seed: of a run's initial weights, order of windows and noise. Arms with one seed read the same windows in the "
    "same order, so that differences between arms are taken seed by seed.",
    "Stratum (plural strata): a group of an evaluation's items, such as the pairs of one grammatical paradigm; a score "
    "is the mean of the means of its strata.",
    "Verdict: what became of a hypothesis that was declared before training. Supported and contradicted: a significant "
    "difference in the declared direction, or against it. Not shown: neither, which is no sign of equality.",
)


def in_short(record: StudyRecord) -> Section:
    """The answer first: which arm, by how much, how sure, on what; then what the study does not show."""
    return Section("summary", "In short", [
        *(Prose(answer, "answer") for answer in answers(record)),
        *overview(record),
        Prose(sentences.what_was_done(record)),
        *([Points("What it does not show", limits, "cannot")] if (limits := sentences.limits(record)) else []),
        Folded("Terms of this report", [Points("Terms", TERMS)]),
    ])  # fmt: skip


def curves(record: StudyRecord) -> Section:
    """Losses over three measures of what was spent."""
    drawn = [(name, learning.losses(record, measure)) for measure, name in learning.AXES.items()]
    options = [(name, Picture(figure)) for name, figure in drawn if figure]
    return Section("curves", "Curves", [Choice("axis", "Drawn against", options)] if options else [])


def _summary(record: StudyRecord, arm: str, metric: str, budget: float | None = None) -> SummaryRecord | None:
    found = (s for s in record.summaries if (s.arm, s.metric, s.budget) == (arm, metric, budget))
    return next(found, None)


def evaluations(record: StudyRecord) -> Section:
    """Every metric of every arm, with intervals."""
    figure, labels = estimates.evaluations(record), arm_cells(record)
    blocks: list[ReportBlock] = [Picture(figure)] if figure else []
    budgets = sorted({s.budget for s in record.summaries if s.budget is not None})
    for metric in [metric for metric in record.metrics if not metric.part_of]:
        rows: list[list[str | TableCell]] = []
        besides: list[dict[str, str]] = []
        for arm in record.arms:
            for budget in [None, *budgets]:
                found = _summary(record, arm.label, metric.name, budget)
                if found is None:
                    continue
                beside = [
                    run.scores[metric.name].beside
                    for run in record.runs_of(arm.label, budget=budget)
                    if metric.name in run.scores
                ]
                names = dict.fromkeys(name for of_run in beside for name in of_run)
                means = {n: statistics.fmean(of_run[n] for of_run in beside if n in of_run) for n in names}
                besides.append({n.replace("_", " "): amount(value, metric.unit) for n, value in means.items()})
                spent = [short(budget)] if budget else [short(record.budget)] if budgets else []
                rows.append([labels[arm.label], *spent, score(found, metric.unit),
                             interval(found.low, found.high, metric.unit), str(found.seeds)])  # fmt: skip
        if rows:
            ranked = "" if metric.rankable else " Not to be ranked between objectives."
            same, own = apart(besides)
            alike = f" In every row: {same}." if same else ""
            unit = f", {metric.unit}" if metric.unit else ""
            caption = f"{metric.name}{unit}. {metric.description}{ranked}{alike}".strip()
            spent = [sentences.MEASURES[record.measure]] if budgets else []
            header = ["arm", *spent, "mean", "95 % interval", "seeds", *(["beside"] if any(own) else [])]
            cells = [[*row, more or NONE] if any(own) else row for row, more in zip(rows, own, strict=True)]
            blocks.append(Table(caption, header, cells, frozenset({len(header) - 1} if any(own) else ())))
    return Section("evaluations", "Evaluations", blocks)


def _card(record: StudyRecord, verdict: VerdictRecord) -> Card:
    kind, unit = tone(verdict), record.unit(verdict.metric)
    return Card(
        tone=kind,
        sign=SIGNS[kind],
        expected=expected(verdict, unit),
        outcome=verdict.outcome,
        sentence=sentence(record, verdict),
        panel=estimates.difference(verdict, unit),
    )


def hypotheses(record: StudyRecord) -> Section:
    """Each hypothesis with its verdict."""
    if not record.verdicts:
        return Section("hypotheses", "Hypotheses")

    def row(v: VerdictRecord) -> list[str]:
        unit = record.unit(v.metric)
        return [
            f"{v.arm} \u2212 {v.against}", v.metric, v.direction, v.outcome, difference(v.estimate, unit),
            interval(v.low, v.high, unit, signed=True), number(v.standard_deviation, unit), p_value(v.p),
            p_value(v.p_holm), p_value(v.p_sign_flip), number(v.minimum_detectable, unit),
            interval(v.equivalence_low, v.equivalence_high, unit, signed=True), number(v.confirmable_margin, unit),
            str(v.seeds),
        ]  # fmt: skip

    header = ["difference", "on", "expected", "verdict", "estimate", "95 % interval", "SD of seeds", "p", "p (Holm)",
              "p (sign flip)", "detectable", "90 % interval", "confirmable margin", "seeds"]  # fmt: skip
    cards: list[ReportBlock] = [_card(record, verdict) for verdict in record.verdicts]
    caption = (
        "All declared hypotheses. Detectable: the difference that these seeds find in 80 of 100 studies. An "
        "equivalence is found where its 90 % interval lies within the margin; confirmable: the smallest margin that "
        "they find as often."
    )
    return Section(
        "hypotheses",
        "Hypotheses",
        [*cards, Table(caption, header, [row(v) for v in record.verdicts], frozenset({1, 2, 3}))],
    )


def by_part(record: StudyRecord) -> Section:
    """What is known of short and of long texts apart, or of other parts of a metric's items."""
    figure = parts.parts_figure(record)
    tables = [parts_table(record, metric) for metric in parts.with_parts(record)]
    return Section("parts", "By part of the items", [Picture(figure), *tables] if figure else [])


def by_phenomenon(record: StudyRecord) -> Section:
    """Heat maps of what has strata."""
    blocks: list[ReportBlock] = []
    for metric in strata.with_strata(record):
        blocks.append(strata_table(record, metric))
        whole = strata_table(record, metric, paradigms=True)
        if len(whole.rows) > len(blocks[-1].rows):  # pyright: ignore[reportAttributeAccessIssue]
            blocks.append(Folded(f"{metric.name} by paradigm ({len(whole.rows)})", [whole]))
    return Section("phenomena", "By phenomenon", blocks)


def learning_rates(record: StudyRecord) -> Section:
    """The sweep."""
    figure = learning.learning_rates(record)
    if figure is None:
        return Section("learning-rates", "Learning rates")
    edge = sentences.rates_at_the_edge(record)
    warning = f"At the edge of the grid: {', '.join(edge)}. A better rate may lie beyond it."
    return Section(
        "learning-rates", "Learning rates", [Picture(figure), *([Prose(warning, "warning")] if edge else [])]
    )


def all_sections(record: StudyRecord) -> list[Section]:
    """The report, from its answer to the command that makes it again, without sections that have nothing to show."""
    sections: list[Callable[[StudyRecord], Section]] = [
        in_short, evaluations, by_part, curves, by_phenomenon, learning_rates, hypotheses, ground, cost,
        lambda record: Section("samples", "One text under every objective", samples.windows(record)),
        lambda record: Section("continuations", "What the runs generate", samples.continuations(record)),
        all_runs, reproduce,
    ]  # fmt: skip
    return [part for section in sections if (part := section(record)).blocks]
