"""The report in headless Chromium: narrow and wide, light and dark, by pointer and by keyboard."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from evaluation.record.record import StudyRecord
from evaluation.report.report import html
from tests.evaluation.report.made_up import KOREAN, make_record, with_many_arms

Scheme = Literal["dark", "light"]
WIDTHS = (360, 1400)
SCHEMES: tuple[Scheme, Scheme] = ("dark", "light")
TRANSPARENT = "rgba(0, 0, 0, 0)"

TWELVE = with_many_arms(make_record(seeds=4, tuned=False), 3)


OVERLAPS = """() => {
    const boxes = svg => [...svg.querySelectorAll('text')].filter(one => one.textContent.trim())
        .map(one => [one.textContent, one.getBoundingClientRect()]);
    const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
    return [...document.querySelectorAll('figure svg, .verdict svg')].filter(svg => svg.checkVisibility())
        .flatMap(svg => boxes(svg).flatMap(([name, box], at, all) =>
            all.slice(at + 1).filter(([, other]) => over(box, other)).map(([other]) => `${name} / ${other}`)));
}"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll('svg text')].filter(one => one.checkVisibility())
    .map(one => [parseFloat(getComputedStyle(one).fontSize), one.getScreenCTM()])
    .map(([size, matrix]) => size * Math.hypot(matrix.a, matrix.b)))"""


def page_in(folder: Path, record: StudyRecord) -> Path:
    """The page alone, without the pictures that lie beside it."""
    path = folder / "report.html"
    path.write_text(html(record), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_in(tmp_path_factory.mktemp("report"), make_record(failed=1))


@pytest.fixture(scope="module")
def of_twelve_arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_in(tmp_path_factory.mktemp("twelve"), TWELVE)


VIEWS = [
    *(pytest.param((width, scheme), id=f"{width} {scheme}") for width, scheme in zip(WIDTHS, SCHEMES, strict=True)),
    *(
        pytest.param((width, scheme), id=f"{width} {scheme}", marks=pytest.mark.slow)
        for width, scheme in zip(WIDTHS, reversed(SCHEMES), strict=True)
    ),
]


@contextmanager
def opened(browser: Browser, report: Path, view: tuple[int, Scheme]) -> Iterator[Page]:
    """The report in a window of its own; it must neither complain nor ask for anything."""
    width, scheme = view
    page, messages, requests = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme), [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda sent: requests.append(sent.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]


@pytest.fixture(scope="module", params=VIEWS)
def window(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Page]:
    with opened(browser, report, request.param) as page:
        yield page


@pytest.fixture
def page(window: Page) -> Page:
    """The report as it was when it was opened: it has no script, so that its inputs are all that it remembers."""
    window.evaluate("document.querySelectorAll('input').forEach(input => input.checked = input.defaultChecked)")
    window.evaluate("document.activeElement.blur()")
    window.mouse.move(0, 0)
    return window


def test_the_page_never_scrolls_sideways_and_everything_has_room(page: Page) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for kind in ("figure svg", "table", "h2", "caption"):
        boxes = [box for found in page.locator(kind).all() if found.is_visible() and (box := found.bounding_box())]
        assert boxes
        assert all(box["width"] > 20 and box["height"] > 10 and box["x"] >= 0 for box in boxes)
        if kind != "table":  # which scrolls within a box of its own
            assert all(box["x"] + box["width"] <= width + 1 for box in boxes), kind
    assert page.evaluate(OVERLAPS) == []


def test_text_can_be_told_from_the_page(page: Page) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 at least."""
    contrast = """element => {
        const light = colour => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
                .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const pair = [getComputedStyle(element).color, getComputedStyle(document.body).backgroundColor].map(light);
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    }"""
    for kind in ("p", "caption", "figcaption", "tbody td.word", ".question", ".chip", ".points li", "nav a", "h2"):
        assert page.locator(kind).first.evaluate(contrast) >= 4.5, kind


def test_what_is_hidden_shows_under_a_pointer_and_under_the_keyboard(page: Page) -> None:
    column = page.locator(".covered").first
    cover = column.locator(".cover").first
    assert cover.evaluate("element => getComputedStyle(element).color") == TRANSPARENT
    column.hover()
    expect(cover).not_to_have_css("color", TRANSPARENT)
    page.mouse.move(0, 0)
    expect(cover).to_have_css("color", TRANSPARENT)
    column.focus()
    expect(cover).not_to_have_css("color", TRANSPARENT)
    last = page.locator(".cover").last
    expect(last).to_have_css("color", TRANSPARENT)
    page.locator("#reveal").check()
    expect(last).not_to_have_css("color", TRANSPARENT)


@pytest.mark.parametrize("view", VIEWS)
def test_the_tab_key_reaches_whatever_answers_to_it(browser: Browser, report: Path, view: tuple[int, Scheme]) -> None:
    """From the beginning of a page that nothing was clicked in."""
    reached = set()
    with opened(browser, report, view) as page:
        for _ in range(400):
            page.keyboard.press("Tab")
            where = page.evaluate("""() => {
                const at = document.activeElement, name = at.className && '.' + at.className.split(' ')[0];
                return at === document.body ? null : at.tagName + name;
            }""")
            if where is None:
                break
            reached.add(where)
    assert {"A.skip", "A", "INPUT", "DIV.table", "SUMMARY", "SPAN.column", "PRE"} <= reached


def test_curves_are_drawn_against_the_named_axis(page: Page) -> None:
    tokens, flops = page.locator("#figure-losses-raw_tokens"), page.locator("#figure-losses-flops")
    assert tokens.is_visible()
    assert not flops.is_visible()
    page.get_by_text("training FLOPs", exact=True).first.click()
    assert flops.is_visible()
    assert not tokens.is_visible()


def test_korean_has_its_letters(page: Page) -> None:
    shown = page.get_by_text(KOREAN).first
    assert shown.is_visible()
    widths = shown.evaluate("""element => {
        const context = document.createElement('canvas').getContext('2d');
        context.font = getComputedStyle(element).font;
        return ['가', '힣'].map(letter => context.measureText(letter).width);
    }""")
    assert all(width > 5 for width in widths)


def test_a_report_of_twelve_arms_can_be_read(browser: Browser, of_twelve_arms: Path) -> None:
    page = browser.new_page()
    page.goto(of_twelve_arms.as_uri())
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERLAPS) == []
        assert page.evaluate(SMALLEST) >= 8
        summary = page.locator("table").first
        signs = summary.locator("tbody .sign").evaluate_all("all => all.map(one => one.textContent + one.style.color)")
        assert len(set(signs)) == len(TWELVE.arms) == 12  # no two look alike
        heights = page.locator("tbody tr").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
        assert max(heights) < 150  # no row is stretched by a cell beyond the edge of the page
    page.close()
