"""Embeddings: shared by two bodies, projected where widths differ, and under names that old checkpoints lead to."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.body import Inputs
from models.presets import PRESETS, PresetName, TransformerConfig
from models.transformer.initialisation import initialise, initialise_children
from models.transformer.names import first_edition_name
from models.transformer.transformer import Transformer
from tests.helpers import predicted

V, T = 40, 6
STACKS = [(2, 0), (0, 2), (1, 1)]
every_preset = pytest.mark.parametrize("preset", PRESETS)
every_stack = pytest.mark.parametrize("num_blocks", STACKS)
IDS = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(0))


def config_of(preset: PresetName, *, width: int = 16, embedding_width: int | None = None) -> TransformerConfig:
    return TransformerConfig(preset=preset, width=width, num_heads=2, embedding_width=embedding_width)


def make(config: TransformerConfig, num_blocks: tuple[int, int], *, like: Transformer | None = None) -> Transformer:
    embeddings = None if like is None else like.embeddings
    return Transformer(config, num_blocks=num_blocks, vocab_size=V, max_positions=T, embeddings=embeddings)


def inputs_of(num_blocks: tuple[int, int]) -> Inputs:
    return Inputs(encoder_ids_BS=IDS if num_blocks[0] else None, decoder_ids_BT=IDS if num_blocks[1] else None)


@every_preset
@every_stack
def test_bodies_of_other_widths_share_their_embeddings(preset: PresetName, num_blocks: tuple[int, int]) -> None:
    """A generator of ELECTRA: it holds the very parameters of the other, and both have a gradient by them."""
    main = make(config_of(preset), num_blocks)
    generator = make(config_of(preset, width=8, embedding_width=16), num_blocks, like=main)
    root = nn.ModuleDict({"body": main, "generator": generator})
    initialise_children(root, seed=3)
    alone = make(config_of(preset), num_blocks)
    initialise(alone, seed=3, prefix="transformer.")
    for (name, found), expected in zip(main.named_parameters(), alone.parameters(), strict=True):
        assert torch.equal(found, expected), name
    ours, theirs = dict(main.named_parameters()), dict(generator.named_parameters())
    shared = {name for name in theirs if theirs[name] is ours.get(name)}
    assert shared == {name for name in ours if name == "token_table.weight" or ".embeddings." in name}
    for body in (main, generator):
        root.zero_grad()
        predicted(body, inputs_of(num_blocks), torch.arange(T))[0].square().sum().backward()
        unread = "segment_table"  # no segments are given
        assert all(ours[name].grad is not None for name in shared if unread not in name)


@every_preset
@every_stack
def test_a_projection_exists_where_widths_differ_alone(preset: PresetName, num_blocks: tuple[int, int]) -> None:
    plain, same = make(config_of(preset), num_blocks), make(config_of(preset, embedding_width=16), num_blocks)
    narrow = make(config_of(preset, embedding_width=4), num_blocks)
    names = [set(dict(model.named_parameters())) for model in (plain, same, narrow)]
    assert names[0] == names[1]
    parts = PRESETS[preset]
    added = {name.rsplit(".", 1)[0] for name in names[2] - names[0]}
    stacks = [stack for stack, blocks in zip(("encoder", "decoder"), num_blocks, strict=True) if blocks]
    head = {"head.projection"} if parts.tied and not parts.head_transform else set()
    assert added == {f"{stack}.embedding_projection" for stack in stacks} | head
    assert narrow.token_table.weight.shape == (V, 4)
    logits, states = predicted(narrow, inputs_of(num_blocks), torch.arange(T))
    assert logits.shape == (T, V)
    assert states.shape == (2, T, 16)


@every_preset
@every_stack
def test_the_projections_of_narrow_embeddings_are_counted(preset: PresetName, num_blocks: tuple[int, int]) -> None:
    model = make(config_of(preset, embedding_width=4), num_blocks).to("meta")
    ids = IDS.to("meta")
    inputs = Inputs(encoder_ids_BS=ids if num_blocks[0] else None, decoder_ids_BT=ids if num_blocks[1] else None)
    with FlopCounterMode(display=False) as counter:
        predicted(model, inputs, torch.zeros(2 * 3, dtype=torch.long, device="meta"))
    lengths = {"encoder": T * (num_blocks[0] > 0), "decoder": T * (num_blocks[1] > 0), "targets": 3}
    assert 2 * model.flops(**lengths) == pytest.approx(counter.get_total_flops(), rel=0.01)


@every_preset
@every_stack
def test_the_first_edition_had_no_module_of_embeddings(preset: PresetName, num_blocks: tuple[int, int]) -> None:
    for name, _ in make(config_of(preset), num_blocks).named_parameters():
        before = first_edition_name(name)
        assert "embeddings." not in before
        assert (before == name) == ("embeddings." not in name)


@every_preset
def test_parameters_stand_in_the_order_of_the_first_edition(preset: PresetName) -> None:
    """Optimizer states are read by number."""
    names = [name for name, _ in make(config_of(preset), (1, 1)).named_parameters()]
    kinds = ("token_table", "encoder.", "decoder.", "head.")
    assert [kind for name in names for kind in kinds if name.startswith(kind)] == [
        kind for kind in kinds for name in names if name.startswith(kind)
    ]
    first = ["relative_table", "position_table", "segment_table", "embedding_norm", "blocks", "final_norm"]
    encoder = [first_edition_name(name).split(".")[1] for name in names if name.startswith("encoder.")]
    assert encoder == sorted(encoder, key=first.index)
