"""How arms learned: losses over what was read, and over learning rates, a panel an arm. Every axis has its unit."""

import statistics
from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from evaluation.record.kinds import Measure
from evaluation.record.record import ArmRecord, PointRecord, RunRecord, StudyRecord
from evaluation.report.figures.theme import DASHES, INK, SOFT, Figure, Panel, colour, form, mark
from evaluation.report.text.formatting import MINUS, number
from training.monitoring.display import short

AXES: dict[Measure, str] = {
    "raw_tokens": "raw tokens read",
    "flops": "training FLOPs",
    "target_tokens": "target tokens (labels)",
}


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
