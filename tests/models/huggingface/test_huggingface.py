"""The shared Transformer is the papers' models: transformers' own classes say the same with the same weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, DynamicCache, PreTrainedModel

from models.huggingface.families import FAMILIES
from models.huggingface.settings import from_huggingface_config, to_huggingface_config
from models.huggingface.weights import from_huggingface, to_huggingface
from models.presets import PresetName, TransformerConfig
from tests.helpers import predicted
from tests.models.huggingface.families import (
    POSITIONS,
    VOCAB,
    Module,
    float64_throughout,
    loss_of_ours,
    loss_of_theirs,
    make_case,
    make_ours,
    make_theirs,
    random_config,
)

# Shapes are drawn by their seeds; the second two are further draws.
PAIRS = [
    pytest.param(preset, seed, marks=[pytest.mark.slow] if seed > 1 else []) for preset in FAMILIES for seed in range(4)
]


@pytest.mark.parametrize(("preset", "seed"), PAIRS)
def test_logits_and_loss_equal_those_of_the_class(preset: PresetName, seed: int) -> None:
    ours, case = make_ours(preset, seed), make_case(preset, seed)
    theirs = make_theirs(ours)
    with float64_throughout(), torch.no_grad():
        loss, logits_NV = loss_of_ours(ours, case)
        their_loss, their_logits_NV = loss_of_theirs(theirs, case)
    assert logits_NV.dtype == their_logits_NV.dtype == torch.float64
    assert (logits_NV - their_logits_NV).abs().max() <= 1e-10
    assert abs(float(loss - their_loss)) <= 1e-10
    assert logits_NV.std() > 0.1


@pytest.mark.parametrize(("preset", "seed"), PAIRS)
def test_every_gradient_equals_that_of_the_class(preset: PresetName, seed: int) -> None:
    ours, case = make_ours(preset, seed), make_case(preset, seed)
    theirs = make_theirs(ours)
    with float64_throughout():
        loss_of_ours(ours, case)[0].backward()
        loss_of_theirs(theirs, case)[0].backward()
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters() if parameter.grad is not None}
    assert len(gradients) == len(list(ours.parameters()))
    mapped = to_huggingface(gradients, ours.config, ours.num_blocks)
    compared = 0
    for name, parameter in theirs.named_parameters():
        assert parameter.grad is not None, name
        assert (mapped[name] - parameter.grad).abs().max() <= 1e-9, name
        compared += parameter.numel()
    bias_of_bart = VOCAB if preset == "bart" else 0  # a buffer there
    unread = 2 * 2 * ours.config.width if preset == "bart" else 0  # rows of its position tables
    assert compared - unread + bias_of_bart == sum(parameter.numel() for parameter in ours.parameters())


@pytest.mark.parametrize("preset", FAMILIES)
def test_float32_logits_agree_without_any_help(preset: PresetName) -> None:
    ours, case = make_ours(preset).float(), make_case(preset)
    theirs = make_theirs(ours)
    with torch.no_grad():
        _, logits_NV = loss_of_ours(ours, case)
        _, their_logits_NV = loss_of_theirs(theirs, case)
    assert torch.allclose(logits_NV, their_logits_NV, atol=1e-5 * float(logits_NV.abs().max()))


@pytest.mark.parametrize(("preset", "seed"), PAIRS)
def test_there_and_back_every_weight_is_bit_identical(preset: PresetName, seed: int) -> None:
    ours = make_ours(preset, seed)
    shape = ours.config, ours.num_blocks
    there = to_huggingface(ours.state_dict(), *shape)
    back = from_huggingface(there, *shape)
    assert back.keys() == ours.state_dict().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in ours.state_dict().items())
    again = to_huggingface(back, *shape)
    assert again.keys() == there.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in there.items())


@pytest.mark.parametrize("preset", FAMILIES)
def test_the_map_names_every_tensor_of_the_class(preset: PresetName) -> None:
    ours = make_ours(preset)
    theirs = make_theirs(ours)
    assert to_huggingface(ours.state_dict(), ours.config, ours.num_blocks).keys() == theirs.state_dict().keys()


@pytest.mark.parametrize(("preset", "seed"), PAIRS)
def test_there_and_back_every_size_is_the_same(preset: PresetName, seed: int) -> None:
    config, num_blocks = random_config(preset, seed)
    theirs = to_huggingface_config(config, num_blocks, vocab_size=VOCAB, max_positions=POSITIONS)
    back, vocab_size = from_huggingface_config(theirs)
    assert vocab_size == VOCAB
    assert back.layers == num_blocks
    again = to_huggingface_config(back, num_blocks, vocab_size=VOCAB, max_positions=POSITIONS)
    assert again == theirs


@pytest.mark.parametrize("num_blocks", [(1, 3), (3, 1)])
@pytest.mark.parametrize("preset", ["bart", "t5", "t5_v1_1"])
def test_the_cache_of_the_class_has_the_layers_of_the_decoder(
    preset: PresetName, num_blocks: tuple[int, int], tmp_path: Path
) -> None:
    """Also in the config that transformers saves of it."""
    config = TransformerConfig(preset=preset, width=16, num_heads=2)
    written = to_huggingface_config(config, num_blocks, vocab_size=VOCAB, max_positions=POSITIONS)
    made = AutoConfig.for_model(**written)
    made.save_pretrained(tmp_path)
    for theirs in (made, AutoConfig.from_pretrained(tmp_path)):
        assert len(DynamicCache(config=theirs)) == num_blocks[1]


@pytest.mark.parametrize("preset", FAMILIES)
def test_the_config_that_transformers_saves_is_read_back(preset: PresetName) -> None:
    ours = make_ours(preset)
    saved = make_theirs(ours).config.to_diff_dict()
    full = make_theirs(ours).config.to_dict()
    for theirs in (saved, full):
        config, vocab_size = from_huggingface_config({**full, **theirs})
        assert (config.preset, config.layers, vocab_size) == (preset, ours.num_blocks, VOCAB)
        assert (config.width, config.num_heads, config.key_value_heads, config.width_of_feed_forward) == (
            ours.config.width,
            ours.config.num_heads,
            ours.config.key_value_heads,
            ours.config.width_of_feed_forward,
        )


@pytest.mark.parametrize(
    ("preset", "settings", "num_blocks", "message"),
    [
        ("lab", {"share_layers": 1}, (0, 2), "body.share_layers = 1, and the layers of LlamaForCausalLM share no"),
        ("albert", {"share_layers": 14}, (18, 0), "body.share_layers = 14 of 18 layers"),
        ("lab", {}, (2, 2), "this has an encoder and a decoder"),
        ("bert", {}, (2, 2), "BertForPreTraining, which has an encoder"),
        ("gpt2", {"positions": "rotary"}, (0, 2), "body.positions = rotary"),
        ("bert", {"num_key_value_heads": 1}, (2, 0), "has no grouped heads"),
        ("gpt2", {"head_width": 16}, (0, 2), "body.head_width = 16"),
    ],
)
def test_what_no_class_represents_is_refused_with_the_reason(
    preset: PresetName, settings: dict, num_blocks: tuple[int, int], message: str
) -> None:
    config = TransformerConfig(preset=preset, width=16, num_heads=2, **settings)
    with pytest.raises(ValueError, match=message):
        to_huggingface_config(config, num_blocks, vocab_size=VOCAB, max_positions=POSITIONS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "mamba"}, "model_type = mamba"),
        ({"hidden_act": "relu"}, "hidden_act = relu, and BertForPreTraining here has gelu"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps = 1e-05"),
    ],
)
def test_a_config_of_another_kind_is_refused_with_both_values(changed: dict, message: str) -> None:
    ours = make_ours("bert")
    theirs = to_huggingface_config(ours.config, ours.num_blocks, vocab_size=VOCAB, max_positions=POSITIONS)
    with pytest.raises(ValueError, match=message):
        from_huggingface_config({**theirs, **changed})


# --- the traps of transformers 5 ---


def test_an_untied_t5_is_untied_and_unscaled_there_as_well(tmp_path: Path) -> None:
    ours, case = make_ours("t5_v1_1").float(), make_case("t5_v1_1")
    theirs = make_theirs(ours)
    assert theirs.config.scale_decoder_outputs is False
    theirs.save_pretrained(tmp_path)
    loaded = type(theirs).from_pretrained(tmp_path)
    assert isinstance(loaded, PreTrainedModel)
    with torch.no_grad():
        _, logits_NV = loss_of_ours(ours, case)
        _, their_logits_NV = loss_of_theirs(loaded.eval(), case)
    state = loaded.state_dict()
    assert not torch.equal(state["lm_head.weight"], state["shared.weight"])
    assert torch.allclose(logits_NV, their_logits_NV, atol=1e-4)


def test_a_tied_t5_divides_its_states_by_the_root_of_the_width() -> None:
    ours, case = make_ours("t5"), make_case("t5")
    with torch.no_grad():
        _, scaled_NV = loss_of_ours(ours, case)
        assert ours.body.head is not None
        ours.body.head.scale = None
        _, unscaled_NV = loss_of_ours(ours, case)
    assert torch.allclose(unscaled_NV, scaled_NV * ours.config.width**0.5)


def test_the_class_of_bart_hides_padding_only_where_it_is_told_to() -> None:
    ours, case = make_ours("bart"), make_case("bart")
    theirs = make_theirs(ours)
    unmasked = {name: tensor for name, tensor in case.theirs.items() if name != "attention_mask"}
    with torch.no_grad():
        _, logits_NV = loss_of_ours(ours, case)
        their_logits: Tensor = theirs(**unmasked).logits.flatten(0, 1)[case.places]
    assert (logits_NV - their_logits).abs().max() > 1e-3


def test_packed_documents_have_positions_of_their_own_in_gpt2_as_well() -> None:
    """Transformers' GPT-2 counts packed positions anew only where it is given them, and without a cache."""
    ours = make_ours("gpt2")
    theirs = make_theirs(ours, attn_implementation="eager")
    ids_BT = torch.randint(3, VOCAB, (2, 12), generator=torch.Generator().manual_seed(0))
    documents_BT = torch.tensor([[1] * 5 + [2] * 7, [1] * 8 + [2] * 4])
    places_BT = torch.tensor([[*range(5), *range(7)], [*range(8), *range(4)]])
    case = make_case("gpt2")
    inputs = case.inputs._replace(decoder_ids_BT=ids_BT, decoder_documents_BT=documents_BT)
    allowed_BTT = (documents_BT[:, :, None] == documents_BT[:, None, :]).tril()
    bias_B1TT = torch.where(allowed_BTT, 0.0, -1e30).double()[:, None]
    with torch.no_grad():
        logits_NV, _ = predicted(ours.body, inputs, torch.arange(ids_BT.numel()))
        message = theirs(ids_BT, attention_mask=bias_B1TT, position_ids=places_BT, use_cache=False)
    assert (logits_NV - message.logits.flatten(0, 1)).abs().max() <= 1e-10


def test_a_module_without_the_second_head_gives_and_takes_the_rest() -> None:
    ours = make_ours("bert")
    state = {name: tensor for name, tensor in ours.state_dict().items() if "next_sentence" not in name}
    there = to_huggingface(state, ours.config, ours.num_blocks)
    assert not any("pooler" in name or "seq_relationship" in name for name in there)
    assert from_huggingface(there, ours.config, ours.num_blocks).keys() == state.keys()
    assert isinstance(ours, Module)
