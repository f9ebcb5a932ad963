"""Norms, activations, feed-forward and head, against their formulas in NumPy and float64."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from models.presets import PRESETS, Activation, PresetName, TransformerConfig
from models.transformer import activations
from models.transformer.activations import ACTIVATIONS
from models.transformer.layers import FeedForward, Head
from models.transformer.norms import make_norm

D, F, V = 12, 20, 9
every_preset = pytest.mark.parametrize("preset", PRESETS)
erf = np.vectorize(math.erf)

FORMULAS = {
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_random_weights(module: nn.Module) -> nn.Module:
    module.double()
    for seed, parameter in enumerate(module.parameters(), start=10):
        parameter.data = random(*parameter.shape, seed=seed)
    return module.eval()


def config_of(preset: PresetName) -> TransformerConfig:
    return TransformerConfig(preset=preset, width=D, num_heads=2, feed_forward_width=F)


def norm_of(preset: PresetName, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """(x - mean) / root of the variance · weight + bias; without mean and bias where it is by the root mean square."""
    parts = PRESETS[preset]
    if parts.norm == "rms":
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + parts.norm_epsilon) * weight
    assert bias is not None
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + parts.norm_epsilon) * weight + bias


def arrays_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_are_their_formulas(name: Activation) -> None:
    x = torch.linspace(-6, 6, 501, dtype=torch.float64)
    np.testing.assert_allclose(ACTIVATIONS[name](x).numpy(), FORMULAS[name](x.numpy()), rtol=1e-12, atol=1e-15)


def test_every_activation_has_a_formula_here() -> None:
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 1e4])
def test_gelu_by_tanh_in_float32_is_its_formula_with_its_gradient(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts of any size, of rows with gaps, and without a gradient."""
    monkeypatch.setattr(activations, "AT_ONCE", 7)
    numbers, upstream = (scale * random(40, 6).float()).requires_grad_(), random(40, 3, seed=1)
    exact = numbers.detach().double().requires_grad_()
    found, expected = ACTIVATIONS["gelu_tanh"](numbers[:, ::2]), gelu(exact[:, ::2], approximate="tanh")
    (gradient,) = torch.autograd.grad(found, numbers, upstream.float())
    (exact_gradient,) = torch.autograd.grad(expected, exact, upstream)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        ACTIVATIONS["gelu_tanh"](numbers.detach()[:, ::2]).double(), expected, rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-6, atol=6e-6)  # of upstream numbers up to 3


@pytest.mark.parametrize("threads", [1, 4])
def test_gelu_of_every_bf16_number_is_torchs_and_so_is_its_gradient(threads: int) -> None:
    """To one rounding to bf16, and its gradient to two; whatever computes it. Rows may have gaps."""
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    numbers = torch.stack([every, every], dim=1)[:, 0].detach().requires_grad_()
    exact = every.double().requires_grad_()
    upstream = torch.linspace(-2, 2, len(every)).bfloat16()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = ACTIVATIONS["gelu_tanh"](numbers)
        (gradient,) = torch.autograd.grad(found, numbers, upstream)
    finally:
        torch.set_num_threads(before)
    expected = gelu(every, approximate="tanh")
    torch.testing.assert_close(found, expected, rtol=2**-8, atol=1e-6, equal_nan=True)
    (slopes,) = torch.autograd.grad(gelu(exact, approximate="tanh").sum(), exact)
    ordinary = every.abs() < 1e4  # torch's own slope of huge numbers is infinity times 0
    torch.testing.assert_close(
        gradient.double()[ordinary], (slopes * upstream.double())[ordinary], rtol=2**-7, atol=1e-5
    )


@every_preset
def test_a_norm_is_its_formula(preset: PresetName) -> None:
    norm, x = with_random_weights(make_norm(PRESETS[preset], D)), 0.01 * random(5, D)  # small: epsilon counts
    weights = arrays_of(norm)
    expected = norm_of(preset, x.numpy(), weights["weight"], weights.get("bias"))
    np.testing.assert_allclose(norm(x).detach().numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_rms_norm_in_mixed_precision_is_the_one_in_float64_with_its_gradients(scale: float) -> None:
    """To 1e-5, as torch's own in float32 is; uncompiled on a CPU it is computed in fewer passes."""
    norm, x = with_random_weights(make_norm(PRESETS["t5"], D)), scale * random(3, 7, D)
    upstream = random(3, 7, D, seed=5)
    found: list[list[Tensor]] = []
    for dtype in (torch.float64, torch.float32):
        own = make_norm(PRESETS["t5"], D).to(dtype)
        own.load_state_dict(norm.state_dict())
        states = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.float32):
            normed = own(states)
        assert normed.dtype == dtype
        gradients = torch.autograd.grad(normed, (states, *own.parameters()), upstream.to(dtype))
        found.append([normed.detach(), *gradients])
    for exact, single in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5 * float(exact.abs().max()))


@every_preset
def test_a_feed_forward_is_its_formula(preset: PresetName) -> None:
    """down(activate(up x)), or down(activate(gate x) · up x)."""
    parts, feed_forward, x = PRESETS[preset], with_random_weights(FeedForward(config_of(preset))), random(3, 4, D)
    weights = arrays_of(feed_forward)
    inner = x.numpy() @ weights["up.weight"].T + weights.get("up.bias", 0)
    activate = FORMULAS[parts.activation]
    inner = activate(inner[..., :F]) * inner[..., F:] if parts.gated else activate(inner)
    expected = inner @ weights["down.weight"].T + weights.get("down.bias", 0)
    np.testing.assert_allclose(feed_forward(x).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@every_preset
def test_a_head_is_its_formula(preset: PresetName) -> None:
    """The table, or a matrix of its own, behind a scale or a transform where the preset has them."""
    parts, head, x = PRESETS[preset], with_random_weights(Head(config_of(preset), V)), random(6, D)
    table, weights = random(V, D, seed=5), arrays_of(head)
    states = x.numpy()
    if parts.head_transform:
        states = FORMULAS[parts.activation](states @ weights["transform.weight"].T + weights["transform.bias"])
        states = norm_of(preset, states, weights["norm.weight"], weights["norm.bias"])
    if parts.scaled_logits:
        states = states / math.sqrt(D)
    matrix = table.numpy() if parts.tied else weights["weight"]
    expected = states @ matrix.T + weights.get("bias", 0)
    np.testing.assert_allclose(head(x, table).logits().detach().numpy(), expected, rtol=1e-12, atol=1e-12)
