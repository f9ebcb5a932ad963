"""What a Transformer costs: parameters and floating-point operations, counted from its parts."""

from torch import nn

from models.attention.attention import Attention
from models.transformer.transformer import Stack, Transformer


def count_parameters(module: nn.Module, *, embeddings: bool = True) -> int:
    """Parameters, tied ones once; without those of token and position tables if `embeddings` is false."""
    tables = {id(table.weight) for table in module.modules() if isinstance(table, nn.Embedding)}
    return sum(
        parameter.numel() for parameter in module.parameters() if embeddings or id(parameter) not in tables
    )  # fmt: skip


def _linear_flops(module: nn.Module, positions: float) -> float:
    """2 · in · out for every linear layer below `module` and every position."""
    return sum(
        2 * layer.in_features * layer.out_features * positions
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    )


def _attention_flops(attention: Attention, queries: float, keys: float) -> float:
    """Projections, scores and mixture; a causal one counts the scores that its mask hides, as it computes them."""
    sources = {"query": queries, "key_value": keys, "query_key_value": queries, "output": queries}
    projections = sum(_linear_flops(layer, sources[name]) for name, layer in attention.named_children())
    return projections + 4 * attention.query_heads * attention.head_width * queries * keys


def _stack_flops(stack: Stack, length: float, memory_length: float) -> float:
    flops = _linear_flops(stack.embedding_projection, length)
    for block in stack.blocks:
        flops += _linear_flops(block.get_submodule("feed_forward"), length)
        for attention in block.children():
            if isinstance(attention, Attention):
                flops += _attention_flops(attention, length, memory_length if attention.is_cross else length)
    return flops


def forward_flops(transformer: Transformer, *, encoder: float, decoder: float, targets: float) -> float:
    """Floating-point operations of the matrix products of one forward pass over one window.

    Args:
        transformer: the model.
        encoder: positions of the encoder.
        decoder: positions of the decoder.
        targets: positions at which the head computes logits.
    """
    flops = 0.0
    if transformer.encoder is not None:
        flops += _stack_flops(transformer.encoder, encoder, 0)
    if transformer.decoder is not None:
        flops += _stack_flops(transformer.decoder, decoder, encoder)
    config = transformer.config
    head_width = config.width_of_embeddings if config.parts.tied else config.width
    head = 2 * head_width * transformer.vocab_size * targets
    return flops + head + _linear_flops(transformer.head, targets)
