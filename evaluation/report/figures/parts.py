"""Where arms differ, by parts of a metric's items, such as short and long texts."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from evaluation.record.record import MetricRecord, StudyRecord, SummaryRecord
from evaluation.report.figures.theme import DASHES, Figure, Panel, colour, form, mark
from evaluation.report.text.formatting import interval, score, within

APART = 0.09  # between the marks of two arms, of the distance between two parts
ROOM = 0.13  # of the height, for a line of the legend above what is drawn


def with_parts(record: StudyRecord) -> list[MetricRecord]:
    """The metrics that are also known of parts of their items."""
    return [metric for metric in record.metrics if record.parts_of(metric.name)]


def means_of_parts(record: StudyRecord, arm: str, parts: Sequence[MetricRecord]) -> list[SummaryRecord | None]:
    """An arm's mean on each part, None where it has none."""
    of_arm = {s.metric: s for s in record.summaries if s.arm == arm and s.budget is None and s.mean is not None}
    return [of_arm.get(part.name) for part in parts]


def _draw_parts(record: StudyRecord, metric: MetricRecord, axes: Axes) -> None:
    parts, lines = record.parts_of(metric.name), 0
    axes.set_title(metric.name)
    for series, arm in enumerate(record.arms):
        found = [(n, s) for n, s in enumerate(means_of_parts(record, arm.label, parts)) if s is not None]
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
