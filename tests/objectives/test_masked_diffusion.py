"""Masked diffusion: noise levels by window, exact weights, what a perfect predictor loses (N31 to N38)."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import generate
import score
from common.errors import UserError
from data.stream.batch import EARLIER, IGNORE, Example
from data.stream.loader import CorruptedWindows
from objectives.inference.unmask import scored
from objectives.masked_diffusion import EPSILON, Estimator, MaskedDiffusion, hidden_share, rate_and_weight, slope
from tests.helpers import make_windows, metrics_of, train_in_process
from tests.objectives.exactness import train_exactly_and_go_on
from tests.objectives.perfect import (
    ENTROPY,
    LOSSES,
    PATTERNS,
    TIMES,
    L,
    V,
    expected_loss,
)
from tests.objectives.texts import FIRST, MASK, VOCABULARY, batch_of, built, key, made, window_of

Command = Callable[..., list[str]]
# --- the loss is a likelihood ---


def test_n31_a_perfect_predictor_loses_the_joint_entropy() -> None:
    """LLaDA's estimate lies just above it, MDLM's just below."""
    assert expected_loss() == pytest.approx(ENTROPY, rel=1e-3)
    assert expected_loss() > ENTROPY
    assert expected_loss(estimator="mdlm") == pytest.approx(0.999 * ENTROPY, rel=3e-4)
    assert expected_loss(estimator="mdlm") < ENTROPY
    assert expected_loss(schedule="cosine") == pytest.approx(ENTROPY, rel=2e-3)
    assert expected_loss(schedule="cosine") > ENTROPY


def test_n31_any_number_of_hidden_tokens_chosen_at_once_gives_the_same_entropy() -> None:
    """The identity that scoring stands on: the mean over l of L / l times the loss of l hidden tokens."""
    by_count = [np.mean([LOSSES[hidden] for hidden in PATTERNS if sum(hidden) == count]) for count in range(1, L + 1)]
    assert np.mean([L / count * loss for count, loss in enumerate(by_count, start=1)]) == pytest.approx(ENTROPY)


def test_n32_and_n36_weights_times_rates_are_one() -> None:
    """So a constant predictor loses ln V, and a window of one token its cross entropy; 0.999 of it in MDLM's."""
    for schedule in ("linear", "cosine"):
        estimators: tuple[tuple[Estimator, float], ...] = (("bound", 1.0), ("mdlm", 1 - EPSILON))
        for estimator, expected in estimators:
            pairs = [rate_and_weight(u, schedule, estimator) for u in TIMES]
            mean = float(np.mean([rate * weight for rate, weight in pairs]))
            assert mean == pytest.approx(expected, rel=2e-3 if schedule == "cosine" else 1e-9)


def test_n33_the_losses_of_a_window_by_hand() -> None:
    u = (0.5 - EPSILON) / (1 - EPSILON)  # t = 0.5 in MDLM's own time
    assert rate_and_weight(u, "linear", "mdlm")[1] * (1.2 + 0.4) / 4 == pytest.approx(0.8)
    assert rate_and_weight(0.5, "linear", "bound")[1] * (1.2 + 0.4) / 4 == pytest.approx(0.79920, abs=5e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_slope_is_that_of_the_share(schedule: Any) -> None:
    for t in (0.1, 0.5, 0.9):
        measured = (hidden_share(t + 1e-6, schedule) - hidden_share(t - 1e-6, schedule)) / 2e-6
        assert slope(t, schedule) == pytest.approx(measured, rel=1e-8)
    assert (hidden_share(0, schedule), hidden_share(1, schedule)) == (0, pytest.approx(1))


def loss_of(objective: MaskedDiffusion, example: Example, nats: float) -> float:
    """What a predictor loses that gives every token the same probability, divided as in a step."""
    (placed,) = example.placed().values()
    assert placed.weights is not None
    return float((placed.weights * nats).sum() / placed.divisor)


def test_n34_half_of_the_tokens_are_targets_and_the_loss_is_divided_by_all() -> None:
    windows, objective = make_windows(VOCABULARY, documents=200), made(MaskedDiffusion)
    corrupt = objective.corruption(VOCABULARY)
    examples = [corrupt(windows[i], key(i), windows) for i in range(len(windows))]
    shares = [(example.token_labels != IGNORE).sum() / len(windows[i]) for i, example in enumerate(examples)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert all(example.divisors == {"hidden": len(windows[i])} for i, example in enumerate(examples))
    assert np.mean([loss_of(objective, example, math.log(V)) for example in examples]) == pytest.approx(
        math.log(V), abs=0.1
    )


def test_visible_tokens_are_the_true_ones_and_hidden_ones_are_masks() -> None:
    windows, corrupt = make_windows(VOCABULARY), made(MaskedDiffusion).corruption(VOCABULARY)
    for index in range(len(windows)):
        window = windows[index]
        example = corrupt(window, key(index), windows)
        assert example.encoder_ids is not None
        assert example.encoder_ids[0] == window.previous
        is_target = example.token_labels[1:] != IGNORE
        assert (example.encoder_ids[1:][is_target] == MASK).all()
        assert (example.encoder_ids[1:][~is_target] == window.tokens[~is_target]).all()
        assert (example.token_labels[1:][is_target] == window.tokens[is_target]).all()


# --- times ---


def levels(epoch: int, indices: list[int], seed: int = 0) -> list[float]:
    windows, corrupt = make_windows(VOCABULARY, length=8), made(MaskedDiffusion).corruption(VOCABULARY)
    return [corrupt(windows[i], key(i, epoch=epoch, seed=seed), windows).measures["noise level"] for i in indices]


def test_times_are_even_over_any_run_of_windows_and_other_ones_in_every_epoch() -> None:
    for first in (0, 17):
        strata = np.floor(np.array(levels(0, list(range(first, first + 55)))) * 11).astype(int)
        assert np.bincount(strata, minlength=11).min() >= 4
    assert not set(levels(0, [3, 4])) & set(levels(1, [3, 4]))
    assert not set(levels(0, [3])) & set(levels(0, [3], seed=1))


def test_n37_an_example_follows_from_its_window_alone() -> None:
    """Neither from the batch nor from the order: read alone, backwards or among others."""
    assert levels(2, [5, 1, 9]) == [levels(2, [i])[0] for i in (5, 1, 9)]
    windows = make_windows(VOCABULARY, length=16)
    examples = CorruptedWindows(windows, made(MaskedDiffusion).corruption(VOCABULARY), seed=3)
    together = examples.__getitems__([7, 2, 11])
    for (_, one), position in zip(together, (7, 2, 11), strict=True):
        other = examples[position][1]
        assert np.array_equal(one.token_labels, other.token_labels)
        assert one.weights["hidden"][0] == other.weights["hidden"][0]


# --- predicted at the position before ---


def test_the_shifted_form_predicts_every_token_at_the_position_before_it_from_both_sides() -> None:
    objective = made(MaskedDiffusion, predicts="next")
    window = window_of([FIRST, FIRST + 1, FIRST + 2], document_starts=[1])
    example = objective.corrupt(window, key(), make_windows(VOCABULARY), vocabulary=VOCABULARY)
    assert example.decoder_ids is not None
    assert example.prefixes is not None
    hidden = example.decoder_ids[1:] == MASK
    assert np.array_equal(example.token_labels, [*np.where(hidden, window.tokens.astype(int), IGNORE), IGNORE])
    assert example.prefixes.tolist() == [1, 1, 1, 1]
    assert example.decoder_origins is not None
    assert example.decoder_origins.tolist() == [0, 0, 1, 2]
    first = window_of([FIRST], document_starts=[0])
    other = objective.corrupt(first, key(), make_windows(VOCABULARY), vocabulary=VOCABULARY)
    assert other.decoder_origins is not None
    assert other.decoder_origins.tolist() == [EARLIER, 0]


@pytest.mark.parametrize("predicts", ["same", "next"])
def test_law_4_a_hidden_token_changes_nothing_and_a_visible_one_on_either_side_does(predicts: str) -> None:
    objective = made(MaskedDiffusion, predicts=predicts)
    module = built(objective, window=16).double().eval()
    windows = make_windows(VOCABULARY, length=16)
    window = windows[1]
    example = objective.corrupt(window, key(3), windows, vocabulary=VOCABULARY)
    hidden = np.flatnonzero((example.token_labels != IGNORE)[: len(window) + 1]) - (predicts == "same")
    assert 0 < len(hidden) < len(window)

    def states(tokens: np.ndarray) -> torch.Tensor:
        other = window_of(tokens.tolist(), previous=window.previous)
        pair = (other, objective.corrupt(other, key(3), windows, vocabulary=VOCABULARY))
        batch = batch_of(objective, windows, [pair])
        return module.built.logits(batch, "hidden").detach()

    rng = np.random.default_rng(0)
    same = window_of(window.tokens.tolist(), previous=window.previous)
    before = states(same.tokens)
    changed = window.tokens.astype(np.int64)
    again = objective.corrupt(same, key(3), windows, vocabulary=VOCABULARY)
    at = np.flatnonzero(again.token_labels != IGNORE) - (predicts == "same")
    changed[at] = rng.choice(VOCABULARY.ordinary, len(at))
    assert torch.equal(states(changed), before)
    visible = np.setdiff1d(np.arange(len(window)), at)
    for place in (visible[0], visible[-1]):
        moved = window.tokens.astype(np.int64)
        moved[place] = FIRST if moved[place] != FIRST else FIRST + 1
        assert (states(moved) != before).any(dim=1).all()


# --- scoring ---


def test_n35_and_scoring_hides_each_number_of_tokens_alike_and_counts_every_token_once() -> None:
    prefix, text = np.array([FIRST, FIRST + 1]), np.arange(FIRST + 2, FIRST + 8)
    settings: dict[str, Any] = {"vocabulary": VOCABULARY, "term": "hidden", "is_shifted": False}
    examples = scored(prefix, text, draws=120, **settings)
    counts = Counter(int((example.token_labels != IGNORE).sum()) for example in examples)
    assert counts == dict.fromkeys(range(1, 7), 20)
    for example in examples:
        hidden = np.flatnonzero(example.token_labels != IGNORE)
        assert hidden.min() > len(prefix)
        assert example.weights["hidden"][hidden].sum() == pytest.approx(6 / 120)
        assert example.encoder_ids is not None
        assert example.encoder_ids[:3].tolist() == [VOCABULARY.eos, *prefix]
    assert len(scored(prefix, text[:1], draws=120, **settings)) == 1
    again = scored(prefix, text, draws=120, **settings)
    assert all(np.array_equal(a.token_labels, b.token_labels) for a, b in zip(examples, again, strict=True))


def test_n35_the_estimate_by_fixed_numbers_and_the_one_of_training_agree() -> None:
    """Of one untrained model on one window, within three standard errors."""
    objective = made(MaskedDiffusion)
    module = built(objective, window=12).double().eval()
    windows = make_windows(VOCABULARY, length=12, end=False)
    window = window_of(windows[0].tokens.tolist())

    def losses(examples: list[Example]) -> np.ndarray:
        batch = batch_of(objective, windows, [(window, example) for example in examples])
        nats = F.cross_entropy(module.built.logits(batch, "hidden"), batch.labels["hidden"].ids_N, reduction="none")
        weights = batch.labels["hidden"].weights_N
        assert weights is not None
        rows = batch.labels["hidden"].positions_N // 13
        return np.bincount(rows.numpy(), (nats * weights).detach().numpy(), minlength=len(examples))

    fixed = losses(scored(np.zeros(0, np.int64), window.tokens, draws=400, vocabulary=VOCABULARY, term="hidden",
                          is_shifted=False)) * 400  # fmt: skip
    corrupt = objective.corruption(VOCABULARY)
    bernoulli = losses([corrupt(window, key(0, epoch=epoch), windows) for epoch in range(1500)])
    error = math.hypot(fixed.std() / 20, bernoulli.std() / 1500**0.5)
    assert abs(fixed.mean() - bernoulli.mean()) < 3 * error
    assert error < 0.1 * bernoulli.mean()


# --- runs ---


def test_law_2_and_3_hold_with_weighted_losses_and_an_average_of_the_weights(tiny_run: Command, tmp_path: Path) -> None:
    whole = train_exactly_and_go_on(tiny_run, tmp_path / "runs", "masked_diffusion", "--optimizer.ema_decay", "0.9")
    assert all(float(row["train/hidden"]) > 0 for row in metrics_of(whole) if row.get("train/hidden"))


def test_it_generates_and_is_scored_as_a_bound(
    tiny_run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_in_process(tiny_run("masked_diffusion", "md", "--budget.steps", "2")) == 0
    run = str(tmp_path / "runs/md")
    capsys.readouterr()
    assert generate.main([run, "the [MASK] cat [MASK] .", "--json", "--steps", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["masks"]) == 2
    assert "[MASK]" not in found["text"]
    assert (
        generate.main([run, "the old", "--max_new_tokens", "3", "--temperature", "1", "--samples", "2", "--json"]) == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2
    assert all(line["text"] == "the old" + line["continuation"] for line in lines)
    assert score.main([run, "--passages", "4", "--bytes", "24", "--json"]) == 0
    metric = json.loads(capsys.readouterr().out)["metrics"]["continuation"]
    assert metric["is_bound"]
    assert metric["beside"]["standard error of the bound"] > 0
    assert 1 < metric["mean"] < 20
    with pytest.raises(SystemExit):
        generate.main([run, "the [MASK]", "--beams", "2"])
    assert "beams = 2: masked diffusion draws tokens in any order" in capsys.readouterr().err


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="draws = 0"):
        made(MaskedDiffusion, draws=0)
