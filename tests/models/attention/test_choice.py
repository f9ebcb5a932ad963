"""Which attentions a run has, and what keeps a kernel from them."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends  # pyright: ignore[reportPrivateUsage]

from common.errors import UserError
from models.attention.choice import AttentionShape, measured, preferring, shapes_of, why_not_flex
from models.attention.masks import visible_keys
from models.presets import TransformerConfig
from models.transformer.transformer import Transformer

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    "rows": 2,
    "query_heads": 4,
    "key_heads": 2,
    "head_width": 16,
    "queries": 24,
    "keys": 24,
    "layers": 3,
}
SHAPE = AttentionShape(**SIZES)


def test_a_causal_lm_has_plain_attention_until_something_is_hidden() -> None:
    config = TransformerConfig(width=64, num_heads=4, num_key_value_heads=2)
    common: dict[str, Any] = {"rows": 2, "lengths": (0, 24), "is_causal": True}
    (plain,) = shapes_of(config, (0, 3), **common, has_documents=False, has_prefix=False)
    assert plain == SHAPE._replace(is_causal=True)
    assert plain.is_plain
    for hidden in ("has_documents", "has_prefix"):
        rules: dict[str, Any] = {"has_documents": False, "has_prefix": False, hidden: True}
        (masked,) = shapes_of(config, (0, 3), **common, **rules)
        assert masked == plain._replace(**{hidden: True})
        assert not masked.is_plain


def test_an_encoder_decoder_has_three_kinds_and_t5_a_bias_in_two() -> None:
    config = TransformerConfig(preset="t5", width=64, num_heads=4)
    rules: dict[str, Any] = {"is_causal": True, "has_documents": False, "has_prefix": False}
    encoder, decoder, cross = shapes_of(config, (2, 3), rows=2, lengths=(24, 10), **rules)
    sizes = AttentionShape(2, 4, 4, 16, 24, 24, 2)
    assert encoder == sizes._replace(is_padded=True, has_bias=True)
    assert decoder == sizes._replace(queries=10, keys=10, layers=3, is_causal=True, has_bias=True)
    assert cross == sizes._replace(queries=10, layers=3, is_padded=True)


@pytest.mark.parametrize("rule", ["has_documents", "has_prefix", "is_padded"])
def test_a_mask_of_a_kind_hides_some_keys(rule: str) -> None:
    mask = SHAPE._replace(is_causal=rule == "has_prefix", **{rule: True}).mask(CPU)
    visible = visible_keys(mask, 24, 24, device=CPU)
    assert visible is not None
    assert 0.3 < float(visible.float().mean()) < 0.95


def test_seconds_are_of_the_kernels_that_can_and_infinite_of_those_that_cannot() -> None:
    """There is no FlexAttention that trains on a CPU."""
    shapes = (SHAPE._replace(has_documents=True, has_bias=True), SHAPE._replace(is_causal=True))
    masked, plain = measured(shapes, device=CPU, dtype=torch.float32, with_flex=True)
    assert 0 < masked["dense"] < math.inf == masked["flex"]
    assert all(0 < seconds < math.inf for seconds in plain.values())
    assert plain.keys() == {"torch", "cudnn"}
    assert measured(shapes[1:], device=CPU, dtype=torch.float32, with_flex=True)[0] == {}
    assert measured(shapes[:1], device=CPU, dtype=torch.float32, with_flex=False) == ({}, {})


def test_cudnn_is_tried_first_within_its_context_alone() -> None:
    before = _cur_sdpa_kernel_backends(with_priority=True)
    with preferring("cudnn"):
        assert _cur_sdpa_kernel_backends(with_priority=True)[0] == SDPBackend.CUDNN_ATTENTION
    with preferring("torch"):
        assert _cur_sdpa_kernel_backends(with_priority=True) == before


def test_dropout_and_narrow_heads_keep_flex_away() -> None:
    assert why_not_flex(TransformerConfig(preset="t5", width=64, num_heads=4)) == ""
    assert "dropout = 0.1" in why_not_flex(TransformerConfig(preset="bert", width=64, num_heads=4, dropout=0.1))
    narrow = TransformerConfig(width=32, num_heads=4)
    assert "heads of 16 or wider, and body's have 8" in why_not_flex(narrow)
    body: nn.Module = Transformer(narrow, num_blocks=(0, 1), vocab_size=10, max_positions=8)
    with pytest.raises(UserError, match=r"^trainer\.attention = flex is FlexAttention: it takes heads"):
        body.use_attention("flex")
    body.use_attention("dense")
