"""Where arms differ, by phenomenon: what a heat map is made of, and the heat map."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from evaluation.record.record import MetricRecord, StudyRecord
from evaluation.report.figures.theme import ABOVE, BELOW, DOWN, UP, Figure, Panel
from evaluation.report.text.formatting import number

Means = dict[str, dict[str, float]]  # by row, then by arm


def means_of(record: StudyRecord, metric: str, *, paradigms: bool = False) -> Means:
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


def middle_of(metric: MetricRecord, rows: Means) -> tuple[float, float]:
    """The value without colour, and the distance from it at which colour is full."""
    values = [value for by_arm in rows.values() for value in by_arm.values()]
    middle = metric.chance if metric.chance is not None else statistics.fmean(values)
    return middle, max((abs(value - middle) for value in values), default=0.0) or 1.0


def side_of(metric: MetricRecord, value: float, middle: float) -> str:
    return "up" if (value >= middle) == metric.higher_is_better else "down"


def arms_in(record: StudyRecord, rows: Means) -> list[str]:
    """The arms that have a value in some row."""
    return [arm.label for arm in record.arms if any(arm.label in by_arm for by_arm in rows.values())]


def _draw_heat_map(metric: MetricRecord, rows: Means, arms: Sequence[str], axes: Axes) -> None:
    middle, reach = middle_of(metric, rows)
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
                ink = UP if side_of(metric, value, middle) == "up" else DOWN
                axes.add_patch(Rectangle((column, place), 0.97, 0.94, color=ink, alpha=share, linewidth=0))
            axes.text(column + 0.5, place + 0.5, number(value, metric.unit), ha="center", va="center")


def heat_map(record: StudyRecord, metric: MetricRecord) -> Figure:
    """The same by phenomenon, for the files."""
    rows, arms = means_of(record, metric.name), arms_in(record, means_of(record, metric.name))
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
