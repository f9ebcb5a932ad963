"""A mixture of denoisers: one drawn for each window, one batch, one mean over tokens (N21 to N25)."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import generate
import score
from common.errors import UserError
from data.stream.batch import IGNORE
from objectives.core.base import Objective
from objectives.mixtures.mixture import MixtureOfDenoisers
from objectives.prefix_lm import PrefixLM
from objectives.span_corruption import SpanCorruption
from tests.helpers import ROOT, make_windows, metrics_of, train_in_process, weights_of
from tests.objectives.exactness import train_exactly, train_exactly_and_go_on
from tests.objectives.texts import (
    EOS,
    SENTINELS,
    VOCABULARY,
    batch_of,
    built,
    examples_of,
    hidden_places,
    key,
    made,
    mean_loss,
    standard_error,
)

Command = Callable[..., list[str]]
UL2 = yaml.safe_load((ROOT / "configs/papers/ul2.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
NAMES = [member["name"] for member in UL2["members"]]
SPANS = "objectives.span_corruption.SpanCorruption"
MODES = {f"mode_{letter}": VOCABULARY.id_of(f"mode_{letter}") for letter in "rxs"}


def ul2(**knobs: Any) -> MixtureOfDenoisers:
    return made(MixtureOfDenoisers, **{**UL2, **knobs})


def alone(name: str) -> MixtureOfDenoisers:
    return ul2(rates=[float(name == other) for other in NAMES])


@pytest.mark.parametrize("name", NAMES[:-1])
def test_n21_the_spans_of_each_denoiser_are_as_many_and_as_long_as_its_settings_say(name: str) -> None:
    """Of a window of 512 tokens: T5's own counts, which are the settings but for rounding."""
    settings = next(member["settings"] for member in UL2["members"] if member["name"] == name)
    windows = make_windows(VOCABULARY, documents=60, length=512)
    objective = alone(name)
    rates, lengths = [], []
    for window, example in examples_of(objective.corruption(VOCABULARY), windows)[:4]:
        assert example.encoder_ids is not None
        hidden = hidden_places(example, len(window))
        rates.append(hidden.mean())
        lengths.append(hidden.sum() / np.isin(example.encoder_ids, SENTINELS).sum())
    assert np.mean(rates) == pytest.approx(settings["noise_density"], abs=2 / 512)
    assert np.mean(lengths) == pytest.approx(settings["mean_span_length"], rel=0.25)


@pytest.mark.parametrize("name", NAMES)
def test_n22_inputs_and_targets_join_to_the_window_behind_the_mode_token(name: str) -> None:
    windows = make_windows(VOCABULARY, length=64)
    mode = next(member["mode"] for member in UL2["members"] if member["name"] == name)
    for window, example in examples_of(alone(name).corruption(VOCABULARY), windows):
        assert example.encoder_ids is not None
        assert example.encoder_ids[0] == MODES[f"mode_{mode}"]
        assert (np.isin(example.encoder_ids, list(MODES.values()))).sum() == 1
        held = Counter(example.encoder_ids.tolist()) + Counter(example.token_labels.tolist())
        for special in (*SENTINELS.tolist(), EOS, *MODES.values()):
            held.pop(special, None)
        tokens = Counter(window.tokens.tolist())
        tokens.pop(EOS, None)
        assert held == tokens


def test_n23_too_many_spans_for_the_sentinels_are_refused() -> None:
    ul2().check_window(766)  # x3 needs all 128
    with pytest.raises(UserError, match="makes 129 spans"):
        ul2().check_window(774)


def test_n24_rates_of_one_denoiser_are_that_objective_bit_for_bit(tiny_run: Command, tmp_path: Path) -> None:
    """Examples, loss and gradient, without mode tokens; and a whole run's weights."""
    windows, plain = make_windows(VOCABULARY, length=24), made(SpanCorruption)
    mixture = ul2(rates=[1, 0, 0, 0, 0, 0, 0], modes=False)
    one, other = (built(objective, window=24).double() for objective in (mixture, plain))
    other.load_state_dict(one.state_dict())
    losses = [mean_loss(m.terms(batch_of(m.objective, windows), count_correct=False)) for m in (one, other)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)  # pyright: ignore[reportArgumentType]
    members = tmp_path / "mixture.yaml"
    model = {
        "class_path": "objectives.mixtures.mixture.MixtureOfDenoisers",
        "init_args": {**UL2, "rates": [1, 0, 0, 0, 0, 0, 0]},
    }
    model["init_args"]["modes"] = False
    members.write_text(yaml.safe_dump({"model": model}), encoding="utf-8")
    assert train_in_process(tiny_run("span_corruption", "plain", "--budget.steps", "3")) == 0
    assert train_in_process(tiny_run("span_corruption", "mixed", "--config", str(members), "--budget.steps", "3")) == 0
    plain_weights, mixed = (weights_of(tmp_path / "runs" / name) for name in ("plain", "mixed"))
    assert all(torch.equal(mixed[name], tensor) for name, tensor in plain_weights.items())


def test_n25_every_window_comes_to_every_denoiser_as_often_as_its_rate() -> None:
    windows, objective = make_windows(VOCABULARY, length=32), ul2(rates=[2, 1, 1, 1, 1, 1, 3])
    corrupt = objective.corruption(VOCABULARY)
    members = [corrupt(windows[0], key(0, epoch=epoch), windows).member for epoch in range(2000)]
    counts = Counter(members)
    for number, rate in enumerate([0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3]):
        assert counts[number] / 2000 == pytest.approx(rate, abs=3 * standard_error(rate, 2000))
    in_one_epoch = {corrupt(windows[i], key(i), windows).member for i in range(len(windows))}
    assert len(in_one_epoch) == 7


def test_the_mean_is_over_the_tokens_of_all_denoisers_and_validation_has_one_of_each() -> None:
    windows, objective = make_windows(VOCABULARY, length=64), ul2()
    module = built(objective, window=64).double()
    batch = batch_of(objective, windows)
    assert set(module.train().terms(batch, count_correct=False)) == {"token"}
    terms = module.eval().terms(batch, count_correct=True)
    assert set(terms) == {"token", *NAMES}
    assert terms["token"].num_labels == sum(terms[name].num_labels for name in NAMES)
    examples = [example for _, example in examples_of(objective.corruption(VOCABULARY), windows)]
    for name in NAMES:
        own = [example for example in examples if example.measures[f"share of {name}"]]
        assert terms[name].num_labels == sum((example.token_labels != IGNORE).sum() for example in own)
    total = sum(terms[name].loss_sum.item() for name in NAMES)
    assert terms["token"].loss_sum.item() == pytest.approx(total, rel=1e-12)
    assert all(terms[name].minimised_sum.item() == 0 for name in NAMES)
    assert objective.validation_weight("token") == 1
    assert objective.validation_weight("r3") == 0


def test_documents_are_apart_for_the_prefix_lm_alone() -> None:
    windows = make_windows(VOCABULARY, length=48)
    pairs = examples_of(ul2().corruption(VOCABULARY), windows)
    batch = batch_of(ul2(), windows, pairs)
    assert batch.encoder_documents_BS is not None
    for row, (_, example) in zip(batch.encoder_documents_BS.tolist(), pairs, strict=True):
        assert any(row) == example.is_apart == (example.member == 6)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"rates": [1, 2]}, "must be 7 numbers"),
        ({"rates": [0] * 7}, "not all 0"),
        ({"members": []}, "must be one name at least"),
        ({"members": [{"name": "a", "objective": "objectives.masked_lm.MaskedLM"}]}, "a has losses of its own"),
        (
            {
                "members": [
                    {"name": "a", "objective": SPANS},
                    {"name": "b", "objective": "objectives.causal_lm.CausalLM"},
                ]
            },
            "all need the same stacks",
        ),
        ({"members": [{"name": "a", "objective": SPANS, "settings": {"mean_span": 3}}]}, "mean_span"),
    ],
)
def test_impossible_mixtures_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ul2(**knobs)


@pytest.fixture
def of_ul2(tmp_path: Path) -> tuple[str, ...]:
    """What a command line adds to train UL2's mixture."""
    members = tmp_path / "ul2.yaml"
    model = {"class_path": "objectives.mixtures.mixture.MixtureOfDenoisers", "init_args": UL2}
    members.write_text(yaml.safe_dump({"model": model, "data": {"vocabulary_format": 2}}), encoding="utf-8")
    return "--config", str(members), "--data.window", "64"  # no span is longer than its window


@pytest.mark.slow
def test_it_goes_on_bit_by_bit(tiny_run: Command, of_ul2: tuple[str, ...], tmp_path: Path) -> None:
    train_exactly_and_go_on(tiny_run, tmp_path / "runs", "span_corruption", *of_ul2)


def test_it_trains_exactly_generates_and_is_scored_with_its_mode_tokens(
    tiny_run: Command, of_ul2: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train_exactly(tiny_run, tmp_path / "runs", "span_corruption", *of_ul2)
    rows = metrics_of(whole)
    found = {name for name in NAMES if rows[-1].get(f"validation/{name}")}  # eight windows may leave one out
    assert len(found) >= 4
    assert rows[-1]["validation/loss"] == rows[-1]["validation/token"]
    run = str(whole)
    capsys.readouterr()
    assert generate.main([run, "the [MASK] sees", "the old cat", "--json", "--max_new_tokens", "4"]) == 0
    filled, continued = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "spans" in filled
    assert continued["text"] == "the old cat" + continued["continuation"]
    assert score.main([run, "--passages", "4", "--bytes", "24", "--json"]) == 0
    assert 1 < json.loads(capsys.readouterr().out)["metrics"]["continuation"]["mean"] < 20


def test_scorers_read_the_mode_token_of_their_kind() -> None:
    objective: Objective = ul2()
    scorers = objective.inference.scorers(objective, VOCABULARY)
    prefix, text = VOCABULARY.ordinary[:3].astype(np.int64), VOCABULARY.ordinary[3:7].astype(np.int64)
    assert next(iter(scorers)) == "log_likelihood"
    for name, mode in {"log_likelihood": "mode_s", "span_pll": "mode_r"}.items():
        for example in scorers[name].examples(prefix, text):
            assert example.encoder_ids is not None
            assert example.encoder_ids[0] == MODES[mode]
            assert example.token_term == "token"
            assert (example.token_labels != IGNORE).any()
    assert made(PrefixLM, stacks="both").uses_encoder
