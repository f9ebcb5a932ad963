"""The shared Transformer: who sees whom, whatever is packed, padded, recomputed or left out."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.body import Inputs
from models.presets import PRESETS, PositionKind, PresetName, TransformerConfig
from models.transformer.initialisation import initialise
from models.transformer.layers import sinusoids
from models.transformer.transformer import Transformer
from tests.helpers import predicted
from tests.models.presets import FOUR_BY_DEFAULT
from training.step.compilation import CACHE, begin_compiling

V, S, T = 60, 9, 8
STACKS = {"encoder": (2, 0), "decoder": (0, 2), "both": (2, 2)}


def make(preset: PresetName, stacks: str, **settings: Any) -> Transformer:
    """A small Transformer in float64 whose every parameter matters."""
    config = TransformerConfig(preset=preset, width=16, num_heads=2, feed_forward_width=24, **settings)
    model = Transformer(config, num_blocks=STACKS[stacks], vocab_size=V, max_positions=32)
    initialise(model, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.double().eval()


def ids(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(V, (rows, length), generator=torch.Generator().manual_seed(seed))


def inputs_of(stacks: str, rows: int = 2, **more: Any) -> Inputs:
    encoder: Any = {"encoder_ids_BS": ids(rows, S)} if stacks != "decoder" else {}
    decoder: Any = {"decoder_ids_BT": ids(rows, T, seed=1)} if stacks != "encoder" else {}
    return Inputs(**{**encoder, **decoder, **more})


@torch.no_grad()
def all_logits(model: Transformer, inputs: Inputs) -> Tensor:
    """[B, length, V]."""
    read = inputs.decoder_ids_BT if inputs.decoder_ids_BT is not None else inputs.encoder_ids_BS
    assert read is not None
    logits, _ = predicted(model, inputs, torch.arange(read.numel()))
    return logits.view(*read.shape, V)


def changed(tokens: Tensor, place: int) -> Tensor:
    other = tokens.clone()
    other[:, place] = (other[:, place] + 1) % V
    return other


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("stacks", ["decoder", "both"])
def test_a_decoder_never_sees_what_is_ahead(preset: PresetName, stacks: str) -> None:
    model, inputs = make(preset, stacks), inputs_of(stacks)
    before = all_logits(model, inputs)
    assert inputs.decoder_ids_BT is not None
    for place in range(T):
        after = all_logits(model, inputs._replace(decoder_ids_BT=changed(inputs.decoder_ids_BT, place)))
        assert torch.equal(before[:, :place], after[:, :place])
        assert ((before - after).abs().amax(dim=-1)[:, place:] > 1e-9).all()


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("stacks", ["encoder", "both"])
def test_an_encoder_is_seen_from_everywhere(preset: PresetName, stacks: str) -> None:
    model, inputs = make(preset, stacks), inputs_of(stacks)
    before = all_logits(model, inputs)
    assert inputs.encoder_ids_BS is not None
    for place in range(S):
        after = all_logits(model, inputs._replace(encoder_ids_BS=changed(inputs.encoder_ids_BS, place)))
        assert ((before - after).abs().amax(dim=-1) > 1e-9).all()


def sees(model: Transformer, inputs: Inputs, name: str) -> Tensor:
    """bool[length, length of `name`]: whether the first row's logits at a position change with a token at another."""
    before, tokens = all_logits(model, inputs), getattr(inputs, name)
    after = [all_logits(model, inputs._replace(**{name: changed(tokens, place)})) for place in range(tokens.shape[1])]
    change = torch.stack([(before - one)[0].abs().amax(dim=-1) for one in after], dim=1)
    assert ((change == 0) | (change > 1e-9)).all()
    return change > 0


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("stacks", STACKS)
def test_inputs_say_whether_the_last_stack_is_causal(preset: PresetName, stacks: str) -> None:
    """A stack of either kind may look to the left or to both sides; the encoder beside a decoder always to both."""
    model, inputs = make(preset, stacks), inputs_of(stacks, rows=1)
    name = "encoder_ids_BS" if stacks == "encoder" else "decoder_ids_BT"
    length = getattr(inputs, name).shape[1]
    everything = torch.ones(length, length, dtype=torch.bool)
    assert torch.equal(sees(model, inputs._replace(is_causal=True), name), everything.tril())
    assert torch.equal(sees(model, inputs._replace(is_causal=False), name), everything)
    if stacks == "both":
        assert sees(model, inputs._replace(is_causal=True), "encoder_ids_BS").all()


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("stacks", STACKS)
def test_a_prefix_is_seen_from_everywhere_and_what_follows_it_from_the_right(preset: PresetName, stacks: str) -> None:
    model, inputs = make(preset, stacks), inputs_of(stacks, rows=1)._replace(is_causal=True)
    name = "encoder_ids_BS" if stacks == "encoder" else "decoder_ids_BT"
    length = getattr(inputs, name).shape[1]
    expected = torch.ones(length, length, dtype=torch.bool).tril()
    expected[:, :4] = True
    prefix, none, whole = (
        inputs._replace(prefixes=(torch.arange(length) < prefix).long()[None]) for prefix in (4, 0, length)
    )
    assert torch.equal(sees(model, prefix, name), expected)
    assert torch.equal(all_logits(model, none), all_logits(model, inputs))
    assert torch.equal(all_logits(model, whole), all_logits(model, inputs._replace(is_causal=False)))


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("stacks", ["encoder", "both"])
def test_padding_changes_nothing(preset: PresetName, stacks: str) -> None:
    model, inputs = make(preset, stacks), inputs_of(stacks)
    assert inputs.encoder_ids_BS is not None
    plain = all_logits(model, inputs)
    padded = torch.cat([inputs.encoder_ids_BS, ids(2, 3, seed=5)], dim=1)
    found = all_logits(model, inputs._replace(encoder_ids_BS=padded, encoder_lengths_B=torch.tensor([S, S])))
    torch.testing.assert_close(found[:, : plain.shape[1]], plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stacks", STACKS)
def test_rows_of_a_batch_do_not_meet(stacks: str) -> None:
    model, inputs = make("lab", stacks), inputs_of(stacks, rows=3)
    together = all_logits(model, inputs)
    for row in range(3):
        of_row: Any = {name: value[row : row + 1] for name, value in inputs._asdict().items() if value is not None}
        alone = Inputs(**of_row)
        torch.testing.assert_close(all_logits(model, alone)[0], together[row], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("stacks", STACKS)
def test_documents_packed_together_are_documents_alone(preset: PresetName, stacks: str) -> None:
    model = make(preset, stacks)
    lengths = {"encoder": (4, 5), "decoder": (3, 5)}
    names = {
        "encoder": ("encoder_ids_BS", "encoder_documents_BS"),
        "decoder": ("decoder_ids_BT", "decoder_documents_BT"),
    }
    used = ["encoder", "decoder"] if stacks == "both" else [stacks]
    alone, packed, unmasked = [{}, {}], {}, {}
    for number, stack in enumerate(used):
        parts = [ids(1, length, seed=10 * number + index) for index, length in enumerate(lengths[stack])]
        read, documents = names[stack]
        for one, part in zip(alone, parts, strict=True):
            one[read] = part
        packed[read] = unmasked[read] = torch.cat(parts, dim=1)
        packed[documents] = torch.tensor([[1] * lengths[stack][0] + [2] * lengths[stack][1]])
    expected = torch.cat([all_logits(model, Inputs(**one)) for one in alone], dim=1)
    torch.testing.assert_close(all_logits(model, Inputs(**packed)), expected, rtol=1e-12, atol=1e-12)
    assert (all_logits(model, Inputs(**unmasked)) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
def test_logits_are_those_of_the_named_positions_in_their_order(preset: PresetName) -> None:
    model, inputs = make(preset, "both"), inputs_of("both")
    calls = torch.tensor([13, 2, 2, 7])
    with torch.no_grad():
        logits, states = predicted(model, inputs, calls)
    torch.testing.assert_close(logits, all_logits(model, inputs).flatten(0, 1)[calls], rtol=1e-12, atol=1e-12)
    assert states.shape == (2, T, 16)


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("stacks", STACKS)
def test_blocks_computed_twice_give_the_same_gradient(preset: PresetName, stacks: str) -> None:
    model, inputs = make(preset, stacks).train(), inputs_of(stacks)
    gradients = []
    for recompute in (False, True):
        for stack in (model.encoder, model.decoder):
            if stack is not None:
                stack.checkpoint_gradients = recompute
        model.zero_grad()
        logits, _ = predicted(model, inputs, torch.arange(5))
        logits.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert (plain is None) == (recomputed is None)
        assert plain is None or torch.equal(plain, recomputed)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "stacks"), [*(("lab", stacks) for stacks in STACKS), ("gpt2", "decoder")])
def test_a_compiled_transformer_predicts_and_learns_the_same(
    preset: PresetName, stacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Float32, 1e-5: logits, and gradients to the scale of the largest; GPT-2's GELU takes its tanh by exp."""
    monkeypatch.setenv(CACHE, str(tmp_path))
    begin_compiling(tmp_path)
    found = []
    for compiles in (False, True):
        model, inputs = make(preset, stacks).float(), inputs_of(stacks)
        if compiles:
            model.compile_layers(encoder=None, decoder=None)
        logits, _ = predicted(model, inputs, torch.arange(12))
        F.cross_entropy(logits, torch.arange(12)).backward()
        gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
        found.append((logits.detach(), torch.cat(gradients)))
    (logits, gradient), (compiled_logits, compiled_gradient) = found
    torch.testing.assert_close(compiled_logits, logits, rtol=1e-5, atol=1e-5)
    assert (compiled_gradient - gradient).abs().max() < 1e-5 * gradient.abs().max()


@pytest.mark.parametrize("kind", ["learned", "sinusoidal", "relative", "rotary"])
@pytest.mark.parametrize("stacks", STACKS)
def test_every_kind_of_position_tells_orders_apart(kind: PositionKind, stacks: str) -> None:
    model, inputs = make("lab", stacks, positions=kind), inputs_of(stacks)
    name = "encoder_ids_BS" if stacks != "decoder" else "decoder_ids_BT"
    tokens = getattr(inputs, name)
    swapped = tokens[:, [1, 0, *range(2, tokens.shape[1])]]
    last = all_logits(model, inputs)[:, -1] - all_logits(model, inputs._replace(**{name: swapped}))[:, -1]
    assert (last.abs().amax(dim=-1) > 1e-6).all()


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoids(10, 6) / 0.02
    for place in range(10):
        for pair in range(3):
            angle = torch.tensor(place / 10_000 ** (2 * pair / 6))
            torch.testing.assert_close(table[place, 2 * pair : 2 * pair + 2], torch.stack([angle.sin(), angle.cos()]))


def test_segments_are_distinguished_by_bert() -> None:
    model, inputs = make("bert", "encoder"), inputs_of("encoder")
    segments = torch.zeros(2, S, dtype=torch.long)
    plain = all_logits(model, inputs._replace(segments_BS=segments))
    assert (plain - all_logits(model, inputs._replace(segments_BS=segments + 1))).abs().max() > 1e-3


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
def test_a_tied_head_is_the_table_and_another_is_not(preset: PresetName) -> None:
    model = make(preset, "both")
    assert model.head is not None
    heads = [parameter for parameter in model.head.parameters() if parameter.shape == (V, 16)]
    assert len(heads) == (not PRESETS[preset].tied)


def test_dropout_is_of_training_alone() -> None:
    model, inputs = make("t5", "both", dropout=0.3), inputs_of("both")
    assert torch.equal(all_logits(model, inputs), all_logits(model, inputs))
    model.train()
    assert not torch.equal(all_logits(model, inputs), all_logits(model, inputs))
