"""A study's report: report.html and its figures as PNG, a pure function of its record.

report.html is one file with no script, which reads nothing from the network.
"""

from pathlib import Path

import resvg_py
from markupsafe import Markup

from common.files import write_whole
from evaluation.record.files import write_record
from evaluation.record.record import StudyRecord
from evaluation.report import figures, phenomena
from evaluation.report.charts import sheet, style
from evaluation.report.figures import Figure
from evaluation.report.html import Section, joined
from evaluation.report.sections import all_sections

PNG_ZOOM = 2  # pixels of a PNG for one of its SVG
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{css}
{drawings}
</style>
</head>
<body>
<a class="skip" href="#summary">Skip to the summary</a>
<header>
<p class="kind">A comparison of pretraining objectives</p>
<h1>{title}</h1>
{question}
</header>
<nav aria-label="Sections"><ol>
{contents}
</ol></nav>
<main>
{sections}
</main>
</body>
</html>
"""


def html(record: StudyRecord, sections: list[Section]) -> str:
    """The page."""
    contents = joined(Markup('<li><a href="#{}">{}</a></li>').format(part.name, part.title) for part in sections)
    question = Markup('<p class="question">{}</p>').format(record.question) if record.question else Markup("")
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return Markup(_PAGE).format(
        title=record.name,
        css=Markup(css),
        drawings=Markup(style("svg")),
        question=question,
        contents=contents,
        sections=joined(section.html() for section in sections),
    )


def all_figures(record: StudyRecord) -> list[Figure]:
    """Every figure that there is something to draw for."""
    drawn = [
        *(figures.losses(record, measure) for measure in figures.AXES),
        figures.evaluations(record),
        figures.hypotheses(record),
        figures.learning_rates(record),
        *(phenomena.heat_map(record, metric) for metric in phenomena.with_strata(record)),
    ]
    return [figure for figure in drawn if figure is not None]


def write_figure(figure: Figure, folder: Path) -> None:
    """Writes a figure as PNG, as it is on a light page."""
    drawn = sheet(figure.drawings, figure.title, columns=figure.columns, head=style("svg", dark=False))
    write_whole(folder / f"{figure.name}.png", bytes(resvg_py.svg_to_bytes(svg_string=str(drawn), zoom=PNG_ZOOM)))


def write_report(record: StudyRecord, folder: Path) -> Path:
    """Writes all of it, results.json among it, and returns the path of report.html.

    Figures of an earlier report that this one has not are removed.
    """
    drawings = folder / "figures"
    drawings.mkdir(parents=True, exist_ok=True)
    figures_now = all_figures(record)
    for path in drawings.iterdir():
        if path.suffix in (".svg", ".png") and path.name not in {f"{figure.name}.png" for figure in figures_now}:
            path.unlink()
    for figure in figures_now:
        write_figure(figure, drawings)
    sections = all_sections(record)
    write_record(record, folder / "results.json")
    page = folder / "report.html"
    write_whole(page, html(record, sections))
    return page
