"""One Block, and stacks of it: from embedded tokens to states, its parts chosen at construction.

Shapes: B batch, S encoder positions, T decoder positions, D width, E width of the embeddings.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from common.errors import UserError
from models.attention.attention import Attention
from models.attention.cache import BlockCache, TransformerCache
from models.attention.kernels import KernelMask, prepare
from models.attention.masks import Mask
from models.attention.positions import positions_of, relative_buckets, rotary_angles
from models.body import AttentionKernel
from models.presets import TransformerConfig
from models.transformer.embeddings import Embeddings
from models.transformer.layers import FeedForward, make_norm

NUM_RELATIVE_BUCKETS = 32
NO_CACHE = BlockCache()


class Memory(NamedTuple):
    """What a decoder looks at: the encoder's states and who may see which."""

    states_BSD: Tensor
    mask: KernelMask


class Block(nn.Module):
    """Self-attention, cross-attention where there is a memory, feed-forward; each a residual with its norm."""

    def __init__(self, config: TransformerConfig, *, has_memory: bool) -> None:
        super().__init__()
        parts = config.parts
        self.norm_first = parts.norm_first
        self.self_attention = Attention(config)
        self.self_norm = make_norm(parts, config.width)
        if has_memory:
            self.cross_attention = Attention(config, is_cross=True)
            self.cross_norm = make_norm(parts, config.width)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = make_norm(parts, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.compiled: Callable[..., Tensor] = self.through

    def compile_steps(self, *, is_dynamic: bool) -> None:
        """Compiles what `forward` computes where `is_compiled` is set; Blocks of one kind are compiled once."""
        self.compiled = torch.compile(self.through, dynamic=is_dynamic)

    def forward(
        self,
        states_BTD: Tensor,
        mask: KernelMask,
        angles: tuple[Tensor, Tensor] | None,
        memory: Memory | None,
        cache: BlockCache = NO_CACHE,
        *,
        is_compiled: bool = False,
    ) -> Tensor:
        return (self.compiled if is_compiled else self.through)(states_BTD, mask, angles, memory, cache)

    def through(
        self,
        states_BTD: Tensor,
        mask: KernelMask,
        angles: tuple[Tensor, Tensor] | None,
        memory: Memory | None,
        cache: BlockCache,
    ) -> Tensor:
        """`forward`, as it is."""
        branches = [
            (self.self_norm, lambda states: self.self_attention(states, mask, angles=angles, cache=cache.own)),
        ]
        if memory is not None:
            branches.append(
                (
                    self.cross_norm,
                    lambda states: self.cross_attention(
                        states, memory.mask, memory_BSD=memory.states_BSD, cache=cache.cross
                    ),
                )
            )
        branches.append((self.feed_forward_norm, self.feed_forward))
        for norm, branch in branches:
            if self.norm_first:
                states_BTD = states_BTD + self.dropout(branch(norm(states_BTD)))
            else:
                states_BTD = norm(states_BTD + self.dropout(branch(states_BTD)))
        return states_BTD


class Stack(nn.Module):
    """Embeddings and Blocks, from embedded tokens to states."""

    def __init__(
        self,
        config: TransformerConfig,
        *,
        num_blocks: int,
        max_positions: int,
        is_decoder: bool,
        has_memory: bool,
        embeddings: Embeddings | None = None,
    ) -> None:
        super().__init__()
        parts = config.parts
        self.is_decoder, self.positions, self.head_width = is_decoder, parts.positions, config.width_of_head
        self.checkpoint_gradients = False
        self.attention_kernel: AttentionKernel = "dense"
        if parts.positions == "relative":
            self.relative_table = nn.Embedding(NUM_RELATIVE_BUCKETS, config.num_heads)
        has_segments = not is_decoder and parts.num_segments > 0
        self.embeddings = embeddings or Embeddings(config, max_positions=max_positions, has_segments=has_segments)
        self.embedding_projection = nn.Identity()
        if config.width_of_embeddings != config.width:
            self.embedding_projection = nn.Linear(config.width_of_embeddings, config.width, bias=parts.biases)
        num_groups = config.share_layers or num_blocks
        if num_groups > num_blocks:
            raise UserError(f"body.share_layers = {num_groups} groups, and there are {num_blocks} layers")
        self.groups = [layer * num_groups // num_blocks for layer in range(num_blocks)]  # of each layer
        self.blocks = nn.ModuleList(Block(config, has_memory=has_memory) for _ in range(num_groups))
        self.final_norm = make_norm(parts, config.width) if parts.norm_first else nn.Identity()
        self.final_dropout = nn.Dropout(config.dropout * parts.inner_dropout)

    def _relative_bias(self, past: int, length: int, device: torch.device) -> Tensor | None:
        """[1, H, T, past + T], T5's bias, which all blocks of a stack share."""
        if self.positions != "relative":
            return None
        places = torch.arange(past + length, device=device)
        distances = places[None, :] - places[past:, None]
        buckets = relative_buckets(distances, bidirectional=not self.is_decoder, num_buckets=NUM_RELATIVE_BUCKETS)
        return self.relative_table(buckets).permute(2, 0, 1)[None]

    def forward(
        self,
        tokens_BTE: Tensor,
        *,
        lengths_B: Tensor | None = None,
        documents_BT: Tensor | None = None,
        segments_BT: Tensor | None = None,
        memory: Memory | None = None,
        starts_B: Tensor | None = None,
        is_causal: bool | None = None,
        prefixes_BT: Tensor | None = None,
        cache: TransformerCache | None = None,
        is_compiled: bool = False,
    ) -> Tensor:
        """[B, T, D], the states of embedded tokens.

        Padding stands on the right, where a causal stack never sees any; `starts_B` is how much stands on the left.
        `is_causal` and `prefixes_BT` are those of `Inputs`. With a cache, these positions stand behind those that
        it has seen: the first ones, or one.
        """
        is_causal = self.is_decoder if is_causal is None else is_causal
        length, device = tokens_BTE.shape[1], tokens_BTE.device
        past = 0 if cache is None else cache.length
        assert past == 0 or length == 1
        places = torch.arange(past, past + length, device=device)
        if documents_BT is not None:
            places = positions_of(documents_BT)
        elif starts_B is not None:
            places = (places - starts_B[:, None]).clamp(min=0)
        angles = None
        if self.positions == "rotary":
            cosines, sines = rotary_angles(places, self.head_width)
            angles = (cosines.unsqueeze(-3), sines.unsqueeze(-3))
        embedded_BTE = self.embeddings(tokens_BTE, places, segments_BT)
        states_BTD = self.embedding_projection(embedded_BTE).to(embedded_BTE.dtype)  # residuals keep their precision
        mask = Mask(
            is_causal=is_causal,
            prefixes_BS=None if past else prefixes_BT,  # a later position sees all before it
            key_lengths_B=None if is_causal else lengths_B,
            key_starts_B=starts_B,
            query_documents_BT=documents_BT,
            key_documents_BS=documents_BT,
            bias_1HTS=self._relative_bias(past, length, device),
        )
        kernel = self.attention_kernel if cache is None else "dense"  # a prompt of any length compiles nothing
        kernel_mask = prepare(mask, length, past + length, like=states_BTD, kernel=kernel)
        for number, block in enumerate(self.blocks[group] for group in self.groups):
            if self.checkpoint_gradients and self.training:
                compute = partial(block, is_compiled=is_compiled)
                states_BTD = checkpoint(compute, states_BTD, kernel_mask, angles, memory, use_reentrant=False)
            elif cache is not None:
                states_BTD = block(states_BTD, kernel_mask, angles, memory, cache.blocks[number])
            else:
                states_BTD = block(states_BTD, kernel_mask, angles, memory, is_compiled=is_compiled)
        if cache is not None:
            cache.length += length
        return self.final_dropout(self.final_norm(states_BTD))
