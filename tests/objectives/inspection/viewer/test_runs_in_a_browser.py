"""The viewer's page with trained runs in a browser: pointer, keyboard, names for a screen reader."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.objectives.inspection.viewer.pages import SCHEMES, english_labels, opened_page, shown


@SCHEMES
def test_runs_can_be_played_with_by_keyboard(
    browser: Browser, runs_page: Path, runs_data: dict[str, Any], width: int, scheme: Any
) -> None:
    page, messages = opened_page(browser, runs_page, width, scheme)

    # The top five of a target show beside it under the keyboard and under the pointer, and Escape takes them away.
    run = page.locator(".run[aria-label=causal_lm]")
    guesses = shown(runs_data, "causal_lm")["texts"][0]["draws"][0]["passes"][-1]["guesses"]
    place, _, best, _ = guesses[1]
    for reach in (lambda: run.locator(".column").nth(place).focus(), lambda: run.locator(".column").nth(place).hover()):
        reach()
        tip = page.locator("#tip")
        assert tip.is_visible()
        assert tip.locator("th").all_inner_texts() == [runs_data["cells"][cell] for cell, _ in best]
        assert run.locator(".column").nth(place).get_attribute("aria-describedby") == "tip"
        page.keyboard.press("Escape")
        assert not tip.is_visible()
    assert "likeliest" in (run.locator(".column").nth(place).get_attribute("aria-label") or "")

    # The slider goes through the checkpoints and keeps the focus.
    slider = run.locator("[data-key=checkpoint]")
    slider.focus()
    for step in (3, 2):
        page.keyboard.press("ArrowLeft")
        assert f"step {step}" in run.locator(".readout").first.inner_text()
        assert page.evaluate("document.activeElement.dataset.key") == "checkpoint"
    assert "unigram" in (run.locator("svg.chart").get_attribute("aria-label") or "")
    assert run.locator("svg.chart rect.mark").count() == 4
    assert "■" in run.locator(".readout").first.inner_text()

    # Attention opens, shows every head, and names the weights of the token under the keyboard in words.
    spans = page.locator(".run[aria-label=span_corruption]")
    spans.locator("summary").focus()
    page.keyboard.press("Enter")
    spans.locator("button.head").first.wait_for()
    assert spans.locator("button.head").count() == 1 * 2 + 1  # one layer a stack of two heads, and their mean
    for view in ("lines", "heat"):
        for kind in range(3):
            spans.locator("[data-key=map]").select_option(str(kind))
            spans.locator("[data-key=view]").select_option(view)
            assert spans.locator(".wide svg").count() == 1
    spans.locator("button.head").nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert spans.locator("button.head[aria-pressed=true]").get_attribute("aria-label") == "layer 1, head 2"
    assert page.evaluate("document.activeElement.dataset.key") == "head 0 1"
    spans.locator(".queries .column").nth(0).focus()
    before = spans.locator(".attention .readout").inner_text()
    page.keyboard.press("End")
    assert spans.locator(".attention .readout").inner_text() != before
    assert "%" in before

    # One slider moves every generation by a pass.
    page.locator("[data-key=pass]").focus()
    assert page.locator("#passes .generation").count() >= 2
    hidden = page.locator("#passes .hidden").count()
    page.keyboard.press("ArrowRight")
    assert page.locator("#passes .hidden").count() < hidden

    page.select_option("#text", "1")
    page.locator("#language").click()
    assert page.locator("html").get_attribute("lang") == "ko"
    assert page.locator("#runs h2").inner_text() == "학습된 모델"
    assert english_labels(page, runs_data) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, button, svg, [role=list]')]"
        ".filter(one => !(one.textContent.trim() || one.getAttribute('aria-label')"
        " || one.closest('label')?.textContent.trim())).length"
    )
    assert unnamed == 0
    assert messages == []
    page.close()
