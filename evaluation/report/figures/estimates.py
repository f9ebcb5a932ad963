"""What was estimated, with its intervals: every metric of every arm, and differences. Every axis has its unit."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from evaluation.record.record import MetricRecord, StudyRecord, SummaryRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report.figures.theme import DOWN, INK, RIGHT, SOFT, UP, Figure, Panel, colour, mark
from evaluation.report.text.formatting import BOUND, MINUS, interval, number, score, unit_of_difference, within

ROW, AROUND = 40.0, 74.0  # points a row of an evaluation takes, and title and axis


def _set_unit(axes: Axes, label: str, unit: str) -> None:
    """The horizontal axis: fractions as percentages where the unit is "%"."""
    axes.xaxis.set_major_locator(MaxNLocator(4))
    if unit == "%":
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set_xlabel(label)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)


def _scores(record: StudyRecord, label: str, metric: str) -> list[float]:
    found = [run.scores.get(metric) for run in record.runs_of(label)]
    return [one.mean for one in found if one is not None and one.mean is not None]


def _draw_evaluation(record: StudyRecord, metric: MetricRecord, found: Sequence[SummaryRecord], axes: Axes) -> None:
    order = {arm.label: series for series, arm in enumerate(record.arms)}
    axes.set_title(metric.name)
    for place, summary in enumerate(found):
        assert summary.mean is not None
        series, y, value = order[summary.arm], -float(place), score(summary, metric.unit)
        around = interval(summary.low, summary.high, metric.unit) if summary.low is not None else ""
        axes.annotate(
            f"{summary.arm}  {value} {around}", (0, y), (0, 9), xycoords=("axes fraction", "data"),
            textcoords="offset points", fontsize=8.5, color=INK,
        )  # fmt: skip
        if summary.low is not None and summary.high is not None:
            axes.plot(within(summary.low, summary.high, metric.unit), [y, y], color=colour(series), linewidth=2.2)
        seeds = _scores(record, summary.arm, metric.name)
        for one in seeds if len(seeds) > 1 else []:
            mark(axes, one, y - 0.28, series, size=3, hollow=True)
        mark(axes, summary.mean, y, series, size=7, text=f"{summary.arm}: {value} {metric.unit} {around}")
    if metric.chance is not None:
        axes.axvline(metric.chance, color=SOFT, linestyle=(0, (1, 3)), linewidth=1)
        axes.annotate("chance", (metric.chance, 0), (3, 3), xycoords=("data", "axes fraction"),
                      textcoords="offset points", fontsize=8.5, color=SOFT)  # fmt: skip
    axes.set_ylim(-len(found) + 0.4, 0.85)
    way = "higher is better" if metric.higher_is_better else "lower is better"
    _set_unit(axes, f"{metric.unit or 'score'} ({way})", metric.unit)


def evaluations(record: StudyRecord) -> Figure | None:
    """Every metric by which arms may be ranked, a panel each."""
    panels = []
    for metric in record.metrics:
        found = [s for s in record.summaries if s.metric == metric.name and s.budget is None and s.mean is not None]
        if metric.rankable and found and not metric.part_of:
            label = f"{metric.name} of every arm in {metric.unit or 'its score'}, with 95 % intervals"
            draw = partial(_draw_evaluation, record, metric, found)
            panels.append(Panel(label, 330, AROUND + ROW * len(found), draw, left=RIGHT))
    caption = (
        "Filled marks are means over seeds, bars their 95 % intervals, small hollow marks the single seeds."
        if len(record.seeds) > 1
        else "One seed: there are no intervals, and a distance between two marks may be that of two seeds of one arm."
    )
    if any(summary.bound for summary in record.summaries):
        caption += f" {BOUND.strip()} marks an upper bound, which proves something only where it is the lower score."
    title = "Evaluations that are valid for every objective"
    return Figure("evaluations", title, caption, tuple(panels), columns=3) if panels else None


def _draw_difference(verdict: VerdictRecord, unit: str, axes: Axes) -> None:
    assert verdict.estimate is not None
    limits = [verdict.low, verdict.high, verdict.minimum_detectable, verdict.margin]
    reach = max(abs(value) for value in (verdict.estimate, *limits) if value is not None) or 1.0
    axes.set_xlim(-1.12 * reach, 1.12 * reach)
    axes.set_ylim(-1, 1)
    if verdict.minimum_detectable is not None:
        axes.axvspan(-verdict.minimum_detectable, verdict.minimum_detectable, color=SOFT, alpha=0.14, linewidth=0)
        axes.set_title("grey: below the detectable difference", color=SOFT, fontsize=8.5, fontweight="normal")
    for edge in (-verdict.margin, verdict.margin) if verdict.margin else ():
        axes.axvline(edge, color=DOWN, linestyle=(0, (4, 3)), linewidth=1.4)
    axes.axvline(0, color=INK, linewidth=1)
    if verdict.low is not None and verdict.high is not None:
        axes.plot([verdict.low, verdict.high], [0, 0], color=UP, linewidth=2.4)
    around = interval(verdict.low, verdict.high, unit, signed=True)
    mark(axes, verdict.estimate, 0, 0, size=7, text=f"{number(verdict.estimate, unit)} {around}")
    _set_unit(axes, f"{verdict.arm} {MINUS} {verdict.against}, {unit_of_difference(unit)}", unit)


def difference(verdict: VerdictRecord, unit: str) -> Panel | None:
    """A hypothesis's estimate with its interval, about zero, over what the seeds cannot distinguish from zero.

    None where there is no verdict: an estimate alone would be read as one.
    """
    if verdict.estimate is None or verdict.reason:
        return None
    label = f"{verdict.arm} minus {verdict.against} on {verdict.metric}, in {unit_of_difference(unit)}"
    return Panel(label, 330, 106, partial(_draw_difference, verdict, unit), left=RIGHT)


def hypotheses(record: StudyRecord) -> Figure | None:
    """The differences of all hypotheses, for the files."""
    drawn = [difference(verdict, record.unit(verdict.metric)) for verdict in record.verdicts]
    panels = tuple(panel for panel in drawn if panel is not None)
    caption = (
        "Estimate and 95 % interval of each declared difference. Grey: differences that these seeds would miss in more "
        "than 20 of 100 studies. Dashed: the margin of an equivalence."
    )
    return Figure("hypotheses", "Declared differences", caption, panels, columns=2) if panels else None
