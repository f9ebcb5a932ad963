"""What a Transformer costs: parameters and floating-point operations, counted from its parts."""

from collections.abc import Iterable, Sequence

from torch import nn

from models.attention.attention import Attention


def count_parameters(module: nn.Module, *, embeddings: bool = True, without: Iterable[nn.Module] = ()) -> int:
    """Parameters, tied ones once; without those of token and position tables if `embeddings` is false.

    Those of the modules of `without` are not counted.
    """
    left_out = {id(parameter) for other in without for parameter in other.parameters()}
    if not embeddings:
        left_out |= {id(table.weight) for table in module.modules() if isinstance(table, nn.Embedding)}
    return sum(parameter.numel() for parameter in module.parameters() if id(parameter) not in left_out)


def linear_flops(module: nn.Module, positions: float) -> float:
    """2 · in · out for every linear layer below `module` and every position."""
    return sum(
        2 * layer.in_features * layer.out_features * positions
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    )


def _attention_flops(attention: Attention, queries: float, keys: float) -> float:
    """Projections, scores and mixture; a causal one counts the scores that its mask hides, as it computes them."""
    sources = {"query": queries, "key_value": keys, "query_key_value": queries, "output": queries}
    projections = sum(
        linear_flops(layer, sources[name]) for name, layer in attention.named_children() if name in sources
    )
    return projections + 4 * attention.query_heads * attention.head_width * queries * keys


def stack_flops(stack: nn.Module, groups: Sequence[int], length: float, memory_length: float) -> float:
    """The matrix products of a stack over that many positions, which look at `memory_length` of an encoder.

    `groups` is the number of the Block of each layer, some of which share one.
    """
    flops = linear_flops(stack.get_submodule("embedding_projection"), length)
    for group in groups:
        block = stack.get_submodule(f"blocks.{group}")
        flops += linear_flops(block.get_submodule("feed_forward"), length)
        for attention in block.children():
            if isinstance(attention, Attention):
                flops += _attention_flops(attention, length, memory_length if attention.is_cross else length)
    return flops
