"""The viewer's page: every draw is what `corrupt` does, in one file that needs nothing else."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

import show
from data.stream.order import Purpose, generator
from data.tokens.tokenizer import Tokenizer
from models.bodies.make import config_from
from objectives.causal_lm import CausalLM
from objectives.core.pretraining import Pretraining
from objectives.inspection.picture import Painter
from objectives.inspection.text import text_alone
from objectives.inspection.viewer.html import MOST_BYTES
from tests.objectives.inspection.viewer.pages import SCHEMES, data_of, english_labels, opened_page, panels_of
from training.monitoring.next_command import command
from training.optimizers.optim import OptimizerConfig
from training.step.budget import Budget
from training.storage.yaml_text import read_yaml

ENGLISH = "Thank you for inviting me to your party last week . </script><b>bold</b>"
KOREAN = "지난주 에 파티 에 감사 합니다 ."


def decoded(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return tokenizer.decode(list(ids), skip_special_tokens=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "page.html"
    assert show.main(["--html", str(path), ENGLISH, KOREAN]) == 0
    return path


@pytest.fixture(scope="module")
def data(path: Path) -> dict[str, Any]:
    return data_of(path.read_text(encoding="utf-8"))


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
                assert panels_of(data, drawn) == panels
                assert len(drawn["sees"]) == len(panels)
                assert drawn["measures"] == pytest.approx(example.measures, abs=5e-4)
                compared += 1
    assert compared > 300


def test_the_page_is_one_file_below_2_mb_that_needs_nothing_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_BYTES
    assert "</script><b>" not in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)


def test_no_text_and_what_is_no_run_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = ["--html", str(tmp_path / "page.html")]
    for words, message in (
        (page, "--html needs a text"),
        ([*page, "a", "--runs", str(tmp_path / "gone"), "a text"], "texts stand before --runs"),
        (["a", "--runs", str(tmp_path)], "add --html page.html"),
        ([*page, "a", "--runs", str(tmp_path)], "is not a run"),
    ):
        with pytest.raises(SystemExit) as ended:
            show.main(words)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_of_a_long_text_the_first_64_tokens_are_shown_and_page_and_terminal_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["one", "two", "red", "sun"] * 20
    page = tmp_path / "page.html"
    assert show.main(["--html", str(page), "--config", str(show.CONFIGS / "causal_lm.yaml"), " ".join(words)]) == 0
    printed = capsys.readouterr()
    assert "the first 64 of 80 tokens" in printed.out
    next_command = command("train.py", "--config", show.CONFIGS / "causal_lm.yaml")
    assert printed.err.splitlines()[-1] == f"next: {next_command}"
    data = data_of(page.read_text(encoding="utf-8"))
    assert "64 of 80" in data["notes"][0]["en"]
    assert "80개 가운데 앞의 64개" in data["notes"][0]["ko"]
    (drawn,) = {json.dumps(draw) for draw in data["objectives"][0]["texts"][0]["draws"].values()}
    assert [cell[0] for cell in panels_of(data, json.loads(drawn))[0]["predicts"]] == words[:64]


def test_operations_are_those_that_a_training_step_counts(data: dict[str, Any]) -> None:
    """Of the shape of configs/base.yaml, the backward pass included."""
    windows, window, _, vocabulary = text_alone(ENGLISH)
    base = read_yaml(show.CONFIGS / "base.yaml")
    objective = CausalLM()
    module = Pretraining(objective, body=config_from(base["body"]), optimizer=OptimizerConfig(), budget=Budget(steps=1))
    network = module.build(vocab_size=base["data"]["vocab_size"], window=len(window))
    flops = 3 * objective.flops_per_window(network, windows, vocabulary) / len(window)
    shown = next(one for one in data["objectives"] if one["name"] == "causal_lm")["texts"][0]["rates"][""]
    assert shown["training MFLOPs per raw token"][0] == pytest.approx(flops / 1e6, abs=0.01)


@SCHEMES
def test_the_page_can_be_played_with(
    browser: Browser, path: Path, data: dict[str, Any], width: int, scheme: Any
) -> None:
    page, messages = opened_page(browser, path, width, scheme)

    def tokens() -> list[str]:
        return page.locator("#masked_lm .column > span:first-child").all_inner_texts()

    # No line of tokens has room for rows that are empty in it.
    hollow = page.locator(".column > span:last-child").evaluate_all(
        "all => all.filter(one => one.matches('.empty')).length"
    )
    assert hollow == 0

    # The draw that is shown is that of the seed and of the knobs that are chosen, by pointer and by keyboard.
    first = tokens()
    shown = next(one for one in data["objectives"] if one["name"] == "masked_lm")["texts"][0]
    key = "/".join(str(shown["defaults"][name]) for name in shown["knobs"])

    def reads(draw: str) -> list[str]:
        return [cell[0] for cell in panels_of(data, shown["draws"][draw])[0]["reads"]]

    assert first == reads(f"{key}:0")
    page.locator("#seed").focus()
    page.keyboard.press("ArrowRight")
    assert tokens() == reads(f"{key}:1")
    page.select_option("#masked_lm [data-knob=noise_density]", "3")
    moved = {**shown["defaults"], "noise_density": 3}
    key = "/".join(str(moved[name]) for name in shown["knobs"])
    assert tokens() == reads(f"{key}:1")

    # Of masked diffusion a noise level is chosen among those of the draws.
    diffusion = next(one for one in data["objectives"] if one["name"] == "masked_diffusion")["texts"][0]["draws"]
    levels = {draw["measures"]["noise level"]: draw for draw in diffusion.values()}
    page.locator("#masked_diffusion [data-knob=noise_level]").select_option(label=f"{max(levels):.2f}")
    strip = page.locator("#masked_diffusion .column > span:first-child").all_inner_texts()
    assert strip == [cell[0] for cell in panels_of(data, levels[max(levels)])[0]["reads"]]

    # A token under the keyboard marks those that it sees: of a causal LM itself and those before it.
    strip = page.locator("#causal_lm .column")
    assert strip.evaluate_all("all => all.filter(one => one.tabIndex === 0).length") == 1  # one stop of the Tab key
    strip.nth(0).focus()
    for key, seen in (("ArrowRight", 2), ("ArrowRight", 3), ("Home", 1), ("End", strip.count())):
        page.keyboard.press(key)
        assert page.locator("#causal_lm .column.seen").count() == seen

    # Who sees whom stands side by side, in words for who does not see the picture.
    names = page.locator("#masks svg").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert any("causal lm, decoder" in name and "those before it" in name for name in names)
    assert any("span corruption, encoder" in name and "see each other" in name for name in names)

    page.select_option("#text", "1")
    page.locator("#language").click()
    assert page.locator("html").get_attribute("lang") == "ko"
    assert page.locator("#masks h2").inner_text() == "누가 누구를 보는가"
    assert "지난주" in page.locator("#causal_lm").inner_text()
    assert page.locator("#masked_lm label > span").all_inner_texts()[:2] == ["잡음 비율", "가리는 단위"]
    assert "단어" in page.locator("#masked_lm [data-knob=unit] option").all_inner_texts()
    assert english_labels(page, data) == []
    assert messages == []
    page.close()
