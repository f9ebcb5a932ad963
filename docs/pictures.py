"""Draws the README's pictures anew: python docs/pictures.py (the report needs a Chromium).

docs/pictures/one_sentence.svg: one sentence under four objectives. docs/pictures/report.png: the first screen of the
report of a study in results/.
"""

import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.terminal_theme import TerminalTheme  # noqa: E402

from docs.hooks import SEED, SENTENCES, configs, panels_of  # noqa: E402
from evaluation.record.files import read_record  # noqa: E402
from evaluation.report.report import write_report  # noqa: E402
from objectives.inspection.picture import picture  # noqa: E402

PICTURES = Path(__file__).with_name("pictures")
FOUR = ("masked_lm", "causal_lm", "denoising", "span_corruption")
STUDY = ROOT / "results/four_objectives/results.json"
_DARK = ("1d1d1f", "b34a00", "00704f", "f3cf5b", "0a5a8c", "8c3c6e", "006e78", "dcdcd5")  # the eight ANSI colours
_LIGHT = ("5f5f58", "c85a14", "00805c", "f3cf5b", "0a5a8c", "a04682", "00828c", "fdfdfb")


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour)
    return red, green, blue


PAPER = TerminalTheme(_rgb("fdfdfb"), _rgb("1d1d1f"), [*map(_rgb, _DARK)], [*map(_rgb, _LIGHT)])


def one_sentence() -> str:
    """SVG of a sentence under the four objectives, which reads nothing from the network."""
    console = Console(record=True, file=io.StringIO(), width=100, force_terminal=True, color_system="truecolor")
    models = {name: model for name, model, _ in configs()}
    for name in FOUR:
        panels, _ = panels_of(models[name], SENTENCES["English"], SEED)
        console.rule(f"[bold]{name}[/]", align="left", style="dim")
        console.print(picture(panels, 100))
    svg = console.export_svg(title="one sentence under four objectives", theme=PAPER)
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "ui-monospace")


def report(path: Path) -> None:
    """PNG of a report's first screen."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = write_report(read_record(STUDY), Path(folder))
        view = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": 1400, "height": 900}, color_scheme="light"
        )
        view.goto(page.as_uri())
        view.screenshot(path=path)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "one_sentence.svg").write_text(one_sentence(), encoding="utf-8")
    report(PICTURES / "report.png")
