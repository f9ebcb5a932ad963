"""Optimizers and schedules, against closed forms and against torch's own optimizers."""

import copy
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import AdamW

from models.presets import PRESETS, TransformerConfig
from models.transformer.transformer import Transformer
from training.optimizers.optim import OptimizerConfig, gradient_norm, learning_rate_factor, make_optimizer


def factors(total: int = 100, **settings: Any) -> list[float]:
    config = OptimizerConfig(**settings)
    return [learning_rate_factor(config, step, total) for step in range(total)]


def test_warmup_rises_by_equal_parts_from_the_first_step() -> None:
    for schedule in ("constant", "linear", "cosine", "wsd"):
        rise = factors(schedule=schedule, warmup=10)
        assert rise[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
        assert rise[10] == pytest.approx(1, abs=0.02)


def test_a_warmup_below_one_is_a_share_of_the_budget() -> None:
    assert factors(schedule="linear", warmup=0.1) == factors(schedule="linear", warmup=10)


def test_linear_falls_straight_to_its_end() -> None:
    found = factors(schedule="linear", warmup=0, min_lr_ratio=0.0)
    assert found == pytest.approx([1 - step / 100 for step in range(100)])


def test_cosine_is_half_a_wave_to_its_end() -> None:
    found = factors(schedule="cosine", warmup=0, min_lr_ratio=0.1)
    assert found == pytest.approx([0.1 + 0.9 * (1 + math.cos(math.pi * step / 100)) / 2 for step in range(100)])


def test_wsd_is_flat_and_then_falls_over_its_last_share() -> None:
    found = factors(schedule="wsd", warmup=0, decay=0.2, min_lr_ratio=0.0)
    assert found[:81] == [1.0] * 81
    assert found[81:] == pytest.approx([1 - step / 20 for step in range(1, 20)])


def test_inverse_root_is_t5s() -> None:
    """Learning rate 1 / sqrt(max(step, k)), given as 0.01 with k = 10,000 (Raffel et al. 2020, 3.1.2)."""
    config = OptimizerConfig(schedule="inverse_root", warmup=10_000, learning_rate=0.01)
    for step in (0, 1, 9_999, 10_000, 40_000, 524_288):
        rate = config.learning_rate * learning_rate_factor(config, step, 524_288)
        assert rate == pytest.approx(1 / math.sqrt(max(step, 10_000)))


def test_the_slanted_triangle_is_ulmfits() -> None:
    """Howard & Ruder 2018, equation 3, with cut_frac 0.1 and ratio 32, at every update of the run."""
    cut, ratio = 10, 32
    found = factors(schedule="slanted_triangular", warmup=0.1, min_lr_ratio=1 / ratio)
    for step, factor in enumerate(found):
        share = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / 0.1 - 1))
        assert factor == pytest.approx((1 + share * (ratio - 1)) / ratio)


def test_every_schedule_stays_within_nought_and_one_and_never_rises_after_its_warmup() -> None:
    for schedule in ("constant", "linear", "cosine", "slanted_triangular", "wsd", "inverse_root"):
        found = factors(schedule=schedule, warmup=7)
        assert all(0 < factor <= 1 for factor in found)
        assert all(after <= before + 1e-12 for before, after in pairwise(found[7:]))


@pytest.mark.parametrize(
    "settings",
    [
        *(
            {"learning_rate": 0},
            {"learning_rate": math.nan},
            {"epsilon": -1},
            {"max_grad_norm": 0},
            {"betas": (0.9, 1.0)},
        ),
        *({"decay": 0}, {"min_lr_ratio": 1.5}, {"warmup": -1}, {"weight_decay": -0.1}),
    ],
)
def test_impossible_settings_are_refused_by_name_and_value(settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=rf"optimizer\..*{name}") as refused:
        OptimizerConfig(**settings)
    assert str(value if not isinstance(value, tuple) else value[1]) in str(refused.value)


def test_a_warmup_as_long_as_the_run_is_refused() -> None:
    for schedule in ("linear", "cosine", "wsd"):
        with pytest.raises(ValueError, match=r"optimizer\.warmup = 200 steps must be below the run's 100; a share"):
            OptimizerConfig(schedule=schedule, warmup=200).check_warmup(100)
    OptimizerConfig(schedule="inverse_root", warmup=10_000).check_warmup(100)  # T5's is flat before, and so all through


def small(preset: Any = "bert") -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(preset=preset, width=16, layers=(1, 1), num_heads=2)
    model = Transformer(config, num_blocks=(1, 1), vocab_size=50, max_positions=8)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(preset: Any, name: Any) -> None:
    model = small(preset)
    optimizer = make_optimizer(model, OptimizerConfig(name=name))
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    for group in optimizer.param_groups:
        assert all((parameter.dim() >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_embeddings_are_spared_where_that_is_set() -> None:
    model = small()
    optimizer = make_optimizer(model, OptimizerConfig(decay_embeddings=False))
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for group in optimizer.param_groups:
        assert all(id(parameter) not in tables for parameter in group["params"] if group["weight_decay"])


def set_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def test_adamw_is_torchs() -> None:
    model = small().double()
    twin = copy.deepcopy(model)
    ours = make_optimizer(model, OptimizerConfig(learning_rate=0.01, weight_decay=0.0, betas=(0.9, 0.95), epsilon=1e-8))
    theirs = AdamW(twin.parameters(), lr=0.01, weight_decay=0.0, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    for step in range(3):
        set_gradients(model, step)
        set_gradients(twin, step)
        ours.step()
        theirs.step()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_adamw_is_its_formula_by_hand() -> None:
    """Loshchilov & Hutter 2019, algorithm 2: decay beside the gradient, both averages made free of their start."""
    model = small().double()
    weights = {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}
    rate, decay, first, second, epsilon = 0.01, 0.3, 0.9, 0.95, 1e-6
    config = OptimizerConfig(learning_rate=rate, weight_decay=decay, betas=(first, second), epsilon=epsilon)
    optimizer = make_optimizer(model, config)
    means, squares = ({name: np.zeros_like(weight) for name, weight in weights.items()} for _ in range(2))
    for step in range(1, 4):
        set_gradients(model, step)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            gradient = parameter.grad.numpy()
            means[name] = first * means[name] + (1 - first) * gradient
            squares[name] = second * squares[name] + (1 - second) * gradient**2
            adapted = means[name] / (1 - first**step) / (np.sqrt(squares[name] / (1 - second**step)) + epsilon)
            weights[name] = weights[name] * (1 - rate * decay * (parameter.dim() >= 2)) - rate * adapted
        optimizer.step()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), weights[name], rtol=1e-12, atol=1e-14)


def test_muon_turns_hidden_matrices_and_leaves_the_rest_to_adamw() -> None:
    """Muon's update of a matrix is nearly orthogonal: its singular values are alike (Jordan et al. 2024)."""
    model = small("lab")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, OptimizerConfig(name="muon", learning_rate=0.01, weight_decay=0.0))
    set_gradients(model, 0)
    optimizer.step()
    change = {name: (parameter - before[name]).detach() for name, parameter in model.named_parameters()}
    values = torch.linalg.svdvals(change["encoder.blocks.0.feed_forward.down.weight"])
    assert values.min() > 0.5 * values.max()
    table = change["token_table.weight"]
    torch.testing.assert_close(table.abs(), torch.full_like(table, 0.01), rtol=1e-3, atol=0)  # Adam's first step


def test_two_optimizers_side_by_side_share_learning_rates_and_state() -> None:
    model = small("lab")
    optimizer = make_optimizer(model, OptimizerConfig(name="muon"))
    set_gradients(model, 0)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    weights = copy.deepcopy(model.state_dict())
    twin = small("lab")
    twin.load_state_dict(weights)
    other = make_optimizer(twin, OptimizerConfig(name="muon"))
    other.load_state_dict(saved)
    for both in (optimizer, other):
        for group in both.param_groups:
            group["lr"] = 0.005
    set_gradients(model, 1)
    set_gradients(twin, 1)
    optimizer.step()
    other.step()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_gradient_norm_is_that_of_all_gradients_in_one_vector() -> None:
    model = small().double()
    set_gradients(model, 0)
    flat = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
    torch.testing.assert_close(gradient_norm(model.parameters()), flat.norm(), rtol=1e-12, atol=0)
