"""Writes the viewer's page: its data as JSON in one HTML file with its own style and script."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from objectives.core.base import Objective
from objectives.inspection.text import text_alone
from objectives.inspection.viewer.draws import MOST_TOKENS, Shape, draws_of
from objectives.inspection.viewer.notes import Note
from objectives.inspection.viewer.runs import Measure, runs_data
from objectives.inspection.viewer.size import Data, fitted

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("labels", "elements", "tokens", "masks", "objectives", "attention", "passes", "runs", "viewer")  # in order
MOST_BYTES = 2_000_000
SEEDS = 8

Kinds = Mapping[str, tuple[type[Objective], dict[str, Any]]]  # classes and settings of objectives, by name


def _rendered(data: Data) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE), autoescape=True)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    scripts = [(PAGE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return environment.get_template("viewer.html").render(
        data=Markup(
            text.replace("</", "<\\/").replace("<!--", "<\\u0021--")
        ),  # either would end or open what holds the data
        css=Markup((PAGE / "viewer.css").read_text(encoding="utf-8")),
        script=Markup("\n".join(scripts)),
    )


def page_of(data: Data) -> tuple[str, list[Note]]:
    """The page of some data, below 2 MB, and what it leaves out."""
    return fitted(data, _rendered, MOST_BYTES)


def viewer_html(
    kinds: Kinds, texts: Sequence[str], shape: Shape, *, runs: Sequence[Path] = (), measure: Measure = lambda _: None
) -> tuple[str, list[Note]]:
    """The page of texts under objectives and runs, below 2 MB, and what it leaves out to stay so.

    Args:
        kinds: of the objectives.
        texts: of which the first 64 tokens are shown.
        shape: of the body whose operations are counted.
        runs: their folders, of which the first six are shown.
        measure: the loss of a run on held-out text, where it can be had.

    Raises:
        UserError: where a text is empty, or a folder no run.
    """
    notes: list[Note] = []
    for text in texts:
        length = len(text_alone(text)[1])
        if length > MOST_TOKENS:
            notes.append(Note.of_tokens(text, MOST_TOKENS, length))
    views = runs_data(runs, texts, measure, notes)
    objectives = [
        {
            "name": name,
            "title": (sys.modules[kind.__module__].__doc__ or "").splitlines()[0],
            "texts": [draws_of(kind, settings, text, seeds=SEEDS, shape=shape) for text in texts],
        }
        for name, (kind, settings) in kinds.items()
    ]
    data: Data = {"title": "", "texts": list(texts), "seeds": SEEDS, "all_seeds": SEEDS, "objectives": objectives}
    return page_of({**data, "runs": views, "notes": notes})
