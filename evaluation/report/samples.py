"""What each objective did to one and the same window, and what each run generates from a prompt."""

from collections.abc import Sequence

from evaluation.record.record import StudyRecord
from evaluation.report.blocks import (
    Continuations,
    Legend,
    Prose,
    ReportBlock,
    Sample,
    SampleColumn,
    SampleRows,
    WindowText,
)
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


def _column(cells: Sequence[Cell]) -> SampleColumn:
    """What stands in every row at one position."""
    top, below = cells[0], cells[1:]
    covered = top.kind in COVERED and any(cell.kind == "target" for cell in below)
    if covered:
        below = [cell._replace(text=cell.text or "nothing") if cell.kind == "target" else cell for cell in below]
    return SampleColumn(top, [(cell, SIGNS.get(cell.kind, "") if cell.text else "") for cell in below], covered)


def _strip(rows: SampleRows) -> tuple[str, list[SampleColumn]]:
    names = " / ".join(ROWS.get(name, name) for name in rows)
    return names, [_column(cells) for cells in zip(*rows.values(), strict=True)]


def windows(record: StudyRecord) -> list[ReportBlock]:
    """The samples of a study, window by window, arms below each other."""
    if not record.samples:
        return []
    kinds = {
        cell.kind for s in record.samples for panel in s.panels for row in panel.values() for cell in row if cell.text
    }
    blocks: list[ReportBlock] = [
        Prose(
            "The same held-out text under every objective. Upper line: what the model reads. Lower line: what it is to "
            "predict. What is hidden stands under its mask and shows under a pointer, a finger or the Tab key."
        ),
        Legend([(kind, SIGNS.get(kind, ""), meaning) for kind, meaning in MEANINGS.items() if kind in kinds]),
    ]
    for number, text in enumerate(record.windows):
        blocks.append(WindowText(number + 1, text))
        blocks += [
            Sample(sample.arm, [_strip(panel) for panel in sample.panels])
            for sample in record.samples
            if sample.window == number
        ]
    return blocks


def continuations(record: StudyRecord) -> list[ReportBlock]:
    """What the runs generate, prompt by prompt."""
    prompts = dict.fromkeys(one.prompt for one in record.continuations)
    return [Continuations(prompt, [c for c in record.continuations if c.prompt == prompt]) for prompt in prompts]
