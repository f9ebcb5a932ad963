"""A study's report: report.html and its figures as PNG, a pure function of its record.

report.html is one file with no script, which reads nothing from the network.
"""

from collections.abc import Iterable
from pathlib import Path

import jinja2
from markupsafe import Markup

from common.files import write_whole
from evaluation.record.files import write_record
from evaluation.record.record import StudyRecord
from evaluation.report.blocks import ReportBlock
from evaluation.report.figures import estimates, learning, parts, strata
from evaluation.report.figures.theme import Figure, form, png, svg, variables
from evaluation.report.sections import all_sections

SIGNS = "\u25cf\u25c6\u25b2\u25a0\u25bc\u2b1f\u271a"  # of the series in tables, as their marks are in figures
_TEMPLATES = Path(__file__).with_name("templates")


def html(record: StudyRecord) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )

    def write(blocks: Iterable[ReportBlock]) -> Markup:
        macros = environment.get_template("blocks.html").module
        return Markup("\n").join(getattr(macros, block.macro)(block) for block in blocks)

    environment.filters["svg"] = svg
    environment.globals |= {"signs": SIGNS, "form": form, "write": write}
    return environment.get_template("report.html").render(
        record=record,
        sections=all_sections(record),
        css=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        light=variables(dark=False),
        dark=variables(dark=True),
    )


def all_figures(record: StudyRecord) -> list[Figure]:
    """Every figure that there is something to draw for."""
    drawn = [
        *(learning.losses(record, measure) for measure in learning.AXES),
        estimates.evaluations(record),
        parts.parts_figure(record),
        estimates.hypotheses(record),
        learning.learning_rates(record),
        *(strata.heat_map(record, metric) for metric in strata.with_strata(record)),
    ]
    return [figure for figure in drawn if figure is not None]


def write_report(record: StudyRecord, folder: Path) -> Path:
    """Writes all of it, results.json among it, and returns the path of report.html.

    Figures of an earlier report that this one has not are removed.
    """
    pictures = folder / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    figures_now = {f"{figure.name}.png": figure for figure in all_figures(record)}
    for path in pictures.iterdir():
        if path.suffix in (".svg", ".png") and path.name not in figures_now:
            path.unlink()
    for name, figure in figures_now.items():
        write_whole(pictures / name, png(figure.panels, columns=figure.columns))
    write_record(record, folder / "results.json")
    page = folder / "report.html"
    write_whole(page, html(record))
    return page
