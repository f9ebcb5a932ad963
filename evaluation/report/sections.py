"""The sections of a report, each a function of the record: what was done, what was found, what it cost."""

import math
import statistics
from collections.abc import Callable

from evaluation.record.record import ArmRecord, RunRecord, StudyRecord, SummaryRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report import samples
from evaluation.report.blocks import (
    Card,
    Choice,
    Code,
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
from evaluation.report.summary import answers, overview
from evaluation.report.tables import parts_table, strata_table
from evaluation.report.text import sentences
from evaluation.report.text.formatting import NONE, amount, apart, difference, interval, memory, number, p_value, score
from evaluation.report.text.verdicts import SIGNS, expected, sentence, tone
from training.monitoring.display import duration, short


def _labels(record: StudyRecord) -> dict[str, TableCell]:
    return {arm.label: TableCell(arm.label, series=series) for series, arm in enumerate(record.arms)}


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


def ground(record: StudyRecord) -> Section:
    """What was compared, on what text, with how many parameters and FLOPs."""
    text, first = record.text, record.arms[0].flops_per_window
    labels = _labels(record)

    def parameters(arm: ArmRecord) -> TableCell:
        beside = tuple(f"{short(count)} of them the {role}'s" for role, count in arm.beside.items())
        return TableCell(short(arm.parameters), below=beside)

    def row(arm: ArmRecord) -> list[str | TableCell]:
        encoder, decoder = arm.layers
        rate = f"{arm.learning_rate:g}" if arm.learning_rate else "by seed"
        return [
            labels[arm.label], arm.objective, f"{encoder} + {decoder}", parameters(arm), short(arm.non_embedding),
            short(arm.active), short(arm.flops_per_window), f"{arm.flops_per_window / first:.2f}",
            f"{arm.targets_per_raw_token:.2f}", rate,
        ]  # fmt: skip

    arms = Table(
        f"Arms. FLOPs are those of training (three forward passes), head and cross-attention included, for a window of "
        f"{text.window} raw tokens; relative to {record.arms[0].label}.",
        ["arm", "objective", "layers (enc + dec)", "parameters", "non-embedding", "active a token", "FLOPs a window",
         "relative", "targets a raw token", "learning rate"],
        [row(arm) for arm in record.arms],
        frozenset({1}),
    )  # fmt: skip
    pairing, sound = sentences.pairing(record)
    corpus = (
        f"{text.corpus}: {text.documents:,} documents, {short(text.train_tokens)} training tokens "
        f"({short(text.train_bytes)} bytes), {short(text.validation_tokens)} held out. {text.tokenizer} tokenizer of "
        f"{text.vocab_size:,} tokens for all arms. A model that knows nothing has {number(text.ln_vocabulary)} nats a "
        f"token (perplexity {math.exp(text.ln_vocabulary):,.0f}), one that knows how frequent tokens are "
        f"{number(text.unigram_entropy)} (perplexity {math.exp(text.unigram_entropy):,.0f})."
    )
    configs = [
        " ".join(
            [f"{arm.label}:", *(arm.config or [NONE]), *(f"--{key} {value}" for key, value in arm.settings.items())]
        )
        for arm in record.arms
    ]
    return Section("ground", "What was compared, and on what", [
        Prose(corpus), arms, Prose(pairing, "note" if sound else "warning"),
        *([Points("Deviations from the protocol", record.deviations)] if record.deviations else []),
        Folded("Configurations of the arms", [Code("\n".join(configs))]),
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
    figure, labels = estimates.evaluations(record), _labels(record)
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


def cost(record: StudyRecord) -> Section:
    """Time, speed and memory, the mean of each arm's runs."""
    labels, rows = _labels(record), []
    for arm in record.arms:
        costs = [run.cost for run in record.runs_of(arm.label) if run.cost is not None and run.status == "finished"]
        if not costs:
            rows.append([labels[arm.label], *[NONE] * 4])
            continue
        speeds = [cost.tokens_per_second for cost in costs if cost.tokens_per_second is not None]
        peaks = [cost.peak_memory for cost in costs if cost.peak_memory is not None]
        rows.append([
            labels[arm.label], duration(statistics.fmean(cost.seconds for cost in costs)),
            duration(sum(cost.seconds for cost in costs)), short(statistics.fmean(speeds)) if speeds else NONE,
            memory(max(peaks) if peaks else None),
        ])  # fmt: skip
    caption = f"Cost of the finished runs{' on ' + record.hardware if record.hardware else ''}."
    header = ["arm", "time a run", "time in all", "raw tokens a second", "peak memory"]
    return Section("cost", "Cost", [Table(caption, header, rows)])


def all_runs(record: StudyRecord) -> Section:
    """Every run, whatever became of it."""
    labels = _labels(record)

    def row(run: RunRecord) -> list[str | TableCell]:
        spent = sentences.totals(run)
        budget = [short(run.budget) if run.budget is not None else "whole"] if branched else []
        return [
            labels[run.arm], str(run.seed), *budget, TableCell(run.status, tone=f"status {run.status}"),
            spent["raw_tokens"], spent["flops"], spent["target_tokens"], spent["loss"],
            duration(run.cost.seconds) if run.cost else NONE,
            (run.windows_sha256 or NONE)[:12], *([run.reason or NONE] if has_reasons else []),
        ]  # fmt: skip

    branched, has_reasons = any(run.budget is not None for run in record.runs), any(run.reason for run in record.runs)
    header = ["arm", "seed", *(["budget"] if branched else []), "status", "raw tokens", "FLOPs", "targets",
              "its own loss", "time", "windows", *(["reason"] if has_reasons else [])]  # fmt: skip
    finished = sum(run.status == "finished" for run in record.runs)
    caption = (
        f"All {len(record.runs)} runs, {finished} of them finished. Losses of different arms are not to be ranked."
    )
    table = Table(
        caption, header, [row(run) for run in record.runs], frozenset(range(header.index("windows"), len(header)))
    )
    return Section("runs", "All runs", [table])


def reproduce(record: StudyRecord) -> Section:
    """The command and the versions."""
    versions = Table(
        "Versions.", ["of", "version"], [[name, version] for name, version in record.versions.items()], frozenset({1})
    )
    ended = [Prose(f"Finished {record.finished}.")] if record.finished else []
    return Section("reproduce", "Reproducing this", [Code(record.command), *ended, versions])


def all_sections(record: StudyRecord) -> list[Section]:
    """The report, from its answer to the command that makes it again, without sections that have nothing to show."""
    sections: list[Callable[[StudyRecord], Section]] = [
        in_short, evaluations, by_part, curves, by_phenomenon, learning_rates, hypotheses, ground, cost,
        lambda record: Section("samples", "One text under every objective", samples.windows(record)),
        lambda record: Section("continuations", "What the runs generate", samples.continuations(record)),
        all_runs, reproduce,
    ]  # fmt: skip
    return [part for section in sections if (part := section(record)).blocks]
