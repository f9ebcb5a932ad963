"""Attention maps: they mix values as the kernels did, for every body and mask, and leave the pass as it was."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.attention.kernels import Kernel
from models.bodies.make import BodyConfig, make_body
from models.body import Body, Inputs
from models.presets import PresetName, TransformerConfig
from models.recurrent.attention import RecurrentAttentionLayer
from models.recurrent.config import RecurrentConfig
from models.transformer.initialisation import initialise_children
from objectives.inspection.attention import AttentionMap, attention_maps, maps_in_training, recording, summaries
from objectives.mixtures.dual import Dual
from objectives.prefix_lm import PrefixLM
from objectives.replaced_token_detection import ReplacedTokenDetection
from tests.models.presets import FOUR_BY_DEFAULT
from tests.objectives.contract.contract import some_windows
from tests.objectives.texts import batch_of, built

B, S, T, V = 2, 9, 7, 50
IDS = torch.randint(0, V, (B, S + T), generator=torch.Generator().manual_seed(0))
ENCODER = Inputs(encoder_ids_BS=IDS[:, :S], encoder_lengths_B=torch.tensor([S, 5]))
DECODER = Inputs(decoder_ids_BT=IDS[:, :T], decoder_lengths_B=torch.tensor([T, 5]))
DOCUMENTS = torch.tensor([[1, 1, 1, 2, 2, 3, 3], [0, 1, 1, 1, 2, 2, 2]])
BOTH = ENCODER._replace(decoder_ids_BT=IDS[:, S:], decoder_lengths_B=DECODER.decoder_lengths_B)
INPUTS = {
    "encoder": ((2, 0), ENCODER),
    "documents": ((2, 0), Inputs(encoder_ids_BS=IDS[:, :T], encoder_documents_BS=DOCUMENTS)),
    "causal encoder": ((2, 0), ENCODER._replace(is_causal=True)),
    "decoder": ((0, 2), DECODER),
    "padding on the left": ((0, 2), Inputs(decoder_ids_BT=IDS[:, :T], decoder_starts_B=torch.tensor([0, 3]))),
    "bidirectional decoder": ((0, 2), DECODER._replace(is_causal=False)),
    "causal documents": ((0, 2), DECODER._replace(decoder_documents_BT=DOCUMENTS)),
    "prefix": ((0, 2), DECODER._replace(prefixes=torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]))),
    "both": ((2, 1), BOTH),
}


def body_of(config: BodyConfig, num_blocks: tuple[int, int]) -> Body:
    with torch.random.fork_rng():
        body = make_body(config, num_blocks=num_blocks, vocab_size=V, max_positions=S)
        initialise_children(torch.nn.ModuleDict({"body": body}), seed=1)
    return body.eval()


def kernels_of(body: Body) -> tuple[list[tuple[Tensor, Tensor]], list[Any]]:
    """What each kernel of a pass is given as values, a head each, and what it returns; and the hooks."""
    seen: list[tuple[Tensor, Tensor]] = []

    def hook(module: torch.nn.Module, given: tuple[Any, ...], mixed: Tensor) -> None:
        seen.append((given[2].repeat_interleave(mixed.shape[1] // given[2].shape[1], dim=1), mixed))

    return seen, [one.register_forward_hook(hook) for one in body.modules() if isinstance(one, Kernel)]


def in_order_of_passes(maps: list[AttentionMap]) -> list[AttentionMap]:
    """A decoder's block looks at itself, then at the encoder."""
    return sorted(maps, key=lambda one: (one.stack != "encoder", one.layer, one.kind != "self"))


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_mixture_of_values_is_the_kernels_output(
    preset: PresetName, name: str, dtype: torch.dtype, tolerance: float
) -> None:
    """Of the size of the values; scores are as large as those of a first step."""
    blocks, inputs = INPUTS[name]
    config = TransformerConfig(preset=preset, width=32, layers=blocks, num_heads=4)
    body = body_of(config, blocks).to(dtype)
    seen, hooks = kernels_of(body)
    maps = attention_maps(body, inputs)
    for hook in hooks:
        hook.remove()
    assert len(maps) == len(seen) == blocks[0] + blocks[1] * (1 + (blocks[0] > 0))
    for one, (values, mixed) in zip(in_order_of_passes(maps), seen, strict=True):
        weights = one.weights_BHQK
        sees = weights.sum(dim=-1) > 0
        torch.testing.assert_close(weights.sum(dim=-1)[sees], torch.ones_like(weights[..., 0][sees]))
        scale = values.abs().max().clamp(min=1)
        torch.testing.assert_close((weights @ values)[sees] / scale, mixed[sees] / scale, rtol=0, atol=tolerance)


def test_what_a_mask_hides_has_exactly_0() -> None:
    config = TransformerConfig(preset="t5", width=32, layers=(2, 1), num_heads=2)
    maps = attention_maps(body_of(config, (2, 1)), BOTH)
    assert [(one.stack, one.kind, one.layer) for one in maps] == [
        ("encoder", "self", 0),
        ("encoder", "self", 1),
        ("decoder", "self", 0),
        ("decoder", "cross", 0),
    ]
    for one in (maps[0], maps[1], maps[3]):
        assert (one.weights_BHQK[1, :, :, 5:] == 0).all()  # the second row is padded from the sixth token on
        assert (one.weights_BHQK[0] > 0).all()
    assert (maps[2].weights_BHQK.triu(1) == 0).all()
    assert torch.equal(maps[3].query_ids_BQ, IDS[:, S:])
    assert torch.equal(maps[3].key_ids_BK, IDS[:, :S])


def test_documents_see_themselves_alone() -> None:
    config = TransformerConfig(width=32, layers=2, num_heads=2)
    for one in attention_maps(body_of(config, (0, 2)), INPUTS["causal documents"][1]):
        first = one.weights_BHQK[0]
        assert (first[:, 3:5, :3] == 0).all()
        assert (first[:, 5:, :5] == 0).all()
        assert (first[:, 3, 3] == 1).all()


def test_layers_that_share_their_weights_have_a_map_each() -> None:
    config = TransformerConfig(preset="bert", width=32, layers=4, num_heads=2, share_layers=1)
    maps = attention_maps(body_of(config, (4, 0)), ENCODER)
    assert [one.layer for one in maps] == [0, 1, 2, 3]
    assert not torch.equal(maps[0].weights_BHQK, maps[3].weights_BHQK)


@pytest.mark.parametrize("attention", ["bahdanau", "dot", "general", "concat", "none"])
@pytest.mark.parametrize("input_feeding", [True, False])
def test_a_recurrent_decoders_weights_are_those_of_its_contexts(attention: Any, input_feeding: bool) -> None:
    config = RecurrentConfig(width=16, layers=(1, 2), attention=attention, input_feeding=input_feeding)
    body = body_of(config, (1, 2)).double()
    contexts: list[Tensor] = []
    for layer in body.modules():
        if isinstance(layer, RecurrentAttentionLayer):
            layer.register_forward_hook(lambda module, given, returned: contexts.append(returned[0]))
    maps = attention_maps(body, BOTH)
    if attention == "none":
        assert not maps
        return
    (one,) = maps
    assert (one.stack, one.kind, one.layer, one.weights_BHQK.shape) == ("decoder", "cross", 0, (B, 1, T, S))
    assert (one.weights_BHQK[1, :, :, 5:] == 0).all()
    torch.testing.assert_close(one.weights_BHQK.sum(dim=-1), torch.ones(B, 1, T).double(), rtol=0, atol=1e-12)
    mixture = one.weights_BHQK[:, 0] @ body.encode(BOTH)
    torch.testing.assert_close(mixture, torch.cat(contexts, dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["transformer", "recurrent"])
def test_a_pass_is_the_same_while_it_is_recorded(kind: str) -> None:
    """Bit for bit, and nothing is left on the modules."""
    config = TransformerConfig(width=32, num_heads=2) if kind == "transformer" else RecurrentConfig(width=16)
    body = body_of(config, (1, 1))
    before = body(BOTH)
    with recording(body) as maps:
        during = body(BOTH)
    assert maps
    assert torch.equal(before, during)
    assert torch.equal(before, body(BOTH))
    assert not any(module._forward_hooks for module in body.modules())
    assert not body.training


def test_hooks_are_removed_where_a_pass_fails() -> None:
    body = body_of(TransformerConfig(width=32, layers=1, num_heads=2), (1, 0))
    with pytest.raises(IndexError), recording(body):
        body(Inputs(encoder_ids_BS=torch.tensor([[V]])))
    assert not any(module._forward_hooks for module in body.modules())


def test_a_compiled_body_has_the_maps_of_one_that_is_not() -> None:
    body = body_of(TransformerConfig(width=32, layers=1, num_heads=2), (1, 0))
    expected = attention_maps(body, ENCODER)
    body.compile(backend="eager")
    with torch.no_grad():
        body(ENCODER)
    (found,) = attention_maps(body, ENCODER)
    assert torch.equal(found.weights_BHQK, expected[0].weights_BHQK)


def test_every_body_of_an_objective_is_recorded_as_it_is_trained() -> None:
    windows = some_windows()
    detection = built(ReplacedTokenDetection(), window=64).eval()
    batch = batch_of(detection.objective, windows)
    maps = maps_in_training(detection.objective, detection.built, batch)
    assert [(one.role, one.layer) for one in maps] == [("body", 0), ("body", 1), ("generator", 0), ("generator", 1)]
    assert batch.encoder_ids_BS is not None
    assert torch.equal(maps[2].key_ids_BK, batch.encoder_ids_BS)  # the generator reads masks, the body what it wrote
    assert not torch.equal(maps[0].key_ids_BK, batch.encoder_ids_BS)
    own = attention_maps(detection.built, Inputs(encoder_ids_BS=batch.encoder_ids_BS), "generator")
    assert {one.role for one in own} == {"generator"}


@pytest.mark.parametrize("objective", [PrefixLM(), Dual(causal_share=0.0)])
def test_prefixes_and_windows_of_diffusion_look_to_both_sides(objective: Any) -> None:
    module = built(objective, window=64).eval()
    batch = batch_of(module.objective, some_windows())
    one = maps_in_training(module.objective, module.built, batch)[0]
    assert (one.weights_BHQK.triu(1) > 0).any()


def test_a_summary_is_what_a_head_looks_at() -> None:
    """Heads by hand: to the first position, to itself, to the one before, and everywhere to the left alike."""
    first, itself = torch.zeros(4, 4), torch.eye(4)
    first[:, 0] = 1
    previous = torch.eye(4).roll(-1, 1).tril()
    previous[0, 0] = 1
    alike = torch.ones(4, 4).tril() / torch.arange(1, 5)[:, None]
    one = AttentionMap("body", "decoder", "self", 0, torch.stack([first, itself, previous, alike])[None], IDS, IDS)
    found = summaries(one)
    assert found[0] == (0.0, 1.0, 0.25, pytest.approx(1 / 3))
    assert found[1] == (0.0, 0.25, 1.0, 0.0)
    assert found[2] == (0.0, 0.5, 0.25, 1.0)
    assert found[3].entropy == pytest.approx((math.log(2) + math.log(3) + math.log(4)) / 4)
    padded = one._replace(weights_BHQK=torch.cat([one.weights_BHQK, torch.zeros_like(one.weights_BHQK)]))
    assert summaries(padded) == found
    assert summaries(one._replace(kind="cross"))[0] == (0.0, 1.0, None, None)
