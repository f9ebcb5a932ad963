"""The figures of a report, each a row of drawings made of a record alone."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.record.kinds import Measure
from evaluation.record.record import ArmRecord, MetricRecord, PointRecord, RunRecord, StudyRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report.charts import DASHES, Chart, Scale, kind, padded, shortened, text_width
from evaluation.report.formatting import number
from training.monitoring.display import short

AXES: dict[Measure, str] = {
    "raw_tokens": "raw tokens read",
    "flops": "training FLOPs",
    "target_tokens": "target tokens (labels)",
}
LEFT, RIGHT, TOP, BOTTOM = 44.0, 14.0, 30.0, 40.0
ROW = 34.0


@dataclass(frozen=True)
class Figure:
    """Drawings that belong together.

    Attributes:
        name: of its files.
        title, caption: plain sentences.
        drawings: side by side where there is room.
        columns: of them in a row, in its file.
    """

    name: str
    title: str
    caption: str
    drawings: tuple[Chart, ...]
    columns: int = 4


def _frame(drawing: Chart, x: Scale, y: Scale, label: str, *, y_unit: str = "") -> None:
    """Grid, numbers and the name of the horizontal axis."""
    for tick in y.ticks():
        drawing.line([(x.start, y(tick)), (x.end, y(tick))], "rule", width=1)
        drawing.text(x.start - 6, y(tick) + 4, f"{tick:g}" if not y_unit else number(tick, y_unit), anchor="end")
    for tick in x.ticks(3):
        drawing.line([(x(tick), y.start), (x(tick), y.start + 4)], "soft", width=1)
        drawing.text(x(tick), y.start + 16, short(tick) if tick else "0", anchor="middle")
    drawing.text((x.start + x.end) / 2, y.start + 32, label, anchor="middle")


def _title(drawing: Chart, series: int, words: str) -> None:
    drawing.mark(LEFT - 34, 13, series, size=4.5)
    drawing.text(LEFT - 24, 17.5, shortened(words, drawing.width - LEFT), ink="ink", strong=True)


def _common(runs: Sequence[RunRecord]) -> list[list[PointRecord]]:
    """The points of several runs, by the steps that all of them have."""
    by_step = [{point.step: point for point in run.curve if point.loss is not None} for run in runs]
    steps = sorted(set.intersection(*map(set, by_step))) if by_step else []
    return [[points[step] for points in by_step] for step in steps]


def _loss_panel(record: StudyRecord, arm: ArmRecord, series: int, measure: Measure) -> Chart | None:
    runs = list(record.runs_of(arm.label))
    points = [point for run in runs for point in run.curve if point.loss is not None]
    if not points:
        return None
    unigram = record.text.unigram_entropy
    losses = [point.loss for point in points if point.loss is not None]
    landmarks = [unigram] if 0.85 * min(losses) <= unigram <= 1.15 * max(losses) else []
    drawing = Chart(300, 220, f"Validation loss of {arm.label} against {AXES[measure]}")
    low, high = padded([*losses, *landmarks])
    x = Scale(0, max(getattr(point, measure) for point in points), LEFT, drawing.width - RIGHT)
    y = Scale(low, high, drawing.height - BOTTOM, TOP)
    _frame(drawing, x, y, AXES[measure])
    _title(drawing, series, arm.label)
    for value in landmarks:
        drawing.line([(x.start, y(value)), (x.end, y(value))], "soft", width=1, dash="1 3")
        drawing.text(x.end, y(value) - 4, "unigram entropy", anchor="end")
    whole = [run for run in runs if run.status == "finished"]
    steps = _common(whole)
    if len(steps) > 1:
        across = [statistics.fmean(getattr(point, measure) for point in same) for same in steps]
        values = [[point.loss for point in same if point.loss is not None] for same in steps]
        if len(whole) > 1:
            drawing.band([(x(at), y(min(v))) for at, v in zip(across, values, strict=True)],
                         [(x(at), y(max(v))) for at, v in zip(across, values, strict=True)], kind(series))  # fmt: skip
        line = [(x(at), y(statistics.fmean(v))) for at, v in zip(across, values, strict=True)]
        drawing.line(line, kind(series), dash=DASHES[series % len(DASHES)])
        for at, value, place in zip(across, values, line, strict=True):
            tip = f"{short(at)} {AXES[measure]}: {number(statistics.fmean(value))} nats"
            drawing.mark(*place, series, size=2.6, tip=tip)
    for run in runs if len(steps) <= 1 else [run for run in runs if run.status != "finished"]:
        line = [(x(getattr(point, measure)), y(point.loss)) for point in run.curve if point.loss is not None]
        drawing.line(line, "soft", width=1.2, dash="3 3")
        if line and run.status == "failed":
            drawing.text(line[-1][0], line[-1][1] + 4, "\u00d7", ink="ink", anchor="middle", strong=True)
    return drawing


def losses(record: StudyRecord, measure: Measure) -> Figure | None:
    """The validation losses of every arm on a pair of axes of its own (law 7), or None where nothing was measured."""
    panels = [_loss_panel(record, arm, series, measure) for series, arm in enumerate(record.arms)]
    drawn = tuple(panel for panel in panels if panel is not None)
    band = "The line is the mean over the finished seeds, the band reaches from the lowest to the highest. "
    caption = (
        f"Loss on held-out text in nats a label, against {AXES[measure]}. {band if len(record.seeds) > 1 else ''}"
        f"A thin dashed line is a run that did not finish. Each panel has a scale of its own: every objective has "
        f"prediction targets of its own, so that heights in different panels are not to be compared."
    )
    return Figure(f"losses-{measure}", f"Validation loss against {AXES[measure]}", caption, drawn) if drawn else None


def _values(record: StudyRecord, label: str, metric: str) -> list[float]:
    scores = [run.scores.get(metric) for run in record.runs_of(label)]
    return [score.mean for score in scores if score is not None and score.mean is not None]


def _axis(drawing: Chart, x: Scale, bottom: float, label: str, unit: str, *, signed: bool = False) -> None:
    """A horizontal axis below rows."""
    drawing.line([(x.start, bottom), (x.end, bottom)], "soft", width=1)
    for tick in x.ticks():
        drawing.line([(x(tick), bottom), (x(tick), bottom + 4)], "soft", width=1)
        value = 100 * tick if unit == "%" else tick
        sign = "+" if signed and tick > 0 else ""
        drawing.text(x(tick), bottom + 16, f"{sign}{value:g}".replace("-", "\u2212"), anchor="middle")
    drawing.text((x.start + x.end) / 2, bottom + 32, label, anchor="middle")


def _evaluation_panel(record: StudyRecord, metric: MetricRecord) -> Chart | None:
    found = [s for s in record.summaries if s.metric == metric.name and s.budget is None and s.mean is not None]
    if not found:
        return None
    order = {arm.label: series for series, arm in enumerate(record.arms)}
    label = min(132.0, max(text_width(summary.arm) for summary in found) + 26)
    drawing = Chart(380, TOP + ROW * len(found) + BOTTOM + 4, f"{metric.name} of every arm, with 95 % intervals")
    seeds = {summary.arm: _values(record, summary.arm, metric.name) for summary in found}
    numbers = [v for s in found for v in (s.mean, s.low, s.high, *seeds[s.arm], metric.chance) if v is not None]
    x, bottom = Scale(*padded(numbers), label, drawing.width - RIGHT), drawing.height - BOTTOM
    drawing.text(4, 17.5, shortened(metric.name, drawing.width - 8), ink="ink", strong=True)
    if metric.chance is not None:
        drawing.line([(x(metric.chance), TOP - 2), (x(metric.chance), bottom)], "soft", width=1, dash="1 3")
        drawing.text(x(metric.chance) + 4, bottom - 5, "chance")
    for place, summary in enumerate(found):
        assert summary.mean is not None
        series, y = order[summary.arm], TOP + ROW * place + 13
        drawing.mark(9, y, series, size=4)
        drawing.text(20, y + 4, shortened(summary.arm, label - 26), ink="ink")
        if summary.low is not None and summary.high is not None:
            drawing.line([(x(summary.low), y), (x(summary.high), y)], kind(series), width=2.2)
        tip = f"{summary.arm}: {number(summary.mean, metric.unit)} {metric.unit}"
        for value in seeds[summary.arm] if len(seeds[summary.arm]) > 1 else []:
            drawing.mark(x(value), y + 11, 0 if series % 6 == 0 else series, size=2, hollow=True)
        drawing.mark(x(summary.mean), y, series, size=5, tip=tip)
    way = "higher is better" if metric.higher_is_better else "lower is better"
    _axis(drawing, x, bottom, f"{metric.unit or 'score'} ({way})", metric.unit)
    return drawing


def evaluations(record: StudyRecord) -> Figure | None:
    """Every metric by which arms may be ranked, a panel each."""
    panels = [_evaluation_panel(record, metric) for metric in record.metrics if metric.rankable]
    drawn = tuple(panel for panel in panels if panel is not None)
    caption = (
        "Filled marks are means over seeds, bars their 95 % intervals, small hollow marks the single seeds."
        if len(record.seeds) > 1
        else "One seed: there are no intervals, and a distance between two marks may be that of two seeds of one arm."
    )
    title = "Evaluations that are valid for every objective"
    return Figure("evaluations", title, caption, drawn, columns=3) if drawn else None


def difference_strip(verdict: VerdictRecord, unit: str) -> Chart | None:
    """A hypothesis's estimate with its interval, about zero, over what the seeds cannot distinguish from zero."""
    if verdict.estimate is None:
        return None
    drawing = Chart(440, 92, f"{verdict.arm} minus {verdict.against} on {verdict.metric}")
    limits = [verdict.low, verdict.high, verdict.minimum_detectable, verdict.margin]
    reach = max(abs(value) for value in (verdict.estimate, *limits) if value is not None) or 1.0
    x, bottom = Scale(-1.12 * reach, 1.12 * reach, 14, drawing.width - 14), drawing.height - BOTTOM
    if verdict.minimum_detectable is not None:
        edge = verdict.minimum_detectable
        drawing.box(x(-edge), 16, x(edge) - x(-edge), bottom - 16, "soft", opacity=0.14)
        drawing.text(x(-edge) + 3, 12, "below the detectable difference")
    for edge in (-verdict.margin, verdict.margin) if verdict.margin else ():
        drawing.line([(x(edge), 16), (x(edge), bottom)], "down", width=1.4, dash="4 3")
    drawing.line([(x(0), 14), (x(0), bottom)], "ink", width=1)
    y = (16 + bottom) / 2
    if verdict.low is not None and verdict.high is not None:
        drawing.line([(x(verdict.low), y), (x(verdict.high), y)], "up", width=2.4)
    drawing.mark(x(verdict.estimate), y, 0, size=5)
    _axis(drawing, x, bottom, f"{verdict.arm} \u2212 {verdict.against}{', ' + unit if unit else ''}", unit, signed=True)
    return drawing


def hypotheses(record: StudyRecord) -> Figure | None:
    """The differences of all hypotheses, for the files."""
    strips = [difference_strip(verdict, record.unit(verdict.metric)) for verdict in record.verdicts]
    drawn = tuple(strip for strip in strips if strip is not None)
    caption = (
        "Estimate and 95 % interval of each declared difference. Grey: differences that these seeds would miss in more "
        "than 20 of 100 studies. Dashed: the margin of an equivalence."
    )
    return Figure("hypotheses", "Declared differences", caption, drawn, columns=2) if drawn else None


def learning_rates(record: StudyRecord) -> Figure | None:
    """The sweep over learning rates, a panel an arm."""
    drawn = []
    for series, arm in enumerate(record.arms):
        runs = [run for run in record.tuning if run.arm == arm.label]
        sound = [(run.learning_rate, run.loss) for run in runs if run.loss is not None]
        if not sound:
            continue
        rates = sorted({run.learning_rate for run in runs})
        drawing = Chart(300, 220, f"Validation loss of {arm.label} against the learning rate")
        x = Scale(rates[0], rates[-1], LEFT + 12, drawing.width - RIGHT - 12, log=True)
        y = Scale(*padded([loss for _, loss in sound]), drawing.height - BOTTOM, TOP)
        for tick in y.ticks():
            drawing.line([(LEFT, y(tick)), (drawing.width - RIGHT, y(tick))], "rule", width=1)
            drawing.text(LEFT - 6, y(tick) + 4, f"{tick:g}", anchor="end")
        means = []
        for rate in rates:
            drawing.text(x(rate), y.start + 16, f"{rate:.0e}".replace("e-0", "e\u2212"), anchor="middle")
            same = [loss for other, loss in sound if other == rate]
            means += [(x(rate), y(statistics.fmean(same)))] if same else []
            if len(same) < sum(run.learning_rate == rate for run in runs):
                anchor = "end" if rate == rates[-1] else "start" if rate == rates[0] else "middle"
                drawing.text(x(rate), TOP + 8, "\u00d7 diverged", anchor=anchor)
            for loss in same:
                drawing.mark(x(rate), y(loss), series, size=2.4, hollow=True)
        drawing.line(means, kind(series), dash=DASHES[series % len(DASHES)])
        if arm.learning_rate in rates:
            drawing.line([(x(arm.learning_rate), TOP), (x(arm.learning_rate), y.start)], "ink", width=1, dash="4 3")
        _title(drawing, series, arm.label)
        drawing.text((x.start + x.end) / 2, y.start + 32, "learning rate", anchor="middle")
        drawn.append(drawing)
    caption = (
        "Loss of each arm's own objective over the learning rates that all arms were tuned over, on seeds that were "
        "not used again. Dashed: the rate that the arm ran with."
    )
    return Figure("learning-rates", "Sensitivity to the learning rate", caption, tuple(drawn)) if drawn else None
