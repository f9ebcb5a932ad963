"""The viewer's page: every draw is what `corrupt` does, in one file that needs nothing else."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import show
from data.store.tokenizer import Tokenizer
from data.stream.order import Purpose, generator
from objectives.inspection.picture import Painter
from objectives.inspection.text import text_alone
from objectives.inspection.viewer.html import MOST_BYTES

ENGLISH = "Thank you for inviting me to your party last week . </script><b>bold</b>"
KOREAN = "지난주 에 파티 에 초대 해 주셔서 감사 합니다 ."
EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_a_browser = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed")


def decoded(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return tokenizer.decode(list(ids), skip_special_tokens=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "page.html"
    assert show.main(["--html", str(path), ENGLISH, KOREAN]) == 0
    return path


@pytest.fixture(scope="module")
def data(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_every_objective_with_a_config_is_shown(data: dict[str, Any]) -> None:
    names = {path.stem for path in (show.CONFIGS).glob("*.yaml")} - {"base"}
    assert {objective["name"] for objective in data["objectives"]} == names
    assert data["texts"] == [ENGLISH, KOREAN]


def test_every_draw_is_what_corrupt_does_with_its_knobs_and_seed(data: dict[str, Any]) -> None:
    models, compared = show.objective_configs(None), 0
    for objective in data["objectives"]:
        model = models[objective["name"]]
        kind = show.class_named(model["class_path"])
        own = {key: value for key, value in model.get("init_args", {}).items() if key not in show.SHARED}
        for text, shown in zip(data["texts"], objective["texts"], strict=True):
            windows, window, tokenizer, vocabulary = text_alone(text)
            painter = Painter(
                vocabulary, lambda ids, known=tokenizer: known.decode(list(ids), skip_special_tokens=False)
            )
            for key, drawn in shown["draws"].items():
                steps, _, seed = key.partition(":")
                places = [int(step) for step in steps.split("/")] if steps else []
                knobs = {name: shown["knobs"][name][at] for name, at in zip(shown["knobs"], places, strict=True)}
                corrupt = kind(**{**own, **knobs}).corruption(vocabulary)
                example = corrupt(window, generator(int(seed), Purpose.DISPLAY, 0, window.index), windows)
                panels = [
                    {row: [list(cell) for cell in cells] for row, cells in panel.items()}
                    for panel in painter.panels(window, example)
                ]
                assert drawn["panels"] == panels
                assert len(drawn["sees"]) == len(panels)
                compared += 1
    assert compared > 300


def test_the_page_is_one_file_below_2_mb_that_needs_nothing_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_BYTES
    assert "</script><b>" not in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)


def test_a_text_that_is_too_long_and_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for texts, message in ((["word " * 80], "the page shows 64 at most"), ([], "--html needs a text")):
        with pytest.raises(SystemExit) as ended:
            show.main(["--html", str(tmp_path / "page.html"), *texts])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=["--no-sandbox"])
        yield browser
        browser.close()


@needs_a_browser
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1400, "light"), (1400, "dark")])
def test_the_page_can_be_played_with(
    browser: Browser, path: Path, data: dict[str, Any], width: int, scheme: Any
) -> None:
    page: Page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    def tokens() -> list[str]:
        return page.locator("#masked_lm .column > span:first-child").all_inner_texts()

    # The draw that is shown is that of the seed and of the knobs that are chosen, by pointer and by keyboard.
    first = tokens()
    shown = next(one for one in data["objectives"] if one["name"] == "masked_lm")["texts"][0]
    key = "/".join(str(shown["defaults"][name]) for name in shown["knobs"])
    expected = [cell[0] for cell in shown["draws"][f"{key}:0"]["panels"][0]["reads"]]
    assert first == expected
    page.locator("#seed").focus()
    page.keyboard.press("ArrowRight")
    assert tokens() == [cell[0] for cell in shown["draws"][f"{key}:1"]["panels"][0]["reads"]]
    page.select_option("#masked_lm [data-knob=noise_density]", "3")
    moved = {**shown["defaults"], "noise_density": 3}
    key = "/".join(str(moved[name]) for name in shown["knobs"])
    assert tokens() == [cell[0] for cell in shown["draws"][f"{key}:1"]["panels"][0]["reads"]]

    # A token under the keyboard marks those that it sees: of a causal LM itself and those before it.
    page.locator("#causal_lm .column").nth(2).focus()
    assert page.locator("#causal_lm .column.seen").count() == 3

    page.select_option("#text", "1")
    page.locator("#language").click()
    assert page.locator("html").get_attribute("lang") in ("ko", "en")
    assert "지난주" in page.locator("#causal_lm").inner_text()
    assert messages == []
    page.close()
