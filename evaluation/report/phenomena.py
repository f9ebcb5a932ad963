"""Where arms differ: strata by phenomenon as coloured squares, and parts of a metric's items as lines."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from evaluation.record.record import MetricRecord, StudyRecord, SummaryRecord
from evaluation.report.blocks import Table, TableCell
from evaluation.report.figures.charts import Figure
from evaluation.report.figures.theme import ABOVE, BELOW, DASHES, DOWN, UP, Panel, colour, form, mark
from evaluation.report.text.formatting import NONE, interval, number, score, within

APART = 0.09  # between the marks of two arms, of the distance between two parts
ROOM = 0.13  # of the height, for a line of the legend above what is drawn

Means = dict[str, dict[str, float]]  # by row, then by arm


def means(record: StudyRecord, metric: str, *, paradigms: bool = False) -> Means:
    """Means over seeds by phenomenon and arm, each phenomenon the mean of its paradigms; or by paradigm."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in record.runs:
        score = run.scores.get(metric) if run.budget is None else None
        groups: dict[str, list[float]] = defaultdict(list)
        for name, value in (score.strata if score else {}).items():
            groups[name if paradigms else name.split("/")[0]].append(value)
        for name, values in groups.items():
            found[name][run.arm].append(statistics.fmean(values))
    return {
        row: {arm: statistics.fmean(values) for arm, values in by_arm.items()} for row, by_arm in sorted(found.items())
    }


def with_strata(record: StudyRecord) -> list[MetricRecord]:
    """The metrics that have more than one stratum."""
    return [
        metric
        for metric in record.metrics
        if metric.rankable
        and any(len(run.scores[metric.name].strata) > 1 for run in record.runs if metric.name in run.scores)
    ]


def _middle(metric: MetricRecord, rows: Means) -> tuple[float, float]:
    """The value without colour, and the distance from it at which colour is full."""
    values = [value for by_arm in rows.values() for value in by_arm.values()]
    middle = metric.chance if metric.chance is not None else statistics.fmean(values)
    return middle, max((abs(value - middle) for value in values), default=0.0) or 1.0


def _side(metric: MetricRecord, value: float, middle: float) -> str:
    return "up" if (value >= middle) == metric.higher_is_better else "down"


def _arms(record: StudyRecord, rows: Means) -> list[str]:
    """The arms that have a value in some row."""
    return [arm.label for arm in record.arms if any(arm.label in by_arm for by_arm in rows.values())]


def table(record: StudyRecord, metric: MetricRecord, *, paradigms: bool = False) -> Table:
    """The heat map as a table: better than chance, or than the mean, in one colour and worse in the other."""
    rows = means(record, metric.name, paradigms=paradigms)
    middle, reach = _middle(metric, rows)
    arms = _arms(record, rows)

    def cell(value: float | None) -> TableCell:
        if value is None:
            return TableCell(NONE)
        share = round(62 * min(1.0, abs(value - middle) / reach))
        shade = f"background:color-mix(in srgb,var(--{_side(metric, value, middle)}) {share}%,transparent)"
        return TableCell(number(value, metric.unit), style=shade)

    body = [[row.replace("_", " "), *(cell(by_arm.get(arm)) for arm in arms)] for row, by_arm in rows.items()]
    against = "chance" if metric.chance is not None else "the mean of all cells"
    what = "paradigm" if paradigms else "phenomenon"
    caption = (
        f"{metric.name}{', ' + metric.unit if metric.unit else ''}, by {what}, mean over seeds: blue is better than "
        f"{against}, orange worse."
    )
    return Table(caption, [what, *arms], body)


def _draw_heat_map(metric: MetricRecord, rows: Means, arms: Sequence[str], axes: Axes) -> None:
    middle, reach = _middle(metric, rows)
    axes.set_axis_off()
    axes.set_xlim(0, len(arms))
    axes.set_ylim(len(rows), 0)
    for column, arm in enumerate(arms):
        axes.text(column + 0.5, -0.3, arm, ha="center", fontweight="bold")
    for place, (row, by_arm) in enumerate(rows.items()):
        axes.text(-0.08, place + 0.5, row.replace("_", " "), ha="right", va="center")
        for column, arm in enumerate(arms):
            value = by_arm.get(arm)
            if value is not None:
                share = 0.62 * min(1.0, abs(value - middle) / reach)
                ink = UP if _side(metric, value, middle) == "up" else DOWN
                axes.add_patch(Rectangle((column, place), 0.97, 0.94, color=ink, alpha=share, linewidth=0))
            axes.text(column + 0.5, place + 0.5, number(value, metric.unit), ha="center", va="center")


def heat_map(record: StudyRecord, metric: MetricRecord) -> Figure:
    """The same by phenomenon, for the files."""
    rows, arms = means(record, metric.name), _arms(record, means(record, metric.name))
    unit = metric.unit or "score"
    panel = Panel(
        f"{metric.name} by phenomenon and arm, {unit}",
        200 + 96 * len(arms),
        ABOVE + BELOW + 24 * len(rows),
        partial(_draw_heat_map, metric, rows, arms),
        left=190,
    )
    name = f"phenomena-{metric.name.replace('/', '-')}"
    return Figure(name, f"{metric.name} by phenomenon, {unit}", "Means over seeds.", (panel,), columns=1)


# --- parts of a metric's items ---


def with_parts(record: StudyRecord) -> list[MetricRecord]:
    """The metrics that are also known of parts of their items."""
    return [metric for metric in record.metrics if record.parts_of(metric.name)]


def _means_of(record: StudyRecord, arm: str, parts: Sequence[MetricRecord]) -> list[SummaryRecord | None]:
    """An arm's mean on each part, None where it has none."""
    of_arm = {s.metric: s for s in record.summaries if s.arm == arm and s.budget is None and s.mean is not None}
    return [of_arm.get(part.name) for part in parts]


def _draw_parts(record: StudyRecord, metric: MetricRecord, axes: Axes) -> None:
    parts, lines = record.parts_of(metric.name), 0
    axes.set_title(metric.name)
    for series, arm in enumerate(record.arms):
        found = [(n, s) for n, s in enumerate(_means_of(record, arm.label, parts)) if s is not None]
        if not found:
            continue
        shift = APART * (series - (len(record.arms) - 1) / 2)
        across, means = [place + shift for place, _ in found], [summary.mean or 0.0 for _, summary in found]
        axes.plot(across, means, color=colour(series), linestyle=DASHES[form(series)], label=arm.label)
        for x, mean, (place, summary) in zip(across, means, found, strict=True):
            around = interval(summary.low, summary.high, metric.unit)
            if summary.low is not None and summary.high is not None:
                axes.plot(
                    [x, x],
                    within(summary.low, summary.high, metric.unit),
                    color=colour(series),
                    linewidth=2.2,
                    alpha=0.6,
                )
            text = f"{arm.label}, {parts[place].part}: {score(summary, metric.unit)} {metric.unit} {around}"
            mark(axes, x, mean, series, size=6, text=text)
        lines += 1
    axes.set_xticks(range(len(parts)), [part.part for part in parts])
    axes.set_xlim(-0.5, len(parts) - 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if metric.unit == "%":
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set_ylabel(f"{metric.unit or 'score'} ({'higher' if metric.higher_is_better else 'lower'} is better)")
    axes.grid(visible=True)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + (high - low) * ROOM * -(-lines // 2))
    axes.legend(loc="upper left", ncols=2, frameon=False, fontsize=8.5, borderpad=0, handlelength=3)


def parts_figure(record: StudyRecord) -> Figure | None:
    """Every arm on every part of each metric that has parts, a panel a metric."""
    panels = tuple(
        Panel(
            f"{metric.name} of every arm by part, in {metric.unit or 'its score'}, with 95 % intervals",
            190 + 90 * len(record.parts_of(metric.name)), 290, partial(_draw_parts, record, metric), left=62,
        )
        for metric in with_parts(record)
    )  # fmt: skip
    caption = "Marks are means over seeds, bars their 95 % intervals; a line joins the marks of one arm."
    return Figure("parts", "By part of the items", caption, panels, columns=2) if panels else None


def parts_table(record: StudyRecord, metric: MetricRecord) -> Table:
    """Arms by parts: the mean, with its 95 % interval below."""
    parts = record.parts_of(metric.name)

    def cell(summary: SummaryRecord | None) -> TableCell:
        if summary is None:
            return TableCell(NONE)
        around = interval(summary.low, summary.high, metric.unit) if summary.low is not None else ""
        around = around.replace(" ", "\u00a0")  # in a narrow column
        return TableCell(score(summary, metric.unit), below=(around,) if around else ())

    rows = [
        [TableCell(arm.label, series=series), *map(cell, _means_of(record, arm.label, parts))]
        for series, arm in enumerate(record.arms)
    ]
    way = "higher" if metric.higher_is_better else "lower"
    caption = f"{metric.name}{', ' + metric.unit if metric.unit else ''}, by part ({way} is better): mean over seeds."
    return Table(caption, ["arm", *(part.part for part in parts)], rows)
