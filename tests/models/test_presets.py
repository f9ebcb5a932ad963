"""Shapes: what follows from what, and what is refused."""

from typing import Any

import pytest

from models.presets import PRESETS, TransformerConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, r"body\.width = 0 must be at least 1"),
        ({"layers": 0}, r"body\.layers = 0 must be at least 1"),
        ({"layers": (-1, 3)}, r"body\.layers = \(-1, 3\) must be at least 1"),
        ({"num_heads": -2}, r"body\.num_heads = -2 must be at least 1"),
        ({"max_positions": 0}, r"body\.max_positions = 0 must be at least 1"),
        (
            {"width": 100, "num_heads": 3},
            r"width = 100 does not divide into body\.num_heads = 3; choose a multiple",
        ),
        ({"num_heads": 4, "num_key_value_heads": 3}, r"num_heads = 4 does not divide into .*num_key_value_heads = 3"),
        ({"width": 12, "num_heads": 4}, r"rotary positions need an even head width, not 3"),
        ({"dropout": 1.0}, r"body\.dropout = 1\.0 must lie in \[0, 1\)"),
    ],
)
def test_impossible_shapes_are_refused_by_key_value_and_constraint(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**settings)


def test_layers_are_shared_out_to_the_stacks_that_are_needed() -> None:
    assert TransformerConfig(layers=5).num_blocks(encoder=True, decoder=False) == (5, 0)
    assert TransformerConfig(layers=5).num_blocks(encoder=False, decoder=True) == (0, 5)
    assert TransformerConfig(layers=5).num_blocks(encoder=True, decoder=True) == (3, 2)
    assert TransformerConfig(layers=(1, 4)).num_blocks(encoder=True, decoder=True) == (1, 4)
    with pytest.raises(ValueError, match=r"layers = \[1, 4\], but this objective needs a decoder alone"):
        TransformerConfig(layers=(1, 4)).num_blocks(encoder=False, decoder=True)
    with pytest.raises(ValueError, match="must be at least 2 for an encoder and a decoder"):
        TransformerConfig(layers=1).num_blocks(encoder=True, decoder=True)


def test_widths_follow_from_each_other() -> None:
    assert TransformerConfig(preset="bert", width=256).width_of_feed_forward == 1024
    assert TransformerConfig(preset="lab", width=256).width_of_feed_forward == 704  # 8/3 of it, in steps of 64
    assert TransformerConfig(width=256, num_heads=4).width_of_head == 64
    assert TransformerConfig(width=100, num_heads=3, head_width=32).width_of_head == 32
    assert TransformerConfig(num_heads=4).key_value_heads == 4
    assert TransformerConfig(num_heads=4, num_key_value_heads=1).key_value_heads == 1


def test_positions_override_the_presets_own() -> None:
    assert TransformerConfig(preset="bert", positions="rotary").parts.positions == "rotary"
    assert {name: TransformerConfig(preset=name).parts for name in PRESETS} == PRESETS
