"""Figures as SVG: a few shapes, two palettes, axes.

Colours are Okabe and Ito's, which people who are colour-blind can distinguish; every series has a marker and a dash of
its own besides. Shapes have classes alone, so that one drawing serves a light page, a dark one and a PNG.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

SERIES = (  # on a light page and on a dark one
    ("#0072b2", "#56a8e0"),
    ("#d55e00", "#f0803c"),
    ("#00805c", "#2fc298"),
    ("#b0508a", "#dd93bd"),
    ("#b07a00", "#e69f00"),
    ("#3a8fc4", "#9bd4f5"),
    ("#6b6b6b", "#c4c4c4"),
)
INKS = {"ink": ("#1d1d1f", "#ececea"), "soft": ("#66665f", "#a3a39b"), "rule": ("#dcdcd5", "#3b3b38"),
        "paper": ("#fdfdfb", "#161615"), "up": SERIES[0], "down": SERIES[1]}  # fmt: skip
DASHES = ("", "6 3", "2 2.5", "8 3 2 3", "1 3", "10 4", "4 2 1 2 1 2")
FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans KR', 'Noto Sans CJK KR', 'Apple SD Gothic Neo', sans-serif"

Point = tuple[float, float]


def _rules(shade: int, scope: str) -> str:
    """CSS of one shade: 0 light, 1 dark."""
    lines = []
    for index, colours in enumerate(SERIES):
        lines.append(
            f"{scope} .stroke-{index}{{stroke:{colours[shade]}}}{scope} .fill-{index}{{fill:{colours[shade]}}}"
        )
    for name, colours in INKS.items():
        lines.append(f"{scope} .stroke-{name}{{stroke:{colours[shade]}}}{scope} .fill-{name}{{fill:{colours[shade]}}}")
    return "\n".join(lines)


def style(scope: str = "svg", *, dark: bool = True) -> str:
    """The CSS of all drawings under a selector, with or without that of a dark page."""
    shapes = f"{scope} text{{font-family:{FONT};font-size:11px}} {scope} .strong{{font-weight:600;font-size:12.5px}}"
    night = f"\n@media (prefers-color-scheme:dark){{\n{_rules(1, scope)}\n}}" if dark else ""
    return f"{shapes}\n{_rules(0, scope)}{night}"


def kind(index: int) -> str:
    """The colour of the series of that number, as part of a class."""
    return str(index % len(SERIES))


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from low to high, about that many."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Scale:
    """From data to pixels.

    Args:
        low, high: of the data.
        start, end: pixels of the two.
        log: whether equal steps are equal ratios.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        share = (at - low) / (high - low) if high != low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 4) -> list[float]:
        """Round values for marks."""
        return nice_ticks(self.low, self.high, count)


def padded(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """The range of values with some air about it."""
    low, high = min(values), max(values)
    air = (high - low) * share or abs(high) * share or 1.0
    return low - air, high + air


@dataclass
class Chart:
    """Shapes on a sheet, `width` by `height` pixels; `label` describes it to whoever cannot see it."""

    width: float
    height: float
    label: str
    shapes: list[Markup] = field(default_factory=list)

    def _add(self, form: str, *values: object) -> None:
        self.shapes.append(Markup(form).format(*values))

    def line(self, points: Sequence[Point], ink: str, *, width: float = 1.8, dash: str = "") -> None:
        """A line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = Markup(' stroke-dasharray="{}"').format(dash) if dash else ""
        self._add('<polyline points="{}" class="stroke-{}" fill="none" stroke-width="{}" stroke-linejoin="round"{}/>',
                  path, ink, width, dashes)  # fmt: skip

    def band(self, low: Sequence[Point], high: Sequence[Point], ink: str, *, opacity: float = 0.16) -> None:
        """The area between two lines."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*low, *reversed(high)])
        self._add('<polygon points="{}" class="fill-{}" fill-opacity="{}"/>', path, ink, opacity)

    def box(self, x: float, y: float, width: float, height: float, ink: str, *, opacity: float = 1.0) -> None:
        """A filled rectangle."""
        self._add('<rect x="{}" y="{}" width="{}" height="{}" class="fill-{}" fill-opacity="{}"/>',
                  *(f"{value:.1f}" for value in (x, y, width, height)), ink, f"{opacity:.2f}")  # fmt: skip

    def text(
        self, x: float, y: float, words: str, *, ink: str = "soft", anchor: str = "start", strong: bool = False
    ) -> None:
        """Words at their baseline."""
        self._add('<text x="{}" y="{}" text-anchor="{}" class="fill-{}{}">{}</text>',
                  f"{x:.1f}", f"{y:.1f}", anchor, ink, " strong" if strong else "", words)  # fmt: skip

    def mark(self, x: float, y: float, series: int, *, size: float = 4.0, hollow: bool = False, tip: str = "") -> None:
        """A point in the form and colour of its series; `tip` shows under a pointer."""
        corners = {1: 4, 2: 3, 3: 4, 4: 3, 5: 5}.get(series % 6, 0)
        turn = {1: 45, 2: -90, 3: 0, 4: 90, 5: -90}.get(series % 6, 0)
        ink, paint = kind(series), "fill-paper" if hollow else f"fill-{kind(series)}"
        title = Markup("<title>{}</title>").format(tip) if tip else ""
        if not corners:
            self._add('<circle cx="{}" cy="{}" r="{}" class="stroke-{} {}" stroke-width="1.4">{}</circle>',
                      f"{x:.1f}", f"{y:.1f}", size, ink, paint, title)  # fmt: skip
            return
        angles = [math.radians(turn + 360 * corner / corners) for corner in range(corners)]
        path = " ".join(f"{x + 1.25 * size * math.cos(a):.1f},{y + 1.25 * size * math.sin(a):.1f}" for a in angles)
        self._add('<polygon points="{}" class="stroke-{} {}" stroke-width="1.4">{}</polygon>', path, ink, paint, title)

    def svg(self, *, head: str = "", at: Point | None = None, decorative: bool = False) -> Markup:
        """The drawing as an element of its own, or as a part of another one at a place."""
        size = Markup('viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}"').format(self.width, self.height)
        place = Markup(' x="{:.0f}" y="{:.0f}"').format(*at) if at else Markup("")
        seen = Markup(' aria-hidden="true"') if decorative else Markup(' role="img" aria-label="{}"').format(self.label)
        style_of = Markup(f"<style>{head}</style>") if head else ""
        form = '<svg xmlns="http://www.w3.org/2000/svg" {}{}>{}{}</svg>'
        return Markup(form).format(size, place or seen, style_of, Markup("\n").join(self.shapes))


def sheet(drawings: Sequence[Chart], label: str, *, columns: int = 4, head: str = "") -> Markup:
    """Drawings side by side and below each other on paper, as a file of its own."""
    rows = [drawings[start : start + columns] for start in range(0, len(drawings), columns)]
    gap, width = 16.0, max(sum(d.width + 16.0 for d in row) for row in rows) + 16.0
    heights = [max(d.height for d in row) for row in rows]
    whole = Chart(width, sum(heights) + gap * (len(rows) + 1), label)
    whole.box(0, 0, whole.width, whole.height, "paper")
    y = gap
    for row, height in zip(rows, heights, strict=True):
        x = gap
        for drawing in row:
            whole.shapes.append(drawing.svg(at=(x, y)))
            x += drawing.width + gap
        y += height + gap
    return whole.svg(head=head)


def text_width(words: str) -> float:
    """Pixels that words take at the figures' size, wide signs counted as two."""
    return sum(11.0 if ord(sign) > 0x2E7F else 6.1 for sign in words)


def shortened(words: str, width: float) -> str:
    """Words cut to a width, with an ellipsis."""
    if text_width(words) <= width:
        return words
    while words and text_width(f"{words}\u2026") > width:
        words = words[:-1]
    return f"{words.rstrip()}\u2026"
