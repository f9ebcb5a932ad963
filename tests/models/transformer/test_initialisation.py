"""Initial weights: a function of the seed and of names, with each preset's own spread; a first loss of ln V."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.body import Inputs
from models.presets import PRESETS, PresetName, TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.transformer import Transformer
from tests.helpers import predicted

V = 500


def make(preset: PresetName, blocks: tuple[int, int], *, width: int = 128, seed: int = 0) -> Transformer:
    config = TransformerConfig(preset=preset, width=width, num_heads=4)
    model = Transformer(config, num_blocks=blocks, vocab_size=V, max_positions=64)
    initialise(model, seed)
    return model


@pytest.mark.parametrize("preset", PRESETS)
def test_parameters_of_one_name_start_equal_in_every_arm(preset: PresetName) -> None:
    encoder, decoder, both = (dict(make(preset, blocks).named_parameters()) for blocks in ((2, 0), (0, 2), (2, 2)))
    scaled = PRESETS[preset].initialisation == "scaled_residuals"  # by the number of Blocks in all
    compared = 0
    for name, parameter in encoder.items():
        if not (scaled and name.endswith(("attention.output.weight", "feed_forward.down.weight"))):
            assert torch.equal(parameter, both[name]), name
        twin = decoder.get(name.replace("encoder.", "decoder.", 1))
        if twin is not None:
            assert torch.equal(parameter, twin), name
            compared += 1
    assert compared > 5


def test_the_seed_decides_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    first = make("bart", (1, 1)).state_dict()
    torch.manual_seed(2)
    again, other = make("bart", (1, 1)).state_dict(), make("bart", (1, 1), seed=1).state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
        assert tensor.dim() == 1 or not torch.equal(tensor, other[name])


@pytest.mark.parametrize("preset", PRESETS)
def test_norms_start_at_one_and_biases_at_nought(preset: PresetName) -> None:
    model = make(preset, (1, 1))
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            assert (module.weight == 1).all()
        bias = getattr(module, "bias", None)
        assert not isinstance(bias, torch.Tensor) or (bias == 0).all()


@pytest.mark.parametrize("preset", ["lab", "bert", "gpt2", "bart"])
def test_matrices_are_drawn_with_a_spread_of_two_hundredths(preset: PresetName) -> None:
    scale = 1 / math.sqrt(2 * 4) if PRESETS[preset].initialisation == "scaled_residuals" else 1.0
    for name, parameter in make(preset, (2, 2)).named_parameters():
        if parameter.dim() == 2 and parameter.numel() > 1000:
            is_output = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
            assert float(parameter.detach().std()) == pytest.approx(0.02 * (scale if is_output else 1), rel=0.05), name


@pytest.mark.parametrize("preset", ["t5", "t5_v1_1"])
def test_t5s_matrices_are_drawn_as_its_reference_draws_them(preset: PresetName) -> None:
    model = make(preset, (1, 1))
    d, c, inner = 128, 32, 128
    attention: Any = model.get_submodule("decoder.blocks.0.self_attention")
    query, key, value = attention.query_key_value.weight.detach().chunk(3)
    stds = {(d * c) ** -0.5: query, d**-0.5: torch.cat([key, value]), inner**-0.5: attention.output.weight.detach()}
    for std, matrix in stds.items():
        assert float(matrix.std()) == pytest.approx(std, rel=0.05)
    assert float(model.token_table.weight.detach().std()) == pytest.approx(1, rel=0.05)
    feed_forward: Any = model.get_submodule("decoder.blocks.0.feed_forward")
    down = feed_forward.down.weight.detach()
    assert float(down.std()) == pytest.approx(down.shape[1] ** -0.5, rel=0.05)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("blocks", [(2, 0), (0, 2), (2, 2)])
@torch.no_grad()
def test_the_first_loss_is_ln_v(preset: PresetName, blocks: tuple[int, int]) -> None:
    model = make(preset, blocks).eval()
    generator = torch.Generator().manual_seed(0)
    read, labels = torch.randint(V, (2, 8, 64), generator=generator)
    inputs = Inputs(
        encoder_ids_BS=read if blocks[0] else None, decoder_ids_BT=read.flip(0) if blocks[1] else None
    )  # fmt: skip
    logits, _ = predicted(model, inputs, torch.arange(read.numel()))
    excess = float(F.cross_entropy(logits, labels.flatten())) - math.log(V)
    # Logits of variance 1 exceed it by a half. T5's tied table, of a spread of 1, favours what is read besides.
    assert -0.1 < excess < {"t5": 2.0, "t5_v1_1": 0.6}.get(preset, 0.1)
