"""A page's data below its limit: cells are written once, and what does not fit is left out and named."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from objectives.inspection.viewer.notes import Note

Data = dict[str, Any]


class _Table:
    """Values by their first place."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        key = json.dumps(value, ensure_ascii=False)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def packed(data: Data) -> Data:
    """The data with every cell, and every rule of who sees whom, as its number in a table."""
    cells, rules = _Table(), _Table()

    def picture(draw: Data) -> Data:
        panels = [
            {row: [cells.place(cell) for cell in line] for row, line in panel.items()} for panel in draw["panels"]
        ]
        small: Data = {**draw, "panels": panels, "sees": [rules.place(rule) for rule in draw["sees"]]}
        if "passes" in draw:
            small["passes"] = [
                {
                    **one,
                    "guesses": [
                        [place, chance, [[cells.place(text), share] for text, share in best], hit]
                        for place, chance, best, hit in one["guesses"]
                    ],
                }
                for one in draw["passes"]
            ]
        return small

    def of_run(text: Data) -> Data:
        return {**text, "draws": [picture(draw) for draw in text["draws"]]} if "draws" in text else text

    def of_objective(text: Data) -> Data:
        return {**text, "draws": {key: picture(draw) for key, draw in text["draws"].items()}}

    small = {
        **data,
        "objectives": [{**one, "texts": [*map(of_objective, one["texts"])]} for one in data["objectives"]],
        "runs": [{**one, "texts": [*map(of_run, one["texts"])]} for one in data["runs"]],
    }
    return {**small, "cells": cells.values, "rules": rules.values}


def _entries(data: Data) -> Iterator[Data]:
    """Each text of each run that has draws."""
    return (text for run in data["runs"] for text in run["texts"] if "draws" in text)


def _fewer_seeds(most: int) -> Callable[[Data], Note | None]:
    def reduce(data: Data) -> Note | None:
        if data["seeds"] <= most or not data["objectives"]:
            return None
        note, data["seeds"] = Note.of_draws(most, data["all_seeds"]), most
        for objective in data["objectives"]:
            for text in objective["texts"]:
                text["draws"] = {k: draw for k, draw in text["draws"].items() if int(k.rpartition(":")[2]) < most}
        return note

    return reduce


def _fewer_runs_draws(most: int) -> Callable[[Data], Note | None]:
    def reduce(data: Data) -> Note | None:
        kept = max((len(text["draws"]) for text in _entries(data)), default=0)
        there_are = data.setdefault("draws_of_runs", kept)
        for text in _entries(data):
            text["draws"] = text["draws"][:most]
        return Note.of_runs_draws(most, there_are) if kept > most else None

    return reduce


def _fewer_checkpoints(most: int) -> Callable[[Data], Note | None]:
    def reduce(data: Data) -> Note | None:
        if all(len(run["checkpoints"]) <= most for run in data["runs"]):
            return None
        for run in data["runs"]:
            number = len(run["checkpoints"])
            if number > most:
                kept = [place * (number - 1) // (most - 1) for place in range(most)]
                run["checkpoints"] = [run["checkpoints"][place] for place in kept]
                for text in run["texts"]:
                    for draw in text.get("draws", ()):
                        draw["passes"] = [draw["passes"][place] for place in kept]
        return Note.of_passes(most)

    return reduce


def _fewer_layers(most: int) -> Callable[[Data], Note | None]:
    def reduce(data: Data) -> Note | None:
        found = [one for text in _entries(data) for one in text["attention"]]
        if all(one["shape"][0] <= most for one in found):
            return None
        for text in _entries(data):
            text["attention"] = [_last_layers(one, most) for one in text["attention"]] if most else []
        return Note.of_attention(most)

    return reduce


def _last_layers(one: Data, most: int) -> Data:
    layers, *rest = one["shape"]
    if layers <= most:
        return one
    content = base64.b64decode(one["bytes"])
    kept = content[(layers - most) * len(content) // layers :]
    first = one["first_layer"] + layers - most
    return {**one, "shape": [most, *rest], "first_layer": first, "bytes": base64.b64encode(kept).decode()}


def _fewer_texts(most: int) -> Callable[[Data], Note | None]:
    def reduce(data: Data) -> Note | None:
        there_are = len(data["texts"])
        if there_are <= most:
            return None
        data["texts"] = data["texts"][:most]
        for one in [*data["objectives"], *data["runs"]]:
            one["texts"] = one["texts"][:most]
        return Note.of_texts(most, there_are)

    return reduce


def _reductions(data: Data) -> Iterator[Callable[[Data], Note | None]]:
    """What is left out, first that which is missed least."""
    yield from map(_fewer_seeds, (4, 2))
    yield _fewer_runs_draws(2)
    yield from map(_fewer_checkpoints, (6, 4))
    yield from map(_fewer_layers, (4, 2))
    yield _fewer_seeds(1)
    yield _fewer_runs_draws(1)
    yield _fewer_checkpoints(2)
    yield from map(_fewer_layers, (1, 0))
    yield from map(_fewer_texts, range(len(data["texts"]) - 1, 0, -1))


def fitted(data: Data, write: Callable[[Data], str], limit: int) -> tuple[str, list[Note]]:
    """The page that `write` makes of the packed data, and what it leaves out, in the order of leaving.

    `data["notes"]` holds what was left out before. The page may be longer than the limit where one text alone is.
    """
    before: list[Note] = data["notes"]
    later: dict[str, Note] = {}
    page = write(packed({**data, "notes": [note._asdict() for note in before]}))
    for reduce in _reductions(data):
        if len(page.encode()) <= limit:
            break
        note = reduce(data)
        if note is not None:
            later[reduce.__qualname__] = note
            notes = [note._asdict() for note in [*before, *later.values()]]
            page = write(packed({**data, "notes": notes}))
    return page, [*before, *later.values()]
