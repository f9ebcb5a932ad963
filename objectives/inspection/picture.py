"""The corruption of a text as a picture: inputs, targets, and what was done to each token.

Tokens stand in columns, each target below the input at its position. show.py prints this picture; runs log it with the
model's predictions.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from data.stream.batch import IGNORE, NOWHERE, Example
from data.stream.windows import Window
from data.tokens.tokenizer import Vocabulary
from objectives.inspection.names import BROKEN, in_one_line, token_names

Kind = Literal["plain", "special", "hidden", "random", "kept", "random_segment", "target", "correct", "wrong"]
STYLES: dict[Kind, str] = {
    "plain": "",
    "special": "dim",
    "hidden": "bold black on yellow",
    "random": "bold white on red",
    "kept": "bold black on cyan",
    "random_segment": "italic magenta",
    "target": "bold green",
    "correct": "black on green",
    "wrong": "white on dark_red",
}
MEANINGS: dict[Kind, str] = {
    "hidden": "hidden",
    "random": "randomised",
    "kept": "kept, and a target",
    "random_segment": "of another document",
    "target": "target",
    "correct": "predicted correctly",
    "wrong": "predicted wrongly",
}
MARGIN = 9  # columns of a row's name


class Cell(NamedTuple):
    """One position of a row."""

    text: str = ""
    kind: Kind = "plain"


Panel = dict[str, list[Cell]]  # rows by name, with one cell for each position of a stack


def _hides(example: Example, length: int) -> dict[int, list[int]]:
    """For each visible place or mask, the hidden places that follow it, in reading order."""
    assert example.encoder_origins is not None
    order = example.order if example.order is not None else np.arange(length)
    visible = {int(origin) for origin in example.encoder_origins}
    hidden: dict[int, list[int]] = {}
    last = NOWHERE
    for place in map(int, order):
        if place in visible:
            last = place
        hidden.setdefault(last, []).append(place)
    return hidden


@dataclass(frozen=True)
class Painter:
    """Makes panels of examples.

    Args:
        vocabulary: ids and their roles.
        decode: text of ids.
    """

    vocabulary: Vocabulary
    decode: Callable[[Sequence[int]], str]

    def _in_window(self, window: Window) -> list[str]:
        """What each token of a window is called."""
        return token_names(window.tokens.tolist(), self.decode, tokenizer=self.vocabulary.tokenizer)

    def names(self, tokens: Sequence[int], window: Window | None = None) -> list[str]:
        """What each token is called; of those that are parts of characters, as in the window where one meaning is."""
        known: dict[int, str] = {}
        if window is not None and any(BROKEN in self.decode([token]) for token in tokens):
            named = set(zip(window.tokens.tolist(), self._in_window(window), strict=True))
            counts = Counter(token for token, _ in named)
            known = {token: name for token, name in named if counts[token] == 1}
        return token_names(tokens, self.decode, known=known, tokenizer=self.vocabulary.tokenizer)

    def row(
        self,
        tokens: np.ndarray,
        kinds: Sequence[Kind],
        window: Window | None = None,
        origins: np.ndarray | None = None,
    ) -> list[Cell]:
        """Tokens as cells, empty where a token is IGNORE; a piece that continues a word begins with a dot.

        A part of a character that stands at its own place of the window (`origins`) is named as it is there.
        """
        present = tokens != IGNORE
        starts = self.vocabulary.word_starts(np.where(present, tokens, self.vocabulary.pad))
        cells = [Cell("", kind) for kind in kinds]
        own: dict[int, str] = {}
        if window is not None and origins is not None:
            names = self._in_window(window)
            pairs = enumerate(zip(origins.tolist(), tokens.tolist(), strict=True))
            own = {p: names[origin] for p, (origin, token) in pairs if origin >= 0 and window.tokens[origin] == token}
        for run in np.split(np.arange(len(tokens)), np.flatnonzero(np.diff(present)) + 1):
            if present[run].any():
                for place, name in zip(run.tolist(), self.names(tokens[run].tolist(), window), strict=True):
                    name = own.get(place, name)
                    cells[place] = Cell(name if starts[place] else f"\u00b7{name}", kinds[place])
        return cells

    def _kind_read(self, token: int, origin: int, label: int, window: Window, *, is_second: bool) -> Kind:
        """What was done to a token that the encoder reads; `label` is the target at its place."""
        if token == self.vocabulary.mask or token in self.vocabulary.sentinels:
            return "hidden"
        if origin == 0 and token == window.previous and label == IGNORE != token != window.tokens[0]:
            return "special" if self.vocabulary.is_special[token] else "plain"  # what stands before the window
        if origin < 0 or (self.vocabulary.is_special[token] and token != window.tokens[origin]):
            return "special" if self.vocabulary.is_special[token] else "random_segment" if is_second else "random"
        if label == token:
            return "kept"
        return "plain" if token == window.tokens[origin] else "random"

    def _encoder_panel(self, window: Window, example: Example) -> Panel:
        """The encoder's input, and below it the targets there, or the text that each mask hides."""
        assert example.encoder_ids is not None
        assert example.encoder_origins is not None
        length = len(example.encoder_ids)
        targets = np.full(length, IGNORE) if example.decoder_ids is not None else example.token_labels
        second = example.segments if example.segments is not None else np.zeros(length)
        places = zip(
            example.encoder_ids.tolist(), example.encoder_origins.tolist(), targets.tolist(), second, strict=True
        )
        kinds: list[Kind] = [
            self._kind_read(token, origin, label, window, is_second=bool(segment))
            for token, origin, label, segment in places
        ]
        reads = self.row(example.encoder_ids, kinds, window, example.encoder_origins)
        if example.decoder_ids is None:
            return {"reads": reads, "predicts": self._targets(targets, window, example.encoder_origins)}
        hides = _hides(example, len(window))
        below = []
        for cell, origin in zip(reads, example.encoder_origins.tolist(), strict=True):
            places = hides.get(origin, []) if cell.kind in ("hidden", "random") and origin >= 0 else []
            text = self.decode(window.tokens[places].tolist()).strip()
            if BROKEN in text:
                text = "".join(self.names(window.tokens[places].tolist(), window))
            below.append(Cell(in_one_line(text), "target"))
        panel = {"reads": reads, "for": below}
        if example.order is not None and (np.diff(example.order) != 1).any():
            panel["from"] = self._sentence_numbers(window, example)
        return panel

    def _sentence_numbers(self, window: Window, example: Example) -> list[Cell]:
        """The number that each sentence had before they were permuted, below its first token."""
        assert example.encoder_origins is not None
        bounds = np.unique(np.concatenate([[0], window.sentence_starts]))
        numbers = np.where(
            example.encoder_origins >= 0, np.searchsorted(bounds, example.encoder_origins, side="right"), NOWHERE
        )
        cells, last = [], NOWHERE
        for number in numbers.tolist():
            cells.append(Cell(f"({number})" if number not in (last, NOWHERE) else "", "special"))
            last = number if number != NOWHERE else last
        return cells

    def _targets(self, labels: np.ndarray, window: Window, origins: np.ndarray | None = None) -> list[Cell]:
        """The target at each position."""
        kinds: list[Kind] = ["target"] * len(labels)
        return self.row(labels, kinds, window, origins)

    def _predicted(self, labels: np.ndarray, predicted: np.ndarray, window: Window) -> list[Cell]:
        """What the model predicts where there is a target."""
        kinds: list[Kind] = ["correct" if correct else "wrong" for correct in predicted == labels]
        return self.row(np.where(labels == IGNORE, IGNORE, predicted), kinds, window)

    def panels(self, window: Window, example: Example, predicted: np.ndarray | None = None) -> list[Panel]:
        """The picture of an example, a panel for each stack.

        `predicted` holds the model's own token at each position of the stack that predicts.
        """
        panels = [self._encoder_panel(window, example)] if example.encoder_ids is not None else []
        labels = example.token_labels
        if example.decoder_ids is not None:
            if example.encoder_ids is None and (labels == IGNORE).all():  # the window is another term's
                labels = next((one for one in example.labels.values() if (one != IGNORE).any()), labels)
            is_special = self.vocabulary.is_special[example.decoder_ids]
            kinds: list[Kind] = ["special" if special else "plain" for special in is_special]
            reads = self.row(example.decoder_ids, kinds, window)
            panels.append({"reads": reads, "predicts": self._targets(labels, window)})
        if predicted is not None:
            panels[-1]["model"] = self._predicted(labels, predicted, window)
        return panels


def _lines(widths: list[int], width: int) -> list[slice]:
    """Breaks columns, separated by a space, into lines of at most `width`."""
    lines, start, used = [], 0, 0
    for index, size in enumerate(widths):
        if used + size > width and index > start:
            lines.append(slice(start, index))
            start, used = index, 0
        used += size + 1
    return [*lines, slice(start, len(widths))]


def draw(panel: Panel, width: int) -> Text:
    """A panel as text of at most `width` columns."""
    widths = [
        max(map(cell_len, texts)) for texts in zip(*([c.text for c in row] for row in panel.values()), strict=True)
    ]
    text = Text()
    for line in _lines(widths, width - MARGIN):
        for name, row in panel.items():
            if any(cell.text for cell in row[line]):
                text.append(f"{name:<{MARGIN}}", style="dim")
                for cell, size in zip(row[line], widths[line], strict=True):
                    text.append(cell.text, style=STYLES[cell.kind]).append(" " * (size - cell_len(cell.text) + 1))
                text.rstrip()
                text.append("\n")
    return text


def legend(panels: Sequence[Panel]) -> Text:
    """What the colours of some panels mean."""
    used = {cell.kind for panel in panels for row in panel.values() for cell in row if cell.text}
    text = Text()
    for kind, meaning in MEANINGS.items():
        if kind in used:
            text.append(f" {meaning} ", style=STYLES[kind]).append("  ")
    return text


def picture(panels: Sequence[Panel], width: int) -> Group:
    """Panels one below the other."""
    return Group(*(draw(panel, width) for panel in panels))
