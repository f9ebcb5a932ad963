"""On text of a Markov chain the least possible loss is known: a model comes near it, and below it only by a leak.

The optimum is exact for every example (optimum.py), so the comparison is paired, and its standard error small. The
decoders of an encoder-decoder learn to look into the source many times sooner by Muon than by AdamW; a causal LM, too,
is there in half the steps.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import models.transformer.stack
from data.stream.batch import Example
from data.stream.loader import HeldOutWindows
from data.stream.order import Purpose, generator
from data.stream.windows import Window
from models.attention.kernels import prepare
from models.presets import TransformerConfig
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.denoising import Denoising
from objectives.masked_diffusion import MaskedDiffusion, NoiseSchedule
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.objectives.floors import optimum
from tests.objectives.floors.floor_training import CHAIN, Leak, Training, losses_of
from training.optimizers.optim import OptimizerConfig, OptimizerName
from training.step.budget import Budget

NEAR = 0.02  # nats above the optimum
STANDARD_ERRORS = 3


def module_of(
    objective: Objective, steps: int, *, optimizer: OptimizerName, learning_rate: float, **body: Any
) -> Pretraining:
    """What trains an objective: a small Transformer, and a learning rate that falls to nought."""
    schedule = OptimizerConfig(
        name=optimizer,
        learning_rate=learning_rate,
        schedule="linear",
        warmup=0.1,
        min_lr_ratio=0.0,
        weight_decay=0.0,
        betas=(0.9, 0.98),
    )
    shape = TransformerConfig(width=64, num_heads=4, **body)
    return Pretraining(objective, body=shape, optimizer=schedule, budget=Budget(steps=steps))


def causal_lm(steps: int = 150) -> Training:
    module = module_of(CausalLM(), steps, optimizer="muon", learning_rate=1e-2, layers=1)
    return Training(module=module, optimum=optimum.of_causal_lm(), window=16, steps=steps, batch_size=32)


def masked_lm(steps: int = 700) -> Training:
    """Masked, kept and random tokens, as BERT has them; which of the shown ones are asked for is not known."""
    objective = MaskedLM(next_sentence=False, noise_density=0.3)
    module = module_of(objective, steps, optimizer="adamw", learning_rate=5e-3, layers=1)
    least = optimum.of_masked_lm(objective)
    return Training(module=module, optimum=least, window=16, steps=steps, batch_size=128)


def masked_diffusion(steps: int = 2000) -> Training:
    """Any number of hidden tokens, from both sides; the losses of an example counted alike, whatever its weight."""
    module = module_of(MaskedDiffusion(), steps, optimizer="adamw", learning_rate=2e-3, layers=2)
    least = optimum.of_masked_diffusion()
    return Training(module=module, optimum=least, window=16, steps=steps, batch_size=128)


def denoising(steps: int = 500) -> Training:
    """Every token that is hidden has a mask of its own."""
    settings = dict[str, Any](optimizer="muon", learning_rate=1e-2, preset="gpt2", layers=(1, 1))
    return under_one_noise(settings, steps, mask_rate=0.4)


def infilling(steps: int = 2000) -> Training:
    """Spans of unknown lengths, and masks that stand for nothing."""
    settings = dict[str, Any](optimizer="muon", learning_rate=4e-3, preset="gpt2", layers=(1, 2))
    return under_one_noise(settings, steps, infill_rate=0.4)


def deletion(steps: int = 2400) -> Training:
    """Three of eight tokens are missing, and nothing says where."""
    settings = dict[str, Any](optimizer="muon", learning_rate=4e-3, preset="gpt2", layers=(1, 2))
    return under_one_noise(settings, steps, delete_rate=0.4)


def under_one_noise(settings: dict[str, Any], steps: int, **noise: Any) -> Training:
    objective = Denoising(**{"permute_rate": 0.0, "infill_rate": 0.0, **noise})
    least = optimum.of_denoising(objective)
    return Training(module=module_of(objective, steps, **settings), optimum=least, window=8, steps=steps, batch_size=64)


def span_corruption(steps: int = 1100) -> Training:
    """Two spans whose lengths are not known before they are said."""
    settings = dict[str, Any](optimizer="muon", learning_rate=4e-3, preset="gpt2", layers=(1, 2))
    objective = SpanCorruption(noise_density=0.4, mean_span_length=2.0)
    least = optimum.of_span_corruption(objective)
    return Training(module=module_of(objective, steps, **settings), optimum=least, window=8, steps=steps, batch_size=64)


LONG = (masked_lm, denoising, masked_diffusion, infilling, deletion, span_corruption)  # half a minute to two


@pytest.mark.parametrize(
    "training",
    [causal_lm, *(pytest.param(long, marks=pytest.mark.slow) for long in LONG)],
    ids=lambda training: training.__name__,
)
def test_a_short_training_ends_near_the_optimum_and_never_below_it(training: Callable[[], Training]) -> None:
    gap = training().gap()
    assert gap.mean < NEAR
    assert gap.mean > -STANDARD_ERRORS * gap.standard_error


def test_an_example_without_labels_has_no_loss_and_takes_none_of_its_neighbours() -> None:
    training = masked_diffusion(1)
    training.module.build(vocab_size=optimum.VOCABULARY.size, window=training.window)
    corrupt = training.module.objective.corruption(optimum.VOCABULARY)
    held_out = HeldOutWindows(optimum.windows_of(CHAIN, 3, length=16, seed=0), corrupt, seed=1, chosen=3)
    pairs = [
        (window, example.blank() if at == 1 else example)
        for at, (window, example) in enumerate(held_out[i] for i in range(3))
    ]
    losses, counts = losses_of(training.module, pairs, training.window)
    alone = losses_of(training.module, [pairs[0], pairs[2]], training.window)[0]
    assert counts[1] == losses[1] == 0
    assert counts[0] > 0
    assert losses[[0, 2]] == pytest.approx(alone)


# --- a leak is found ---


def falls_below(training: Training, leak: Leak | None = None) -> bool:
    """Whether the gap is none that chance could make; a leak lies tens of standard errors below the optimum."""
    gap = replace(training, held_out=200).gap(leak)
    return gap.mean < -STANDARD_ERRORS * gap.standard_error


def reads_the_window(window: Window, example: Example) -> Example:
    """The encoder's input as if nothing were hidden."""
    assert example.encoder_ids is not None
    ids = example.encoder_ids
    return replace(example, encoder_ids=np.concatenate([ids[:1], window.tokens, ids[-1:]]).astype(np.int64))


def reads_all_tokens(window: Window, example: Example) -> Example:
    """The encoder's input as if no token behind the one before the window were hidden."""
    assert example.encoder_ids is not None
    return replace(example, encoder_ids=np.concatenate([example.encoder_ids[:1], window.tokens]).astype(np.int64))


def reads_its_own_targets(_window: Window, example: Example) -> Example:
    """The decoder's input as if the labels had not been shifted."""
    return replace(example, decoder_ids=example.token_labels)


def test_a_decoder_without_its_mask_falls_below_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        models.transformer.stack,
        "prepare",
        lambda mask, *args, **kwargs: prepare(mask._replace(is_causal=False), *args, **kwargs),
    )
    assert falls_below(causal_lm(60))


@pytest.mark.parametrize(
    ("training", "leak"),
    [
        (lambda: causal_lm(30), reads_its_own_targets),
        (lambda: masked_lm(20), reads_the_window),
        (lambda: masked_diffusion(30), reads_all_tokens),
        pytest.param(lambda: denoising(80), reads_the_window, marks=pytest.mark.slow),
        pytest.param(lambda: denoising(60), reads_its_own_targets, marks=pytest.mark.slow),
        (lambda: span_corruption(30), reads_its_own_targets),
    ],
    ids=["causal labels", "masked text", "hidden text", "denoised text", "denoising labels", "span labels"],
)
def test_what_should_be_hidden_lets_a_model_fall_below_the_optimum(
    training: Callable[[], Training], leak: Leak
) -> None:
    assert falls_below(training(), leak)


# --- masked diffusion's loss is that of the whole text, as a causal LM's ---


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_optimum_of_masked_diffusion_is_that_of_a_causal_lm_on_the_same_text(schedule: NoiseSchedule) -> None:
    """N31: a perfect predictor loses, in the mean over the noise, the joint entropy given the token before."""
    windows, objective = optimum.windows_of(CHAIN, 41, length=16, seed=5), MaskedDiffusion(schedule=schedule)
    corrupt, least, causal = objective.corruption(optimum.VOCABULARY), optimum.of_masked_diffusion(), []
    bounds = []
    for index in range(1, 41):
        window = windows[index]
        causal.append(optimum.of_causal_lm()(CHAIN, window, Example(labels={}, token_term="")))
        found = []
        for epoch in range(60):
            example = corrupt(window, generator(0, Purpose.NOISE, epoch, index), windows)
            found.append(example.weights["hidden"][0] * least(CHAIN, window, example))
        bounds.append(np.mean(found) - causal[-1])
    error = np.std(bounds) / len(bounds) ** 0.5
    assert abs(np.mean(bounds)) < 3 * error
    assert error < 0.05 * np.mean(causal)


# --- why losses of different objectives are never ranked ---


def test_the_optimum_of_each_objective_is_another_on_the_same_text() -> None:
    """Law 7: what each says at best of one token, from the left, or from both sides, is no fault of a model."""
    flow_VV = CHAIN.stationary_V[:, None] * CHAIN.transition_VV
    from_the_left = -(flow_VV * np.log(CHAIN.transition_VV)).sum()
    trios_VVV = flow_VV[:, :, None] * CHAIN.transition_VV[None]
    from_both_sides = -(trios_VVV * np.log(trios_VVV / trios_VVV.sum(axis=1, keepdims=True))).sum()
    assert from_both_sides < from_the_left - 0.3
    windows = optimum.windows_of(CHAIN, 1, length=20_000, seed=0)
    everything = optimum.of_causal_lm()(CHAIN, windows[0], Example(labels={}, token_term=""))
    assert everything / 20_000 == pytest.approx(from_the_left, abs=0.03)
