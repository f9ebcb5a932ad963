"""A study's report: report.html, report.md, figures and results.csv, a pure function of its record.

report.html is one file with no script, which reads nothing from the network.
"""

import csv
from pathlib import Path

import resvg_py
from markupsafe import Markup

from evaluation.record.files import write_record
from evaluation.record.record import StudyRecord
from evaluation.report import figures, phenomena
from evaluation.report.charts import sheet, style
from evaluation.report.figures import Figure
from evaluation.report.html import Section, joined, plain
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


def markdown(record: StudyRecord, sections: list[Section]) -> str:
    """The same as Markdown, with its figures beside it."""
    question = [plain(record.question)] if record.question else []
    parts = [f"# {plain(record.name)}", *question, *(section.markdown() for section in sections)]
    return "\n\n".join(part for part in parts if part) + "\n"


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
    """Writes a figure as SVG, which follows a light or a dark page, and as PNG on a light one."""
    as_svg, as_png = (
        sheet(figure.drawings, figure.title, columns=figure.columns, head=style("svg", dark=dark))
        for dark in (True, False)
    )
    (folder / f"{figure.name}.svg").write_text(as_svg, encoding="utf-8")
    (folder / f"{figure.name}.png").write_bytes(resvg_py.svg_to_bytes(svg_string=str(as_png), zoom=PNG_ZOOM))


def write_table(record: StudyRecord, path: Path) -> None:
    """Writes results.csv: a row a run, whatever became of it, with a column for each metric."""
    metrics = list(dict.fromkeys(name for run in record.runs for name in run.scores))
    fixed = ["arm", "seed", "budget", "status", "reason", "raw_tokens", "flops", "target_tokens", "validation_loss",
             "seconds", "tokens_per_second", "peak_memory"]  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*fixed, *metrics])
        for run in record.runs:
            last, cost = run.curve[-1] if run.curve else None, run.cost
            spent = [last.raw_tokens, last.flops, last.target_tokens, last.loss] if last else [None] * 4
            took = [cost.seconds, cost.tokens_per_second, cost.peak_memory] if cost else [None] * 3
            scores = [run.scores[name].mean if name in run.scores else None for name in metrics]
            writer.writerow([run.arm, run.seed, run.budget, run.status, run.reason, *spent, *took, *scores])


def write_report(record: StudyRecord, folder: Path) -> Path:
    """Writes all of it, results.json among it, and returns the path of report.html.

    Figures of an earlier report that this one has not are removed.
    """
    drawings = folder / "figures"
    drawings.mkdir(parents=True, exist_ok=True)
    figures_now = all_figures(record)
    for path in drawings.iterdir():
        if path.suffix in (".svg", ".png") and path.stem not in {figure.name for figure in figures_now}:
            path.unlink()
    for figure in figures_now:
        write_figure(figure, drawings)
    sections = all_sections(record)
    write_record(record, folder / "results.json")
    write_table(record, folder / "results.csv")
    (folder / "report.md").write_text(markdown(record, sections), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(html(record, sections), encoding="utf-8")
    return page
