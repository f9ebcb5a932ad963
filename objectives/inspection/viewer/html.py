"""Writes the viewer's page: the draws as JSON in one HTML file with its own style and script."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from objectives.core.base import Objective
from objectives.inspection.viewer.draws import draws_of

HERE = Path(__file__).parent
MOST_BYTES = 2_000_000
SEEDS = (8, 4, 2, 1)  # as many as fit


Kinds = Mapping[str, tuple[type[Objective], dict[str, Any]]]  # classes and settings of objectives, by name


def data_of(kinds: Kinds, texts: Sequence[str], seeds: int) -> dict[str, Any]:
    """Everything that the page shows."""
    return {
        "texts": list(texts),
        "seeds": seeds,
        "objectives": [
            {
                "name": name,
                "title": (sys.modules[kind.__module__].__doc__ or "").splitlines()[0],
                "texts": [draws_of(kind, settings, text, seeds) for text in texts],
            }
            for name, (kind, settings) in kinds.items()
        ],
    }


def viewer_html(kinds: Kinds, texts: Sequence[str]) -> str:
    """The page of texts under objectives; below 2 MB, by fewer seeds if need be.

    Raises:
        UserError: where a text is empty, or longer than the page shows.
    """
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=True)
    html = ""
    for seeds in SEEDS:
        data = data_of(kinds, texts, seeds)
        left_out = "" if seeds == SEEDS[0] else f"{SEEDS[0]}:{seeds}"
        text = json.dumps({**data, "left_out": left_out}, ensure_ascii=False, separators=(",", ":"))
        html = environment.get_template("viewer.html").render(
            # "</" would end the script element that holds the data
            data=Markup(text.replace("</", "<\\/")),
            css=Markup((HERE / "viewer.css").read_text(encoding="utf-8")),
            script=Markup((HERE / "viewer.js").read_text(encoding="utf-8")),
        )
        if len(html.encode()) <= MOST_BYTES:
            break
    return html
