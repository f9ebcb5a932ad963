"""The viewer's page with trained runs: what it shows is what their networks predict, look at and generate."""

import base64
import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import show
from data.stream.order import Purpose, generator
from evaluation.excerpts import held_out
from evaluation.plateau import ordinary_loss
from models.generation.decoding import Decoding
from objectives.core.prompts import Prompts
from objectives.inspection.attention import maps_in_training
from objectives.inspection.text import windows_of_text
from objectives.inspection.viewer import html, runs
from objectives.inspection.viewer.runs import spread
from objectives.weights.load import TrainedRun, load_run
from tests.helpers import ROOT
from tests.objectives.inspection.viewer.pages import OBJECTIVES, STEPS, TEXTS, data_of, panels_of, shown


@pytest.mark.parametrize("name", OBJECTIVES)
def test_probabilities_are_those_of_the_network_at_every_checkpoint(
    name: str, folders: dict[str, Path], runs_data: dict[str, Any]
) -> None:
    drawn, compared = shown(runs_data, name), 0
    assert [one["step"] for one in drawn["checkpoints"]] == list(STEPS)
    for at, step in enumerate(STEPS):
        run = load_run(folders[name], step=step)
        for text, entry in zip(TEXTS, drawn["texts"], strict=True):
            windows = windows_of_text(text, run.tokenizer, run.vocabulary, most=run.window)
            window = windows[0]
            rng = generator(0, Purpose.DISPLAY, 0, window.index)
            example = run.objective.corruption(run.vocabulary)(window, rng, windows)
            batch = run.batch([window], [example])
            term, role = run.objective.token_term, run.objective.token_role
            chances = run.network.logits(batch, term, role).double().softmax(dim=-1)
            labels = batch.labels[term]
            places = dict(zip(labels.positions_N.tolist(), range(len(chances)), strict=True))
            made = entry["draws"][0]["passes"][at]
            assert [guess[0] for guess in made["guesses"]] == sorted(places)
            for place, chance, best, is_hit in made["guesses"]:
                row, target = chances[places[place]], int(labels.ids_N[places[place]])
                assert chance == round(10_000 * float(row[target]))
                assert [share for _, share in best] == [round(10_000 * p) for p in row.topk(5).values.tolist()]
                assert is_hit == (int(row.argmax()) == target)
                compared += 1
            nats = [-math.log(float(chances[index][int(labels.ids_N[index])])) for index in range(len(chances))]
            assert made["nats"] == pytest.approx(np.mean(nats), abs=1e-3)
    assert compared


def test_a_detector_shows_what_it_reads_and_what_it_takes_for_replaced(runs_data: dict[str, Any]) -> None:
    for entry in shown(runs_data, "replaced_token_detection")["texts"]:
        for draw in entry["draws"]:
            for made in draw["passes"]:
                length = len(draw["panels"][0]["reads"])
                assert [place for place, *_ in made["detections"]["replaced"]] == list(range(length))
                assert {place for place, _, is_so in made["detections"]["replaced"] if is_so} <= {
                    place for place, _ in made["written"]
                }


@pytest.mark.parametrize("name", OBJECTIVES)
def test_attention_is_that_of_the_network_in_eight_bits(
    name: str, folders: dict[str, Path], runs_data: dict[str, Any]
) -> None:
    run, text = load_run(folders[name]), TEXTS[0]
    windows = windows_of_text(text, run.tokenizer, run.vocabulary, most=run.window)
    example = run.objective.corruption(run.vocabulary)(windows[0], generator(0, Purpose.DISPLAY, 0, 0), windows)
    maps = maps_in_training(run.objective, run.network, run.batch([windows[0]], [example]))
    entry = shown(runs_data, name)["texts"][0]["attention"]
    assert {(one["role"], one["stack"], one["kind"]) for one in entry} == {(m.role, m.stack, m.kind) for m in maps}
    assert any(one["kind"] == "cross" for one in entry) == (name == "span_corruption")
    for one in entry:
        weights = np.frombuffer(base64.b64decode(one["bytes"]), np.uint8).reshape(one["shape"]) / 255
        layers = [m for m in maps if (m.role, m.stack, m.kind) == (one["role"], one["stack"], one["kind"])]
        expected = torch.stack([layer.weights_BHQK[0] for layer in layers]).numpy()
        np.testing.assert_allclose(weights, expected, atol=0.5 / 255 + 1e-6)
        assert [len(one["queries"]), len(one["keys"])] == one["shape"][2:]


def generated(run: TrainedRun, prompt: str, decoding: Decoding) -> str:
    prompts = Prompts(
        texts=[prompt],
        tokenizer=run.tokenizer,
        vocabulary=run.vocabulary,
        max_positions=run.max_positions,
        decoding=decoding,
    )
    return next(run.generate(prompts)).text


def test_generation_is_shown_pass_by_pass_and_ends_as_generate_py_ends(
    folders: dict[str, Path], runs_data: dict[str, Any]
) -> None:
    for name, kind in (("causal_lm", "left_to_right"), ("masked_diffusion", "diffusion")):
        run = load_run(folders[name])
        for entry in shown(runs_data, name)["texts"]:
            made = entry["continuation"]
            assert made["kind"] == kind
            decoding = Decoding(max_new_tokens=16) if kind == "left_to_right" else Decoding()
            assert made["text"] == generated(run, made["prompt"], decoding)
            hidden = [sum(cell[1] == "hidden" for cell in cells) for cells in made["passes"]]
            new = [sum(cell[1] == "new" for cell in cells) for cells in made["passes"]]
            assert new == [0] + [1] * (len(new) - 1)
            if kind == "diffusion":
                assert hidden == list(range(16, -1, -1))
                names = [cell[0] for cell in made["passes"][-1]]
                assert not any("\ufffd" in name or "\u2026" in name for name in names)
                assert made["prompt"].count("[MASK]") == 16
            else:
                assert "".join(cell[0] for cell in made["passes"][-1]).replace("↵", "\n") == made["text"]
    assert "fill" not in shown(runs_data, "causal_lm")["texts"][0]
    fill = shown(runs_data, "span_corruption")["texts"][0]["fill"]
    assert fill["prompt"] == "the [MASK] sun and the [MASK] dog ."


def test_checkpoints_stand_beside_the_unigram_entropy_of_their_held_out_text(
    folders: dict[str, Path], runs_data: dict[str, Any]
) -> None:
    run = load_run(folders["causal_lm"], step=2)
    windows = held_out(run)
    drawn = shown(runs_data, "causal_lm")
    assert drawn["unigram_entropy"] == pytest.approx(cast(Any, windows.store).unigram_entropy, abs=1e-3)
    assert drawn["checkpoints"][1]["loss"] == pytest.approx(ordinary_loss(run, windows), abs=1e-3)
    assert drawn["checkpoints"][1]["is_on_plateau"] is True  # two steps teach nothing of what follows what


def test_a_run_whose_token_store_is_gone_is_shown_without_its_held_out_loss(folders: dict[str, Path]) -> None:
    run = load_run(folders["causal_lm"])
    run.config["data"]["cache"] = "/nowhere"
    assert show.held_out_loss(run) is None
    drawn = runs.run_data(folders["causal_lm"], "a", TEXTS[:1], lambda _: None)
    assert drawn["unigram_entropy"] is None
    assert drawn["checkpoints"][0]["loss"] is None


def test_more_runs_checkpoints_and_tokens_than_a_page_shows_are_left_out_and_named(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_RUNS", 1)
    monkeypatch.setattr(runs, "MOST_CHECKPOINTS", 2)
    notes: list[Any] = []
    text = " ".join(["the sun"] * 40)
    both = [folders["causal_lm"], folders["span_corruption"]]
    (drawn,) = runs.runs_data(both, [text], lambda _: None, notes)
    named = " / ".join(note.en for note in notes)
    assert "span_corruption is left out" in named
    assert "2 are shown, evenly spread: causal_lm (4)" in named
    assert "the first 32 of" in named  # its windows are no longer
    assert "are shown under causal_lm" in named
    assert [one["step"] for one in drawn["checkpoints"]] == [1, 4]
    assert all("빠졌" in note.ko or "담았" in note.ko for note in notes)


@pytest.mark.parametrize("number", [1, 2, 9, 10, 11, 57])
def test_checkpoints_are_evenly_spread_with_the_first_and_the_last(number: int) -> None:
    steps = list(range(number))
    kept = spread(steps, 10)
    assert len(kept) == min(number, 10)
    assert (kept[0], kept[-1]) == (0, number - 1)
    assert max(np.diff(kept), default=0) - min(np.diff(kept), default=0) <= 1


def test_beyond_its_limit_a_page_says_what_it_leaves_out(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole.html"
    command = ["--config", str(ROOT / "configs/denoising.yaml"), *TEXTS]
    runs_too = ["--runs", str(folders["span_corruption"])]
    assert show.main(["--html", str(whole), *command, *runs_too]) == 0
    size, smallest = whole.stat().st_size, 0
    for share in (0.8, 0.5):
        monkeypatch.setattr(html, "MOST_BYTES", int(size * share))
        page = tmp_path / f"{share}.html"
        capsys.readouterr()
        assert show.main(["--html", str(page), *command, *runs_too]) == 0
        out = capsys.readouterr().out
        data = data_of(page.read_text(encoding="utf-8"))
        assert page.stat().st_size <= size * share
        assert len(data["notes"]) >= max(smallest, 1)
        smallest = len(data["notes"])
        assert all(note["en"] in out for note in data["notes"])
        run = data["runs"][0]
        for text in run["texts"]:
            assert all(len(draw["passes"]) == len(run["checkpoints"]) for draw in text["draws"])
            for one in text["attention"]:
                assert len(base64.b64decode(one["bytes"])) == math.prod(one["shape"])


def test_examples_of_a_run_are_the_same_page_without_debris(folders: dict[str, Path]) -> None:
    for name, folder in folders.items():
        text = (folder / "examples.html").read_text(encoding="utf-8")
        data = data_of(text)
        assert data["title"] == f"{name}, step 4"
        assert '<meta name="viewport"' in text
        assert "prefers-color-scheme: dark" in text
        (run,) = data["runs"]
        assert run["texts"][0]["draws"][0]["passes"][0]["guesses"]
        assert not data["objectives"]
        for cell in data["cells"]:
            assert "\n" not in json.dumps(cell, ensure_ascii=False).replace("\\n", "\n")
            assert "\ufffd" not in json.dumps(cell, ensure_ascii=False)
        newest = load_run(folder)
        windows = held_out(newest)
        rng = generator(newest.config["seed"], Purpose.VALIDATION_NOISE, 0, windows[0].index)
        example = newest.objective.corruption(newest.vocabulary)(windows[0], rng, windows)
        panels = panels_of(data, run["texts"][0]["draws"][0])
        assert len(panels) == (example.encoder_ids is not None) + (example.decoder_ids is not None)
