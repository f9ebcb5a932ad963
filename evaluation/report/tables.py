"""Cells of arms, and tables of where arms differ: by phenomenon with a shade a cell, and by parts of the items."""

from evaluation.record.record import MetricRecord, StudyRecord, SummaryRecord
from evaluation.report.blocks import Table, TableCell
from evaluation.report.figures.parts import means_of_parts
from evaluation.report.figures.strata import arms_in, means_of, middle_of, side_of
from evaluation.report.text.formatting import NONE, interval, number, score


def arm_cells(record: StudyRecord) -> dict[str, TableCell]:
    """The name of each arm, with the mark that it has in figures."""
    return {arm.label: TableCell(arm.label, series=series) for series, arm in enumerate(record.arms)}


def strata_table(record: StudyRecord, metric: MetricRecord, *, paradigms: bool = False) -> Table:
    """The heat map as a table: better than chance, or than the mean, in one colour and worse in the other."""
    rows = means_of(record, metric.name, paradigms=paradigms)
    middle, reach = middle_of(metric, rows)
    arms = arms_in(record, rows)

    def cell(value: float | None) -> TableCell:
        if value is None:
            return TableCell(NONE)
        share = round(62 * min(1.0, abs(value - middle) / reach))
        shade = f"background:color-mix(in srgb,var(--{side_of(metric, value, middle)}) {share}%,transparent)"
        return TableCell(number(value, metric.unit), style=shade)

    body = [[row.replace("_", " "), *(cell(by_arm.get(arm)) for arm in arms)] for row, by_arm in rows.items()]
    against = "chance" if metric.chance is not None else "the mean of all cells"
    what = "paradigm" if paradigms else "phenomenon"
    caption = (
        f"{metric.name}{', ' + metric.unit if metric.unit else ''}, by {what}, mean over seeds: blue is better than "
        f"{against}, orange worse."
    )
    return Table(caption, [what, *arms], body)


def parts_table(record: StudyRecord, metric: MetricRecord) -> Table:
    """Arms by parts: the mean, with its 95 % interval below."""
    parts = record.parts_of(metric.name)

    def cell(summary: SummaryRecord | None) -> TableCell:
        if summary is None:
            return TableCell(NONE)
        around = interval(summary.low, summary.high, metric.unit) if summary.low is not None else ""
        around = around.replace(" ", "\u00a0")  # in a narrow column
        return TableCell(score(summary, metric.unit), below=(around,) if around else ())

    rows = [[named, *map(cell, means_of_parts(record, arm, parts))] for arm, named in arm_cells(record).items()]
    way = "higher" if metric.higher_is_better else "lower"
    caption = f"{metric.name}{', ' + metric.unit if metric.unit else ''}, by part ({way} is better): mean over seeds."
    return Table(caption, ["arm", *(part.part for part in parts)], rows)
