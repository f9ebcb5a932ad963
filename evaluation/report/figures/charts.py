"""The figures of a report, each a row of charts made of a record alone. Every axis has its unit."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from evaluation.record.kinds import Measure
from evaluation.record.record import ArmRecord, MetricRecord, PointRecord, RunRecord, StudyRecord, SummaryRecord
from evaluation.record.verdict import VerdictRecord
from evaluation.report.figures.theme import DASHES, DOWN, INK, RIGHT, SOFT, UP, Panel, colour, form, mark
from evaluation.report.text.formatting import BOUND, MINUS, interval, number, score, unit_of_difference, within
from training.monitoring.display import short

AXES: dict[Measure, str] = {
    "raw_tokens": "raw tokens read",
    "flops": "training FLOPs",
    "target_tokens": "target tokens (labels)",
}
ROW, AROUND = 40.0, 74.0  # points a row of an evaluation takes, and title and axis


@dataclass(frozen=True)
class Figure:
    """Charts that belong together.

    Attributes:
        name: of its file.
        title, caption: plain sentences.
        panels: side by side where there is room.
        columns: of them in a row, in its file.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 4


def _common(runs: Sequence[RunRecord]) -> list[list[PointRecord]]:
    """The points of several runs, by the steps that all of them have."""
    by_step = [{point.step: point for point in run.curve if point.loss is not None} for run in runs]
    steps = sorted(set.intersection(*map(set, by_step))) if by_step else []
    return [[points[step] for points in by_step] for step in steps]


def _losses_of(points: Sequence[PointRecord]) -> list[float]:
    return [point.loss for point in points if point.loss is not None]


def _draw_losses(record: StudyRecord, arm: ArmRecord, series: int, measure: Measure, axes: Axes) -> None:
    runs = list(record.runs_of(arm.label))
    losses = [loss for run in runs for loss in _losses_of(run.curve)]
    unigram = record.text.unigram_entropy
    axes.set_title(arm.label)
    axes.set_xlabel(AXES[measure])
    axes.set_ylabel("nats a target")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value) if value else "0"))
    axes.grid(visible=True)
    if 0.85 * min(losses) <= unigram <= 1.15 * max(losses):
        axes.axhline(unigram, color=SOFT, linestyle=(0, (1, 3)), linewidth=1)
        ends = [min(curve[at] for run in runs if (curve := _losses_of(run.curve))) for at in (0, -1)]
        side = int(abs(ends[1] - unigram) > abs(ends[0] - unigram))  # where the curve is farther away
        axes.annotate(
            "unigram entropy", (side, unigram), (0, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha=("left", "right")[side], color=SOFT, fontsize=8.5,
        )  # fmt: skip
    whole = [run for run in runs if run.status == "finished"]
    steps = _common(whole)
    if len(steps) > 1:
        across = [statistics.fmean(getattr(point, measure) for point in same) for same in steps]
        values = [_losses_of(same) for same in steps]
        means = [statistics.fmean(same) for same in values]
        axes.fill_between(across, [min(v) for v in values], [max(v) for v in values], color=colour(series), alpha=0.16,
                          linewidth=0)  # fmt: skip
        axes.plot(across, means, color=colour(series), linestyle=DASHES[form(series)])
        for at, mean in zip(across, means, strict=True):
            mark(axes, at, mean, series, size=3.5, text=f"{short(at)} {AXES[measure]}: {number(mean)} nats a target")
    for run in runs if len(steps) <= 1 else [run for run in runs if run.status != "finished"]:
        line = [(getattr(point, measure), point.loss) for point in run.curve if point.loss is not None]
        axes.plot([x for x, _ in line], [loss for _, loss in line], color=SOFT, linestyle=(0, (3, 3)), linewidth=1.2)
        if line and run.status == "failed":
            axes.plot(line[-1][0], line[-1][1], marker="x", color=INK)


def losses(record: StudyRecord, measure: Measure) -> Figure | None:
    """The validation losses of every arm on a pair of axes of its own (law 7), or None where nothing was measured."""
    panels = tuple(
        Panel(
            f"Validation loss of {arm.label} in nats a target against {AXES[measure]}", 300, 225,
            partial(_draw_losses, record, arm, series, measure),
        )
        for series, arm in enumerate(record.arms)
        if any(_losses_of(run.curve) for run in record.runs_of(arm.label))
    )  # fmt: skip
    band = "The line is the mean over the finished seeds, the band reaches from the lowest to the highest. "
    caption = (
        f"Loss on held-out text in nats a target, against {AXES[measure]}. {band if len(record.seeds) > 1 else ''}"
        f"A thin dashed line is a run that did not finish. Each panel has a scale of its own: every objective has "
        f"prediction targets of its own, so that heights in different panels are not to be compared."
    )
    return Figure(f"losses-{measure}", f"Validation loss against {AXES[measure]}", caption, panels) if panels else None


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


def _draw_learning_rates(record: StudyRecord, arm: ArmRecord, series: int, axes: Axes) -> None:
    runs = [run for run in record.tuning if run.arm == arm.label]
    rates = sorted({run.learning_rate for run in runs})
    means = []
    axes.set_xscale("log")
    axes.set_title(arm.label)
    for rate in rates:
        same = [run.loss for run in runs if run.learning_rate == rate and run.loss is not None]
        means += [(rate, statistics.fmean(same))] if same else []
        for loss in same:
            mark(axes, rate, loss, series, size=3.5, hollow=True, text=f"{rate:g}: {number(loss)} nats a target")
        if len(same) < sum(run.learning_rate == rate for run in runs):
            place = {"xycoords": ("data", "axes fraction"), "ha": "center", "fontsize": 8.5, "color": INK}
            axes.annotate("\u00d7 diverged", (rate, 0.93), **place)
    axes.plot(*zip(*means, strict=True), color=colour(series), linestyle=DASHES[form(series)])
    if arm.learning_rate in rates:
        axes.axvline(arm.learning_rate, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(rates, [f"{rate:.0e}".replace("e-0", f"e{MINUS}") for rate in rates])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("learning rate")
    axes.set_ylabel("nats a target")
    axes.grid(visible=True)


def learning_rates(record: StudyRecord) -> Figure | None:
    """The sweep over learning rates, a panel an arm."""
    panels = tuple(
        Panel(f"Validation loss of {arm.label} in nats a target against the learning rate", 300, 225,
              partial(_draw_learning_rates, record, arm, series))
        for series, arm in enumerate(record.arms)
        if any(run.arm == arm.label and run.loss is not None for run in record.tuning)
    )  # fmt: skip
    caption = (
        "Loss of each arm's own objective over the learning rates that all arms were tuned over, on seeds that were "
        "not used again. Dashed: the rate that the arm ran with."
    )
    return Figure("learning-rates", "Sensitivity to the learning rate", caption, panels) if panels else None
