"""Parameters and floating-point operations, against torch's own counter and transformers' classes."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.body import Inputs
from models.presets import PresetName, TransformerConfig
from models.transformer.accounting import count_parameters
from models.transformer.transformer import Transformer
from tests.helpers import predicted
from tests.models.presets import FOUR_BY_DEFAULT

V, S, T, B = 300, 24, 16, 2


def make(preset: PresetName, blocks: tuple[int, int], **settings: Any) -> Transformer:
    config = TransformerConfig(preset=preset, width=64, num_heads=4, **settings)
    return Transformer(config, num_blocks=blocks, vocab_size=V, max_positions=32)


@pytest.mark.parametrize("preset", FOUR_BY_DEFAULT)
@pytest.mark.parametrize("blocks", [(3, 0), (0, 3), (2, 1)])
@pytest.mark.parametrize("key_heads", [4, 1])
def test_flops_are_those_that_torch_counts(preset: PresetName, blocks: tuple[int, int], key_heads: int) -> None:
    model = make(preset, blocks, num_key_value_heads=key_heads).to("meta")
    tokens = torch.zeros(B, S + T, dtype=torch.long, device="meta")
    inputs = Inputs(
        encoder_ids_BS=tokens[:, :S] if blocks[0] else None, decoder_ids_BT=tokens[:, :T] if blocks[1] else None
    )
    targets = 5
    with FlopCounterMode(display=False) as counter:
        predicted(model, inputs, torch.zeros(B * targets, dtype=torch.long, device="meta"))
    ours = model.flops(encoder=S if blocks[0] else 0, decoder=T if blocks[1] else 0, targets=targets)
    assert B * ours == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_head_costs_by_its_targets() -> None:
    model = make("lab", (0, 1))
    few, many = (model.flops(encoder=0, decoder=T, targets=targets) for targets in (0, 10))
    assert many - few == 2 * 64 * V * 10


def test_tied_parameters_count_once_and_tables_may_be_left_out() -> None:
    tied, untied = make("t5", (1, 1)), make("t5_v1_1", (1, 1))
    for model in (tied, untied):
        assert count_parameters(model) == sum(parameter.numel() for parameter in model.parameters())
    tables = V * 64 + 2 * 32 * 4  # tokens, and the two stacks' relative positions
    assert count_parameters(tied) - count_parameters(tied, embeddings=False) == tables


def test_sizes_are_those_of_transformers_classes() -> None:
    import transformers

    hf: Any = transformers
    shape: dict[str, Any] = {"vocab_size": V, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    bart: dict[str, Any] = {f"{stack}_{name}": value for stack in ("encoder", "decoder")
            for name, value in {"layers": 2, "attention_heads": 4, "ffn_dim": 256}.items()}  # fmt: skip
    t5: dict[str, Any] = {"d_model": 64, "d_kv": 16, "num_heads": 4, "num_layers": 2, "d_ff": 256}
    theirs = {
        "gpt2": hf.GPT2LMHeadModel(hf.GPT2Config(**shape, n_embd=64, n_layer=2, n_head=4, n_positions=32)),
        "bart": hf.BartForConditionalGeneration(hf.BartConfig(**shape, d_model=64, max_position_embeddings=30, **bart)),
        "t5": hf.T5ForConditionalGeneration(hf.T5Config(**shape, **t5)),
        "lab": hf.LlamaForCausalLM(
            hf.LlamaConfig(**shape, hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
                           tie_word_embeddings=True)
        ),
        "bert": hf.BertForMaskedLM(
            hf.BertConfig(**shape, hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
                          max_position_embeddings=32)
        ),
    }  # fmt: skip
    blocks = {"gpt2": (0, 2), "lab": (0, 2), "bert": (2, 0), "bart": (2, 2), "t5": (2, 2)}
    extra = {"bart": V}  # final_logits_bias is a buffer there
    for preset, model in theirs.items():
        expected = sum(parameter.numel() for parameter in model.parameters()) + extra.get(preset, 0)
        assert count_parameters(make(preset, blocks[preset])) == expected, preset  # pyright: ignore[reportArgumentType]
