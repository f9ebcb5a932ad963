"""The shared Transformer: two stacks of one Block, and a head.

Shapes: B batch, S encoder positions, T decoder positions, D width, E width of the embeddings, V vocabulary, N labelled
positions.
"""

from typing import cast

import torch
from torch import Tensor, nn

from common.errors import UserError
from models.attention.cache import TransformerCache
from models.attention.choice import why_not_flex
from models.attention.kernels import prepare
from models.attention.masks import Mask
from models.body import AttentionKernel, Body, Cache, Inputs, OutputLayer
from models.presets import TransformerConfig
from models.transformer.accounting import linear_flops, stack_flops
from models.transformer.embeddings import SharedEmbeddings
from models.transformer.layers import Head
from models.transformer.stack import Block, Memory, Stack
from models.transformer.symbolic import SymbolicSizes

CAPACITIES = 64  # of static caches, a multiple of this: each is compiled anew


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
        self.reads_segments = config.parts.num_segments > 0
        self.has_position_table = config.parts.positions in ("learned", "sinusoidal")
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
        self.head: Head | None = Head(config, vocab_size)
        self._compiled_lengths: tuple[int | None, int | None] | None = None  # of encoder and decoder

    @property
    def embeddings(self) -> SharedEmbeddings:
        """What another body can share."""
        encoder, decoder = (None if stack is None else stack.embeddings for stack in (self.encoder, self.decoder))
        return SharedEmbeddings(self.token_table, encoder, decoder)

    def _is_compiled(self, inputs: Inputs) -> bool:
        """Whether these rows are computed by compiled Blocks: in training, where they are as long as all are."""
        if self._compiled_lengths is None or not torch.is_grad_enabled():
            return False
        rows = (inputs.encoder_ids_BS, inputs.encoder_lengths_B), (inputs.decoder_ids_BT, inputs.decoder_lengths_B)
        return all(
            fixed is None or ids is None or (ids.shape[1] == fixed and lengths_B is None)
            for fixed, (ids, lengths_B) in zip(self._compiled_lengths, rows, strict=True)
        )

    def _with_lengths(self, inputs: Inputs) -> Inputs:
        """The same with lengths of full rows, where what is compiled has lengths: else it would be compiled twice."""
        if not self._is_compiled(inputs) or self._compiled_lengths is None:
            return inputs
        found: dict[str, Tensor] = {}
        for fixed, ids, name in (
            (self._compiled_lengths[0], inputs.encoder_ids_BS, "encoder_lengths_B"),
            (self._compiled_lengths[1], inputs.decoder_ids_BT, "decoder_lengths_B"),
        ):
            if fixed is None and ids is not None and getattr(inputs, name) is None:
                found[name] = ids.new_full((len(ids),), ids.shape[1])
        return inputs._replace(**found)

    def encode(self, inputs: Inputs) -> Tensor:
        assert self.encoder is not None
        inputs = self._with_lengths(inputs)
        is_last = self.decoder is None
        return self.encoder(
            self.token_table(inputs.encoder_ids_BS),
            lengths_B=inputs.encoder_lengths_B,
            documents_BT=inputs.encoder_documents_BS,
            segments_BT=inputs.segments_BS,
            is_causal=inputs.is_causal if is_last else None,
            prefixes_BT=inputs.prefixes if is_last else None,
            is_compiled=self._is_compiled(inputs),
        )

    def decode(self, inputs: Inputs, memory_BSD: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        assert self.decoder is not None
        assert cache is None or isinstance(cache, TransformerCache)
        inputs, memory = self._with_lengths(inputs), None
        if memory_BSD is not None:
            mask = Mask(
                key_lengths_B=inputs.encoder_lengths_B,
                query_documents_BT=inputs.decoder_documents_BT,
                key_documents_BS=inputs.encoder_documents_BS,
            )
            assert inputs.decoder_ids_BT is not None
            num_queries, num_keys = inputs.decoder_ids_BT.shape[1], memory_BSD.shape[1]
            kernel = self.decoder.attention_kernel if cache is None else "dense"
            memory = Memory(memory_BSD, prepare(mask, num_queries, num_keys, like=memory_BSD, kernel=kernel))
        embedded = self.token_table(inputs.decoder_ids_BT)
        return self.decoder(
            embedded,
            lengths_B=inputs.decoder_lengths_B,
            documents_BT=inputs.decoder_documents_BT,
            memory=memory,
            starts_B=inputs.decoder_starts_B,
            is_causal=inputs.is_causal,
            prefixes_BT=inputs.prefixes,
            cache=cache,
            is_compiled=cache is None and self._is_compiled(inputs),
        )

    def output_layer(self, states_ND: Tensor) -> OutputLayer:
        assert self.head is not None, "this body has no head"
        return self.head(states_ND, self.token_table.weight)

    def logits(self, states_ND: Tensor) -> Tensor:
        return self.output_layer(states_ND).logits()

    def drop_head(self) -> None:
        self.head = None

    def checkpoint_gradients(self, is_on: bool) -> None:
        for stack in (self.encoder, self.decoder):
            if stack is not None:
                stack.checkpoint_gradients = is_on

    def compile_layers(self, *, encoder: int | None, decoder: int | None) -> None:
        self._compiled_lengths = encoder, decoder
        pairs = (self.encoder, encoder), (self.decoder, decoder)
        stacks = {stack: length for stack, length in pairs if stack is not None}
        lengths_vary, rows_vary = None in stacks.values(), encoder is None and decoder is None
        for stack in stacks:
            is_dynamic = lengths_vary and stack.attention_kernel == "flex"  # whose masks hold lengths as numbers, too
            if not is_dynamic and (lengths_vary or len(stacks) == 2):
                stack.symbolic = SymbolicSizes(lengths_vary, rows_vary)
            for block in stack.blocks:
                cast(Block, block).compile_steps(is_dynamic=is_dynamic)

    def use_attention(self, kernel: AttentionKernel) -> None:
        if kernel == "flex" and (reason := why_not_flex(self.config)):
            raise UserError(f"trainer.attention = flex is FlexAttention: {reason}; choose auto, or dense")
        for stack in (self.encoder, self.decoder):
            if stack is not None:
                stack.attention_kernel = kernel

    def new_cache(self, capacity: int) -> TransformerCache:
        assert self.decoder is not None
        if self.decoder.compiled_step is None:
            return TransformerCache(len(self.decoder.groups), capacity)
        capacity = -(-capacity // CAPACITIES) * CAPACITIES
        place_1 = torch.zeros(1, dtype=torch.int64, device=self.token_table.weight.device)
        return TransformerCache(len(self.decoder.groups), capacity, place_1)

    def compile_generation(self) -> None:
        if self.decoder is None:
            super().compile_generation()
        else:
            self.decoder.compile_generation()

    def flops(self, *, encoder: float, decoder: float, targets: float) -> float:
        stacks = ((self.encoder, encoder, 0.0), (self.decoder, decoder, encoder))
        flops = sum(
            stack_flops(stack, stack.groups, length, memory) for stack, length, memory in stacks if stack is not None
        )
        if self.head is None:
            return flops
        head_width = self.config.width_of_embeddings if self.config.parts.tied else self.config.width
        return flops + 2 * head_width * self.vocab_size * targets + linear_flops(self.head, targets)

    def layers(self) -> list[list[nn.Module]]:
        """What stands behind a stack's blocks counts with the last one; an encoder lies below its decoder."""
        layers: list[list[nn.Module]] = [[] if self.head is None else [self.head]]
        for stack in (self.decoder, self.encoder):
            if stack is not None:
                last, *below = reversed(stack.blocks)
                layers += [[stack.final_norm, last], *([block] for block in below)]
        return layers
