"""Gradients of the shared Transformer in float64: right by finite differences, and nought where nothing may be seen."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.attention.kernels import KernelMask, prepare
from models.attention.masks import Mask
from models.attention.positions import rotary_angles
from models.body import Inputs
from models.presets import PRESETS, PresetName, TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.stack import Block, Memory
from models.transformer.transformer import Transformer
from tests.helpers import predicted
from tests.models.presets import FOUR_BY_DEFAULT

V, S, T, D = 20, 6, 5, 8
ABSOLUTE, RELATIVE = 1e-8, 1e-6  # of gradcheck, whose own 1e-5 and 1e-3 hide mistakes in float64
every_preset = pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)


def random(*shape: int, seed: int) -> Tensor:
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return numbers.requires_grad_()


def config_of(preset: PresetName, **settings: Any) -> TransformerConfig:
    return TransformerConfig(preset=preset, width=D, num_heads=2, feed_forward_width=12, **settings)


def make(preset: PresetName, num_blocks: tuple[int, int], **settings: Any) -> Transformer:
    """A small Transformer whose every parameter matters."""
    model = Transformer(config_of(preset, **settings), num_blocks=num_blocks, vocab_size=V, max_positions=12)
    initialise(model, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.double().eval()


def ids(length: int, *, rows: int = 1, seed: int = 0) -> Tensor:
    return torch.randint(V, (rows, length), generator=torch.Generator().manual_seed(seed))


@every_preset
@pytest.mark.parametrize("has_memory", [False, True])
def test_the_gradient_of_a_block_is_that_of_finite_differences(preset: PresetName, has_memory: bool) -> None:
    """By states, memory and every parameter together; ReLU has a corner, which no number here lies within 1e-6 of."""
    block = Block(config_of(preset), has_memory=has_memory).double()
    names = [name for name, _ in block.named_parameters()]
    weights = [
        (0.4 * random(*parameter.shape, seed=seed)).detach().requires_grad_()
        for seed, parameter in enumerate(block.parameters())
    ]
    states_BTD, memory_BSD = random(2, 3, D, seed=100), random(2, 4, D, seed=101)
    mask = prepare(Mask(is_causal=True), 3, 3, like=states_BTD)
    angles = rotary_angles(torch.arange(3), D // 2) if PRESETS[preset].positions == "rotary" else None

    def run(states_BTD: Tensor, memory_BSD: Tensor, *weights: Tensor) -> Tensor:
        memory = Memory(memory_BSD, KernelMask()) if has_memory else None
        parameters = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(block, parameters, (states_BTD, mask, angles, memory))

    inputs = (states_BTD, memory_BSD if has_memory else memory_BSD.detach(), *weights)
    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=ABSOLUTE, rtol=RELATIVE, fast_mode=True)


def jacobian_norms(model: Transformer, inputs: Inputs, of: Tensor) -> Tensor:
    """[decoder positions, positions of `of`]: how much the logits of each move with each embedded token."""
    embedded: list[Tensor] = []

    def keep(_module: Any, args: tuple[Tensor], output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        if args[0] is of:
            embedded.append(leaf)
        return leaf

    handle = model.token_table.register_forward_hook(keep)
    assert inputs.decoder_ids_BT is not None
    length = inputs.decoder_ids_BT.shape[1]
    logits_TV, _ = predicted(model, inputs, torch.arange(length))
    handle.remove()
    rows = []
    for position in range(length):
        total = torch.zeros(of.shape[1], dtype=torch.float64)
        for logit in logits_TV[position]:
            (gradient,) = torch.autograd.grad(logit, embedded[0], retain_graph=True)
            total += gradient[0].abs().sum(dim=-1)
        rows.append(total)
    return torch.stack(rows)


@every_preset
@pytest.mark.parametrize("num_blocks", [(0, 2), (1, 2)])
def test_no_logit_moves_with_a_token_ahead(preset: PresetName, num_blocks: tuple[int, int]) -> None:
    """The Jacobian is exactly nought above its diagonal, and nowhere on or below it."""
    read = ids(T, seed=1)
    inputs = Inputs(encoder_ids_BS=ids(S) if num_blocks[0] else None, decoder_ids_BT=read)
    norms_TT = jacobian_norms(make(preset, num_blocks), inputs, read)
    assert (norms_TT.triu(1) == 0).all()
    assert (norms_TT + norms_TT.new_ones(T, T).triu(1) > 0).all()


@every_preset
def test_every_logit_of_a_decoder_moves_with_the_source_and_none_with_its_padding(preset: PresetName) -> None:
    source = ids(S)
    inputs = Inputs(encoder_ids_BS=source, encoder_lengths_B=torch.tensor([S - 2]), decoder_ids_BT=ids(T, seed=1))
    norms_TS = jacobian_norms(make(preset, (1, 1)), inputs, source)
    assert (norms_TS[:, : S - 2] > 0).all()
    assert (norms_TS[:, S - 2 :] == 0).all()


# --- packing ---


def gradients_of(model: Transformer, readings: list[Inputs]) -> list[Tensor]:
    """Of the sum of squares of all logits, over every reading."""
    model.zero_grad()
    for inputs in readings:
        read = inputs.decoder_ids_BT if inputs.decoder_ids_BT is not None else inputs.encoder_ids_BS
        assert read is not None
        logits, _ = predicted(model, inputs, torch.arange(read.numel()))
        logits.square().sum().backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


@every_preset
@pytest.mark.parametrize("num_blocks", [(2, 0), (0, 2), (1, 1)])
def test_documents_packed_together_give_the_gradient_of_documents_alone(
    preset: PresetName, num_blocks: tuple[int, int]
) -> None:
    """Relative 1e-12; without the mask the gradient is another."""
    model = make(preset, num_blocks)
    lengths = {"encoder_ids_BS": (2, 4), "decoder_ids_BT": (3, 2)}
    used = [name for name, blocks in zip(lengths, num_blocks, strict=True) if blocks]
    alone: Any = [{name: ids(lengths[name][part], seed=part) for name in used} for part in (0, 1)]
    joined: Any = {name: torch.cat([one[name] for one in alone], dim=1) for name in used}
    documents: Any = {
        name.replace("ids", "documents"): torch.tensor([[1] * lengths[name][0] + [2] * lengths[name][1]])
        for name in used
    }
    expected = torch.cat([g.flatten() for g in gradients_of(model, [Inputs(**one) for one in alone])])
    packed = torch.cat([g.flatten() for g in gradients_of(model, [Inputs(**joined, **documents)])])
    unmasked = torch.cat([g.flatten() for g in gradients_of(model, [Inputs(**joined)])])
    assert (packed - expected).norm() < 1e-12 * expected.norm()
    assert (unmasked - expected).norm() > 1e-3 * expected.norm()
