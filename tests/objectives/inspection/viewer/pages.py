"""Reads the data of the viewer's pages, and names what is shown in them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

TEXTS = ("the red sun and the old dog .", "감사 합니다 .\n정말 감사 .")
OBJECTIVES = ("causal_lm", "masked_diffusion", "replaced_token_detection", "span_corruption")
STEPS = (1, 2, 3, 4)
# A telephone in the dark and a screen in the light by default.
SCHEMES = pytest.mark.parametrize(
    ("width", "scheme"),
    [
        *((360, "dark"), (1400, "light")),
        *(pytest.param(width, scheme, marks=pytest.mark.slow) for width, scheme in ((360, "light"), (1400, "dark"))),
    ],
)


def data_of(page: str) -> dict[str, Any]:
    """The data of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def panels_of(data: dict[str, Any], drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a draw as [text, kind] cells."""
    return [{row: [data["cells"][cell] for cell in cells] for row, cells in panel.items()} for panel in drawn["panels"]]


def shown(data: dict[str, Any], name: str) -> dict[str, Any]:
    """A run of a page."""
    return next(run for run in data["runs"] if run["name"] == name)


def opened_page(browser: Browser, path: Path, width: int, scheme: Any) -> tuple[Page, list[str]]:
    """A page in a window of some width, which it does not exceed, and what it writes to the console from then on."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, locale="en-US")
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    return page, messages


LABELS_ALONE = """() => {
  const apart = ".column, .tokens, .attention svg, .attention .readout, #tip, #text, noscript, script, style";
  const inData = node => node.closest(`${apart}, [lang]:not(html)`);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) if (!inData(walker.currentNode.parentElement)) found.push(walker.currentNode.textContent);
  document.querySelectorAll("[aria-label]").forEach(one => inData(one) || found.push(one.getAttribute("aria-label")));
  return [...new Set(found.map(text => text.trim()))].filter(text => text);
}"""


def english_labels(page: Page, data: dict[str, Any]) -> list[str]:
    """What a page in Korean still labels in English: words in small letters that are no run's name and no data."""
    names = sorted((run["name"] for run in data["runs"]), key=len, reverse=True)

    def without_names(label: str) -> str:
        for name in names:
            label = label.replace(name, "")
        return label

    assert page.locator("html").get_attribute("lang") == "ko"
    labels = [label for label in page.evaluate(LABELS_ALONE) if label != "English"]
    assert len(labels) > 50
    return [label for label in labels if re.search(r"(?<![A-Za-z])[a-z]{3,}", without_names(label))]
