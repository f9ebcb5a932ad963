"""The shared Transformer: two stacks of one Block, its parts chosen at construction.

Shapes: B batch, S encoder positions, T decoder positions, D width, E width of the embeddings, F feed-forward width, V
vocabulary, N labelled positions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.attention.attention import Attention
from models.attention.cache import BlockCache, TransformerCache
from models.attention.kernels import KernelMask, prepare
from models.attention.masks import Mask
from models.attention.positions import positions_of, relative_buckets, rotary_angles
from models.body import Body, Cache, Inputs
from models.presets import TransformerConfig
from models.transformer.accounting import linear_flops, stack_flops
from models.transformer.embeddings import Embeddings, SharedEmbeddings
from models.transformer.layers import FeedForward, Head, make_norm

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

    def forward(
        self,
        states_BTD: Tensor,
        mask: KernelMask,
        angles: tuple[Tensor, Tensor] | None,
        memory: Memory | None,
        cache: BlockCache = NO_CACHE,
    ) -> Tensor:
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
        if parts.positions == "relative":
            self.relative_table = nn.Embedding(NUM_RELATIVE_BUCKETS, config.num_heads)
        has_segments = not is_decoder and parts.num_segments > 0
        self.embeddings = embeddings or Embeddings(config, max_positions=max_positions, has_segments=has_segments)
        self.embedding_projection = nn.Identity()
        if config.width_of_embeddings != config.width:
            self.embedding_projection = nn.Linear(config.width_of_embeddings, config.width, bias=parts.biases)
        self.blocks = nn.ModuleList(Block(config, has_memory=has_memory) for _ in range(num_blocks))
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
        prefix_lengths_B: Tensor | None = None,
        cache: TransformerCache | None = None,
    ) -> Tensor:
        """[B, T, D], the states of embedded tokens.

        Padding stands on the right, where a causal stack never sees any; `starts_B` is how much stands on the left.
        `is_causal` and `prefix_lengths_B` are those of `Inputs`. With a cache, these positions stand behind those that
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
        states_BTD = self.embedding_projection(self.embeddings(tokens_BTE, places, segments_BT))
        mask = Mask(
            is_causal=is_causal,
            prefix_lengths_B=prefix_lengths_B,
            key_lengths_B=None if is_causal else lengths_B,
            key_starts_B=starts_B,
            query_documents_BT=documents_BT,
            key_documents_BS=documents_BT,
            bias_1HTS=self._relative_bias(past, length, device),
        )
        kernel_mask = prepare(mask, length, past + length, like=states_BTD)
        for number, block in enumerate(self.blocks):
            if self.checkpoint_gradients and self.training:
                states_BTD = checkpoint(block, states_BTD, kernel_mask, angles, memory, use_reentrant=False)
            elif cache is not None:
                states_BTD = block(states_BTD, kernel_mask, angles, memory, cache.blocks[number])
            else:
                states_BTD = block(states_BTD, kernel_mask, angles, memory)
        if cache is not None:
            cache.length += length
        return self.final_dropout(self.final_norm(states_BTD))


class Transformer(Body):
    """(n, 0) blocks make BERT, (0, n) GPT, (n, m) BART and T5.

    Args:
        config: shape and preset; its `layers` are those of `num_blocks`.
        num_blocks: of encoder and decoder.
        vocab_size: V.
        max_positions: longest sequence of either stack.
        embeddings: of another body of that embedding width, to hold in place of new ones.
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        num_blocks: tuple[int, int],
        vocab_size: int,
        max_positions: int,
        embeddings: SharedEmbeddings | None = None,
    ) -> None:
        super().__init__()
        self.config, self.num_blocks, self.vocab_size = config, num_blocks, vocab_size
        encoder_blocks, decoder_blocks = num_blocks
        shared = embeddings or SharedEmbeddings(nn.Embedding(vocab_size, config.width_of_embeddings))
        self.token_table = shared.token_table
        assert self.token_table.weight.shape == (vocab_size, config.width_of_embeddings)
        self.encoder = self.decoder = None
        if encoder_blocks:
            self.encoder = Stack(
                config,
                num_blocks=encoder_blocks,
                max_positions=max_positions,
                is_decoder=False,
                has_memory=False,
                embeddings=shared.encoder,
            )
        if decoder_blocks:
            self.decoder = Stack(
                config,
                num_blocks=decoder_blocks,
                max_positions=max_positions,
                is_decoder=True,
                has_memory=encoder_blocks > 0,
                embeddings=shared.decoder,
            )
        self.head = Head(config, vocab_size)

    @property
    def embeddings(self) -> SharedEmbeddings:
        """What another body can share."""
        encoder, decoder = (None if stack is None else stack.embeddings for stack in (self.encoder, self.decoder))
        return SharedEmbeddings(self.token_table, encoder, decoder)

    def encode(self, inputs: Inputs) -> Tensor:
        assert self.encoder is not None
        is_last = self.decoder is None
        return self.encoder(
            self.token_table(inputs.encoder_ids_BS),
            lengths_B=inputs.encoder_lengths_B,
            documents_BT=inputs.encoder_documents_BS,
            segments_BT=inputs.segments_BS,
            is_causal=inputs.is_causal if is_last else None,
            prefix_lengths_B=inputs.prefix_lengths_B if is_last else None,
        )

    def decode(self, inputs: Inputs, memory_BSD: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        assert self.decoder is not None
        assert cache is None or isinstance(cache, TransformerCache)
        memory = None
        if memory_BSD is not None:
            mask = Mask(
                key_lengths_B=inputs.encoder_lengths_B,
                query_documents_BT=inputs.decoder_documents_BT,
                key_documents_BS=inputs.encoder_documents_BS,
            )
            assert inputs.decoder_ids_BT is not None
            num_queries, num_keys = inputs.decoder_ids_BT.shape[1], memory_BSD.shape[1]
            memory = Memory(memory_BSD, prepare(mask, num_queries, num_keys, like=memory_BSD))
        embedded = self.token_table(inputs.decoder_ids_BT)
        return self.decoder(
            embedded,
            lengths_B=inputs.decoder_lengths_B,
            documents_BT=inputs.decoder_documents_BT,
            memory=memory,
            starts_B=inputs.decoder_starts_B,
            is_causal=inputs.is_causal,
            prefix_lengths_B=inputs.prefix_lengths_B,
            cache=cache,
        )

    def logits(self, states_ND: Tensor) -> Tensor:
        return self.head(states_ND, self.token_table.weight)

    @property
    def has_encoder(self) -> bool:
        return self.encoder is not None

    @property
    def has_decoder(self) -> bool:
        return self.decoder is not None

    def new_cache(self, capacity: int) -> TransformerCache:
        assert self.decoder is not None
        return TransformerCache(len(self.decoder.blocks), capacity)

    def flops(self, *, encoder: float, decoder: float, targets: float) -> float:
        stacks = ((self.encoder, encoder, 0.0), (self.decoder, decoder, encoder))
        flops = sum(stack_flops(stack, length, memory) for stack, length, memory in stacks if stack is not None)
        head_width = self.config.width_of_embeddings if self.config.parts.tied else self.config.width
        return flops + 2 * head_width * self.vocab_size * targets + linear_flops(self.head, targets)

    def layers(self) -> list[list[nn.Module]]:
        """What stands behind a stack's blocks counts with the last one; an encoder lies below its decoder."""
        layers: list[list[nn.Module]] = [[self.head]]
        for stack in (self.decoder, self.encoder):
            if stack is not None:
                last, *below = reversed(stack.blocks)
                layers += [[stack.final_norm, last], *([block] for block in below)]
        return layers
