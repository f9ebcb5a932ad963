"""One Block, and stacks of it: from embedded tokens to states, its parts chosen at construction.

Shapes: B batch, S encoder positions, T decoder positions, D width, E width of the embeddings.
"""

from collections.abc import Callable, Sequence
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
from models.transformer.layers import FeedForward
from models.transformer.norms import make_norm
from models.transformer.symbolic import SymbolicSizes

NUM_RELATIVE_BUCKETS = 32
NO_CACHE = BlockCache()


class Memory(NamedTuple):
    """What a decoder looks at: the encoder's states and who may see which."""

    states_BSD: Tensor
    mask: KernelMask


def _with_residual(states_BTD: Tensor, branch_BTD: Tensor) -> Tensor:
    """Their sum, in the precision of the states: torch adds numbers of two precisions slowly on a CPU."""
    return states_BTD + (branch_BTD.to(states_BTD.dtype) if states_BTD.is_cpu else branch_BTD)


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
                states_BTD = _with_residual(states_BTD, self.dropout(branch(norm(states_BTD))))
            else:
                states_BTD = norm(_with_residual(states_BTD, self.dropout(branch(states_BTD))))
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
        self.symbolic: SymbolicSizes | None = None  # in what is compiled
        self.compiled_step: Callable[..., Tensor] | None = None

    def compile_generation(self) -> None:
        """Compiles steps of generation, for caches that are static."""
        self.compiled_step = torch.compile(self.step, dynamic=False)

    def _relative_bias(self, places_T: Tensor, num_keys: int) -> Tensor | None:
        """[1, H, T, S], T5's bias of queries at these places, which all blocks of a stack share."""
        if self.positions != "relative":
            return None
        distances = torch.arange(num_keys, device=places_T.device)[None, :] - places_T[:, None]
        buckets = relative_buckets(distances, bidirectional=not self.is_decoder, num_buckets=NUM_RELATIVE_BUCKETS)
        return self.relative_table(buckets).permute(2, 0, 1)[None].contiguous()  # added to scores in every block

    def _embedded(self, tokens_BTE: Tensor, places: Tensor, segments_BT: Tensor | None) -> Tensor:
        """[B, T, D], what the first Block reads."""
        embedded_BTE = self.embeddings(tokens_BTE, places, segments_BT)
        return self.embedding_projection(embedded_BTE).to(embedded_BTE.dtype)  # residuals keep their precision

    def _angles(self, places: Tensor) -> tuple[Tensor, Tensor] | None:
        """Of rotary positions, for all heads."""
        return rotary_angles(places, self.head_width) if self.positions == "rotary" else None

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
        if cache is not None and cache.place_1 is not None and cache.length:
            assert tokens_BTE.shape[1] == 1
            states_B1D = (self.compiled_step or self.step)(tokens_BTE, cache.place_1, cache.blocks, memory, starts_B)
            cache.place_1.add_(1)
            cache.length += 1
            return states_B1D
        is_causal = self.is_decoder if is_causal is None else is_causal
        length, device = tokens_BTE.shape[1], tokens_BTE.device
        past = 0 if cache is None else cache.length
        assert past == 0 or length == 1
        in_row_T = places = torch.arange(past, past + length, device=device)
        if documents_BT is not None:
            places = positions_of(documents_BT)
        elif starts_B is not None:
            places = (places - starts_B[:, None]).clamp(min=0)
        mask = Mask(
            is_causal=is_causal,
            prefixes_BS=None if past else prefixes_BT,  # a later position sees all before it
            key_lengths_B=None if is_causal else lengths_B,
            key_starts_B=starts_B,
            query_documents_BT=documents_BT,
            key_documents_BS=documents_BT,
            bias_1HTS=self._relative_bias(in_row_T, past + length),
        )
        states_BTD = self._embedded(tokens_BTE, places, segments_BT)
        kernel = self.attention_kernel if cache is None else "dense"  # a prompt of any length compiles nothing
        kernel_mask = prepare(mask, length, past + length, like=states_BTD, kernel=kernel)
        angles = self._angles(places)
        symbolic = None if self.symbolic is None or not is_compiled else self.symbolic.on(device)
        if symbolic is not None:
            kernel_mask, angles = symbolic.of_mask(kernel_mask), symbolic.of_angles(angles)
            if memory is not None:
                memory = Memory(symbolic.of(memory.states_BSD, 1), symbolic.of_mask(memory.mask))
        for number, block in enumerate(self.blocks[group] for group in self.groups):
            if symbolic is not None:
                states_BTD = symbolic.of(states_BTD, 1)
            if self.checkpoint_gradients and self.training:
                compute = partial(block, is_compiled=is_compiled)
                states_BTD = checkpoint(compute, states_BTD, kernel_mask, angles, memory, use_reentrant=False)
            elif cache is not None:
                states_BTD = block(states_BTD, kernel_mask, angles, memory, cache.blocks[number])
            else:
                states_BTD = block(states_BTD, kernel_mask, angles, memory, is_compiled=is_compiled)
        if cache is not None:
            cache.length += length
            if cache.place_1 is not None:
                cache.place_1.fill_(cache.length)
        return self.final_dropout(self.final_norm(states_BTD))

    def step(
        self,
        tokens_B1E: Tensor,
        place_1: Tensor,
        caches: Sequence[BlockCache],
        memory: Memory | None,
        starts_B: Tensor | None,
    ) -> Tensor:
        """[B, 1, D], the states of the positions at `place_1`, behind those of static caches.

        A number of the row's length would be compiled in; `place_1` is a tensor, and keys behind it are hidden.
        """
        own = caches[0].own
        assert own is not None
        assert own.capacity is not None
        places = place_1 if starts_B is None else (place_1 - starts_B[:, None]).clamp(min=0)
        bias_1H1S = self._relative_bias(place_1, own.capacity)
        mask = Mask(is_causal=False, key_lengths_B=place_1 + 1, key_starts_B=starts_B, bias_1HTS=bias_1H1S)
        states_B1D = self._embedded(tokens_B1E, places, None)
        kernel_mask, angles = prepare(mask, 1, own.capacity, like=states_B1D), self._angles(places)
        for group, cache in zip(self.groups, caches, strict=True):
            states_B1D = self.blocks[group](states_B1D, kernel_mask, angles, memory, cache)
        return self.final_dropout(self.final_norm(states_B1D))
