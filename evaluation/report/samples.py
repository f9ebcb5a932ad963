"""What each objective did to one and the same window, and what each run generates from a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evaluation.record.record import ContinuationRecord, StudyRecord
from evaluation.report.html import Prose, joined
from objectives.inspection.picture import MEANINGS, Cell, Kind

COVERED: tuple[Kind, ...] = ("hidden", "random", "kept")  # what stands below these shows under a pointer
SIGNS: dict[Kind, str] = {"correct": "\u2713", "wrong": "\u2717"}
ROWS = {
    "reads": "what it reads",
    "for": "what stood there",
    "predicts": "what it is to predict",
    "model": "what the model predicts",
    "from": "which sentence it was",
}

Panel = dict[str, tuple[Cell, ...]]


def _column(cells: Sequence[Cell]) -> Markup:
    """What stands in every row at one position; a cover is lifted by a pointer or by the keyboard."""
    top, below = cells[0], cells[1:]
    covered = top.kind in COVERED and any(cell.kind == "target" for cell in below)
    lines = [Markup('<span class="top {}">{}</span>').format(top.kind, top.text or "\u00a0")]
    for cell in below:
        text = cell.text
        if covered and cell.kind == "target":
            text = text or "nothing"
        form = '<span class="below {}{}">{}{}</span>'
        cover = " cover" if covered and cell.kind == "target" else ""
        lines.append(Markup(form).format(cell.kind, cover, SIGNS.get(cell.kind, "") if text else "", text or "\u00a0"))
    form = (
        '<span class="column covered" tabindex="0" role="note">{}</span>'
        if covered
        else '<span class="column">{}</span>'
    )
    return Markup(form).format(Markup("").join(lines))


@dataclass(frozen=True)
class Strip:
    """A panel: columns that wrap as words do."""

    panel: Panel

    def html(self) -> Markup:
        names = " / ".join(ROWS.get(name, name) for name in self.panel)
        columns = joined(_column(cells) for cells in zip(*self.panel.values(), strict=True))
        return Markup('<p class="rows">{}</p><div class="strip">{}</div>').format(names, columns)


@dataclass(frozen=True)
class Sample:
    """A window under one arm."""

    arm: str
    panels: Sequence[Panel]

    def html(self) -> Markup:
        strips = joined(Strip(panel).html() for panel in self.panels)
        return Markup('<article class="sample"><h4>{}</h4>{}</article>').format(self.arm, strips)


@dataclass(frozen=True)
class WindowText:
    """The text of a window as it was."""

    number: int
    text: str

    def html(self) -> Markup:
        form = '<h3>Held-out window {}</h3><blockquote class="window">{}</blockquote>'
        return Markup(form).format(self.number, self.text)


@dataclass(frozen=True)
class Reveal:
    """The legend of the colours, and a box that lifts every cover."""

    kinds: frozenset[Kind]

    def html(self) -> Markup:
        swatches = joined(
            Markup('<span class="swatch {}">{}{}</span>').format(kind, SIGNS.get(kind, ""), meaning)
            for kind, meaning in MEANINGS.items()
            if kind in self.kinds
        )
        form = '<div class="reveal"><label><input type="checkbox" id="reveal"> show everything hidden</label> {}</div>'
        return Markup(form).format(swatches)


Part = Prose | Reveal | WindowText | Sample


def windows(record: StudyRecord) -> list[Part]:
    """The samples of a study, window by window, arms below each other."""
    if not record.samples:
        return [Prose("No samples were drawn.", "note")]
    kinds: set[Kind] = {
        cell.kind for s in record.samples for panel in s.panels for row in panel.values() for cell in row if cell.text
    }
    blocks: list[Part] = [
        Prose(
            "The same held-out text under every objective. Upper line: what the model reads. Lower line: what it is to "
            "predict. What is hidden stands under its mask and shows under a pointer, a finger or the Tab key."
        ),
        Reveal(frozenset(kinds)),
    ]
    for number, text in enumerate(record.windows):
        blocks.append(WindowText(number + 1, text))
        blocks += [Sample(sample.arm, sample.panels) for sample in record.samples if sample.window == number]
    return blocks


@dataclass(frozen=True)
class Continuations:
    """What the runs generate from one prompt."""

    prompt: str
    generated: Sequence[ContinuationRecord]

    def html(self) -> Markup:
        rows = joined(
            Markup('<dt>{} <span class="aside">seed {}, {}</span></dt><dd>{}</dd>').format(
                s.arm, s.seed, s.decoding, s.text
            )
            for s in self.generated
        )
        form = '<h3 class="prompt"><span class="aside">prompt</span> {}</h3><dl class="generated">{}</dl>'
        return Markup(form).format(self.prompt, rows)


def continuations(record: StudyRecord) -> list[Prose | Continuations]:
    """What the runs generate, prompt by prompt."""
    prompts = dict.fromkeys(one.prompt for one in record.continuations)
    blocks = [
        Continuations(prompt, [one for one in record.continuations if one.prompt == prompt]) for prompt in prompts
    ]
    return [*blocks] or [Prose("No continuations were generated.", "note")]
