"""What a report is made of: sections of blocks, plain data that `templates/blocks.html` writes, a macro a kind.

Text of a corpus, a label or a reason is escaped by the templates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from evaluation.record.record import ContinuationRecord
from evaluation.report.figures.theme import Figure, Panel
from evaluation.report.text.verdicts import Tone
from objectives.inspection.picture import Cell, Kind

SampleRows = dict[str, tuple[Cell, ...]]  # what an objective does to a window, in one stack: rows of cells by name


@dataclass(frozen=True)
class ReportBlock:
    """A part of a section; `macro` of the templates writes it."""

    macro: ClassVar[str]


@dataclass(frozen=True)
class Prose(ReportBlock):
    """A paragraph; `tone` is a class of the page: note, warning, answer."""

    macro: ClassVar[str] = "prose"
    text: str
    tone: str = ""


@dataclass(frozen=True)
class Points(ReportBlock):
    """A list under a line of its own."""

    macro: ClassVar[str] = "points"
    title: str
    items: Sequence[str]
    tone: str = ""


@dataclass(frozen=True)
class TableCell:
    """A table's cell: its text and smaller lines below, a class, a CSS style, the number of its series."""

    text: str
    below: tuple[str, ...] = ()
    tone: str = ""
    style: str = ""
    series: int | None = None


@dataclass(frozen=True)
class Table(ReportBlock):
    """A table whose first column names its rows; columns of numbers are aligned to the right.

    Args:
        caption: one sentence.
        header: of the columns.
        rows: as long as the header.
        words: columns, beside the first, that hold words.
    """

    macro: ClassVar[str] = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | TableCell]]
    words: frozenset[int] = frozenset()

    @property
    def cells(self) -> list[list[TableCell]]:
        """The rows, every cell of one type."""
        return [[cell if isinstance(cell, TableCell) else TableCell(cell) for cell in row] for row in self.rows]

    def kind(self, column: int) -> str:
        """The class of a column."""
        return "word" if not column or column in self.words else "num"


@dataclass(frozen=True)
class Picture(ReportBlock):
    """A figure, whose panels flow into as many columns as there is room for."""

    macro: ClassVar[str] = "picture"
    figure: Figure


@dataclass(frozen=True)
class Choice(ReportBlock):
    """Several figures of one thing, of which one is shown at a time (all of them on paper); no script is needed."""

    macro: ClassVar[str] = "choice"
    name: str
    legend: str
    options: Sequence[tuple[str, Picture]]


@dataclass(frozen=True)
class Folded(ReportBlock):
    """Blocks that open under a click."""

    macro: ClassVar[str] = "folded"
    title: str
    blocks: Sequence[ReportBlock]


@dataclass(frozen=True)
class Code(ReportBlock):
    """Text as it was typed or generated."""

    macro: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Card(ReportBlock):
    """A declared hypothesis: what was expected, its outcome and its sign, a sentence, its difference."""

    macro: ClassVar[str] = "card"
    tone: Tone
    sign: str
    expected: str
    outcome: str
    sentence: str
    panel: Panel | None


@dataclass(frozen=True)
class Legend(ReportBlock):
    """The legend of the cells' colours by their signs and meanings, and a box that lifts every cover."""

    macro: ClassVar[str] = "legend"
    kinds: Sequence[tuple[Kind, str, str]]


@dataclass(frozen=True)
class WindowText(ReportBlock):
    """The text of a window as it was."""

    macro: ClassVar[str] = "window"
    number: int
    text: str


@dataclass(frozen=True)
class SampleColumn:
    """What stands in every row at one position; what is `covered` shows under a pointer or the keyboard."""

    top: Cell
    below: Sequence[tuple[Cell, str]]
    covered: bool


@dataclass(frozen=True)
class Sample(ReportBlock):
    """A window under one arm: for each stack the names of its rows, and columns that wrap as words do."""

    macro: ClassVar[str] = "sample"
    arm: str
    strips: Sequence[tuple[str, Sequence[SampleColumn]]]


@dataclass(frozen=True)
class Continuations(ReportBlock):
    """What the runs generate from one prompt."""

    macro: ClassVar[str] = "continuations"
    prompt: str
    generated: Sequence[ContinuationRecord]


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading; one without blocks is left out."""

    name: str
    title: str
    blocks: Sequence[ReportBlock] = field(default_factory=tuple)
