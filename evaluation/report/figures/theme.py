"""How figures look: colours for a light and a dark page, marks and dashes, and charts as SVG or PNG by matplotlib.

Colours are Okabe and Ito's, which people who are colour-blind can distinguish; every series has a marker and a dash of
its own besides. An SVG names its colours as variables of the page, so that one drawing serves a light and a dark one.
Of the libraries tried, matplotlib writes 11 KB a panel and no script; Vega brings 0.9 MB of script into the page, and
Plotly 4.8 MB.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet

from training.monitoring.charts import chart_style

COLOURS = {  # by the page's variable: on a light page and on a dark one
    "series-0": ("#0072b2", "#56a8e0"),
    "series-1": ("#d55e00", "#f0803c"),
    "series-2": ("#00805c", "#2fc298"),
    "series-3": ("#b0508a", "#dd93bd"),
    "series-4": ("#b07a00", "#e69f00"),
    "series-5": ("#3a8fc4", "#9bd4f5"),
    "series-6": ("#6b6b6b", "#c4c4c4"),
    "ink": ("#1d1d1f", "#ececea"),
    "soft": ("#5f5f58", "#a9a9a1"),
    "rule": ("#dcdcd5", "#3b3b38"),
    "paper": ("#fdfdfb", "#161615"),
    "up": ("#4f9fd6", "#2f7fb8"),
    "down": ("#e8894a", "#b8602a"),
}
INK, SOFT, RULE, PAPER, UP, DOWN = (COLOURS[name][0] for name in ("ink", "soft", "rule", "paper", "up", "down"))
NUM_SERIES = sum(name.startswith("series") for name in COLOURS)
MARKERS = ("o", "D", "^", "s", "v", "p", "P")
DASHES = ("solid", (0, (6, 2)), (0, (1.5, 1.5)), (0, (8, 2, 2, 2)), (0, (1, 2)), (0, (10, 3)), (0, (4, 1.5, 1, 1.5)))
ABOVE, BELOW, RIGHT = 24, 40, 14  # points about the axes of a panel: title, ticks and name of the axis
POINTS_AN_INCH = 72  # of an SVG, so that its units are points
PNG_DPI = 144
_RULES: dict[str, Any] = {
    "font.size": 9.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "lines.linewidth": 1.7,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.unicode_minus": True,
}
_TIP = "tip "  # begins the id of what has a tooltip


@dataclass(frozen=True)
class Panel:
    """One chart of a figure.

    Attributes:
        label: describes it to whoever cannot see it.
        width, height: in points.
        draw: puts it onto axes.
        left: of the width, what stands beside the axes.
    """

    label: str
    width: float
    height: float
    draw: Callable[[Axes], None]
    left: float = 54


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


def variables(*, dark: bool) -> Markup:
    """The colours as CSS variables, on a light or a dark page."""
    return Markup(" ".join(f"--{name}: {shades[dark]};" for name, shades in COLOURS.items()))


def colour(series: int) -> str:
    """Of the series of that number."""
    return COLOURS[f"series-{series % NUM_SERIES}"][0]


def form(series: int) -> int:
    """The number of its mark and of its dash: with more series than colours, no two have both in common."""
    return (series + series // NUM_SERIES) % NUM_SERIES


def tip(artist: Artist, text: str) -> None:
    """Shows `text` where a pointer rests on what was drawn."""
    artist.set_gid(_TIP + text)


def mark(axes: Axes, x: float, y: float, series: int, *, size: float = 5, hollow: bool = False, text: str = "") -> None:
    """A point in the form and colour of its series, with a tooltip where there is one to show."""
    (line,) = axes.plot(
        [x], [y], marker=MARKERS[form(series)], markersize=size, color=colour(series), linestyle="none",
        markerfacecolor=PAPER if hollow else colour(series), clip_on=False, zorder=3,
    )  # fmt: skip
    if text:
        tip(line, text)


def _sheet(width: float, height: float) -> Sheet:
    return Sheet(figsize=(width / POINTS_AN_INCH, height / POINTS_AN_INCH))


def _axes(sheet: Sheet, panel: Panel, x: float, y: float) -> Axes:
    """The axes of a panel whose upper left corner lies at (x, y); placed by hand, as a layout engine takes four times
    as long as the drawing.
    """
    width, height = sheet.get_size_inches() * POINTS_AN_INCH
    box = (x + panel.left, height - y - panel.height + BELOW, panel.width - panel.left - RIGHT,
           panel.height - ABOVE - BELOW)  # fmt: skip
    return sheet.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))


def svg(panel: Panel) -> Markup:
    """A chart as an element of a page: it fills its place, is light or dark, and shows values under a pointer."""
    with chart_style(_RULES):
        sheet = _sheet(panel.width, panel.height)
        panel.draw(_axes(sheet, panel, 0, 0))
        file = io.StringIO()
        sheet.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(rf'<g id="{_TIP}([^"]*)">', r"<g><title>\1</title>", text)
    text = re.sub(r'<g id="[a-zA-Z0-9_.]+">', "<g>", text)  # nobody refers to these, and a page has several charts
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--sans)", text)
    for name, (light, _) in COLOURS.items():
        text = text.replace(light, f"var(--{name})")
    size = f'viewBox="0 0 {panel.width:g} {panel.height:g}" width="{panel.width:g}" height="{panel.height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size} role="img"'
    return Markup(re.sub(r"<svg[^>]*>", f'{head} aria-label="{escape(panel.label)}">', text, count=1).strip())


def png(panels: Sequence[Panel], *, columns: int) -> bytes:
    """Charts side by side and below each other, as they are on a light page."""
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    width = max(sum(panel.width for panel in row) for row in rows)
    with chart_style(_RULES):
        sheet, y = _sheet(width, sum(max(panel.height for panel in row) for row in rows)), 0.0
        for row in rows:
            x = 0.0
            for panel in row:
                panel.draw(_axes(sheet, panel, x, y))
                x += panel.width
            y += max(panel.height for panel in row)
        file = io.BytesIO()
        sheet.savefig(file, format="png", dpi=PNG_DPI)
    return file.getvalue()
