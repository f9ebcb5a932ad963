"""What a report is made of: sections of blocks, each of which writes itself as HTML.

Text of a corpus, a label or a reason goes into it by `Markup.format`, which escapes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup

from evaluation.report.figures import Figure


class ReportBlock(Protocol):
    """A part of a section."""

    def html(self) -> Markup: ...


def joined(parts: Iterable[Markup]) -> Markup:
    """Pieces of HTML, a line each."""
    return Markup("\n").join(parts)


@dataclass(frozen=True)
class Prose:
    """A paragraph; `tone` is a class of the page: note, warning."""

    text: str
    tone: str = ""

    def html(self) -> Markup:
        return Markup('<p class="{}">{}</p>' if self.tone else "<p>{1}</p>").format(self.tone, self.text)


@dataclass(frozen=True)
class Points:
    """A list under a line of its own."""

    title: str
    items: Sequence[str]
    tone: str = ""

    def html(self) -> Markup:
        items = joined(Markup("<li>{}</li>").format(item) for item in self.items)
        form = '<div class="points {}"><h3>{}</h3><ul>{}</ul></div>'
        return Markup(form).format(self.tone, self.title, items)


@dataclass(frozen=True)
class TableCell:
    """A table's cell with more than its text: a class, a style, a sign of its series."""

    text: str
    tone: str = ""
    style: str = ""
    sign: Markup | str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows; columns of numbers are aligned to the right.

    Args:
        caption: one sentence.
        header: of the columns.
        rows: as long as the header.
        words: columns, beside the first, that hold words.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | TableCell]]
    words: frozenset[int] = frozenset()

    def _cell(self, column: int, content: str | TableCell) -> Markup:
        entry = content if isinstance(content, TableCell) else TableCell(content)
        kind = "word" if not column or column in self.words else "num"
        style = Markup(' style="{}"').format(entry.style) if entry.style else ""
        form = '<th scope="row" class="{}"{}>{}{}</th>' if not column else '<td class="{}"{}>{}{}</td>'
        return Markup(form).format(f"{kind} {entry.tone}".strip(), style, entry.sign, entry.text)

    def html(self) -> Markup:
        head = joined(
            Markup('<th scope="col" class="{}">{}</th>').format("word" if not i or i in self.words else "num", name)
            for i, name in enumerate(self.header)
        )
        rows = joined(
            Markup("<tr>{}</tr>").format(joined(self._cell(i, cell) for i, cell in enumerate(row))) for row in self.rows
        )
        # focusable, so that the arrow keys scroll a table that is wider than the page
        form = (
            '<div class="table" tabindex="0" role="region" aria-label="{0}"><table><caption>{0}</caption>'
            "<thead><tr>{1}</tr></thead><tbody>{2}</tbody></table></div>"
        )
        return Markup(form).format(self.caption, head, rows)


@dataclass(frozen=True)
class Picture:
    """A figure, whose drawings flow into as many columns as there is room for."""

    figure: Figure

    def html(self) -> Markup:
        widest = max(drawing.width for drawing in self.figure.drawings)
        drawings = joined(drawing.svg() for drawing in self.figure.drawings)
        form = (
            '<figure id="figure-{}"><div class="panels" style="--panel:{:.0f}px">{}</div>'
            "<figcaption><b>{}.</b> {}</figcaption></figure>"
        )
        return Markup(form).format(self.figure.name, widest, drawings, self.figure.title, self.figure.caption)


@dataclass(frozen=True)
class Choice:
    """Several figures of one thing, of which one is shown at a time (all of them on paper); no script is needed."""

    name: str
    legend: str
    options: Sequence[tuple[str, Picture]]

    def html(self) -> Markup:
        buttons, panes = [], []
        for index, (label, picture) in enumerate(self.options):
            form = '<input type="radio" name="{0}" id="{0}-{1}"{2}><label for="{0}-{1}">{3}</label>'
            buttons.append(Markup(form).format(self.name, index, Markup(" checked") if not index else "", label))
            panes.append(Markup('<div class="pane">{}</div>').format(picture.html()))
        form = '<fieldset class="choice"><legend>{}</legend>{}<div class="panes">{}</div></fieldset>'
        return Markup(form).format(self.legend, joined(buttons), joined(panes))


@dataclass(frozen=True)
class Folded:
    """Blocks that open under a click."""

    title: str
    blocks: Sequence[ReportBlock]

    def html(self) -> Markup:
        inner = joined(block.html() for block in self.blocks)
        return Markup("<details><summary>{}</summary>{}</details>").format(self.title, inner)


@dataclass(frozen=True)
class Code:
    """Text as it was typed or generated."""

    text: str

    def html(self) -> Markup:
        return Markup('<pre tabindex="0"><code>{}</code></pre>').format(self.text)


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading."""

    name: str
    title: str
    blocks: Sequence[ReportBlock]

    def html(self) -> Markup:
        inner = joined(block.html() for block in self.blocks)
        form = '<section id="{0}" aria-labelledby="{0}-title"><h2 id="{0}-title">{1}</h2>{2}</section>'
        return Markup(form).format(self.name, self.title, inner)
