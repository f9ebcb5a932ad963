"""The gradient of the whole loss of every objective, from text to the last number, by finite differences."""

import pytest
import torch
from torch import Tensor

from models.presets import PresetName
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.helpers import make_windows
from tests.models.presets import FOUR_BY_DEFAULT
from tests.objectives.texts import VOCABULARY, batch_of, built, made, mean_loss

STEP = 1e-6
WINDOW = 24


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("objective_class", [MaskedLM, CausalLM, Denoising, SpanCorruption])
def test_the_gradient_of_the_loss_is_its_slope_in_every_direction(
    objective_class: type[Objective], preset: PresetName
) -> None:
    """Float64, relative 1e-6, along three random directions and the gradient's own; with z-loss and ragged rows."""
    objective = made(objective_class, z_loss=1e-2)
    module = built(objective, window=WINDOW, preset=preset, width=16).double().eval()
    batch = batch_of(objective, make_windows(VOCABULARY, length=WINDOW, documents=3))
    parameters = list(module.parameters())

    def loss() -> Tensor:
        return mean_loss(module.terms(batch, count_correct=False))

    @torch.no_grad()
    def moved_by(step: float, direction: list[Tensor]) -> float:
        before = [parameter.clone() for parameter in parameters]
        for parameter, part in zip(parameters, direction, strict=True):
            parameter += step * part
        value = loss().item()
        for parameter, was in zip(parameters, before, strict=True):
            parameter.copy_(was)
        return value

    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
    generator = torch.Generator().manual_seed(0)
    directions = [
        [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters] for _ in range(3)
    ]
    for direction in [*directions, list(gradients)]:
        length = torch.cat([part.flatten() for part in direction]).norm()
        unit = [part / length for part in direction]
        slope = sum(float((gradient * part).sum()) for gradient, part in zip(gradients, unit, strict=True))
        measured = (moved_by(STEP, unit) - moved_by(-STEP, unit)) / (2 * STEP)
        assert measured == pytest.approx(slope, rel=1e-6, abs=2e-9)
