"""A recurrent encoder, decoder, or both with attention: what sequence to sequence was before the Transformer.

Shapes: B batch, S encoder positions, T decoder positions, D width, V vocabulary, N labelled positions.
"""

from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UserError
from models.body import Body, Cache, Inputs, OutputLayer
from models.recurrent.attention import RecurrentAttentionLayer
from models.recurrent.cells import State, make_layer, read_both_ways, run, set_forget_bias
from models.recurrent.config import RecurrentConfig


class RecurrentCache:
    """What a decoder carries from one position to the next.

    Attributes:
        length: positions read.
        states: of each layer.
        feed_BD: the attentional vector of the last position.
    """

    def __init__(self) -> None:
        self.length = 0
        self.states: list[State] = []
        self.feed_BD: Tensor | None = None

    def select(self, rows_B: Tensor) -> None:
        """Puts other rows in the places of these."""
        self.states = [tuple(part[rows_B] for part in state) for state in self.states]
        if self.feed_BD is not None:
            self.feed_BD = self.feed_BD[rows_B]


class RecurrentEncoder(nn.Module):
    """Layers that read in both directions."""

    def __init__(self, config: RecurrentConfig, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            make_layer(config.cell, config.width, config.width // 2, is_bidirectional=True) for _ in range(num_layers)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states_BSD: Tensor, lengths_B: Tensor | None) -> Tensor:
        """[B, S, D], from embedded tokens."""
        for layer in self.layers:
            assert isinstance(layer, nn.LSTM | nn.GRU)
            states_BSD = read_both_ways(layer, self.dropout(states_BSD), lengths_B)
        return self.dropout(states_BSD)


def last_states(memory_BSD: Tensor, lengths_B: Tensor | None) -> Tensor:
    """[B, D], what each direction of an encoder has read last: at the last token, and at the first.

    This is all that a decoder without attention knows of the source.
    """
    forward_BSD, backward_BSD = memory_BSD.chunk(2, dim=-1)
    if lengths_B is None:
        return torch.cat([forward_BSD[:, -1], backward_BSD[:, 0]], dim=-1)
    rows_B = torch.arange(len(lengths_B), device=memory_BSD.device)
    return torch.cat([forward_BSD[rows_B, (lengths_B - 1).clamp(min=0)], backward_BSD[:, 0]], dim=-1)


class RecurrentDecoder(nn.Module):
    """Layers that read from the left, beside a memory with attention to it."""

    def __init__(self, config: RecurrentConfig, num_layers: int, *, has_memory: bool) -> None:
        super().__init__()
        width, kind = config.width, config.attention if has_memory else "none"
        self.attends_before = kind == "bahdanau"
        self.feeds = kind not in ("none", "bahdanau") and config.input_feeding
        more = width if self.feeds or self.attends_before else 0
        self.layers = nn.ModuleList(
            make_layer(config.cell, width + more * (number == 0), width) for number in range(num_layers)
        )
        self.attention = None if kind == "none" else RecurrentAttentionLayer(kind, width)
        self.num_parts = 2 if config.cell == "lstm" else 1
        self.bridges = nn.ModuleList()  # from the encoder's last states to the first here, h and c of each layer
        if has_memory:
            self.bridges.extend(nn.Linear(width, width) for _ in range(num_layers * self.num_parts))
        self.dropout = nn.Dropout(config.dropout)
        self.width = width

    def begin(self, last_BD: Tensor | None, like: Tensor) -> list[State]:
        """The state of each layer before the first position: tanh(W last + b), or 0 where there is no encoder."""
        if last_BD is None:
            zero_BD = like.new_zeros(like.shape[0], self.width)
            return [(zero_BD,) * self.num_parts for _ in self.layers]
        parts = [bridge(last_BD).tanh() for bridge in self.bridges]
        return [tuple(parts[n * self.num_parts : (n + 1) * self.num_parts]) for n in range(len(self.layers))]

    def _through(self, inputs_BTD: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """The states of the last layer at these positions, and the last one of each layer."""
        new = []
        for layer, state in zip(self.layers, states, strict=True):
            assert isinstance(layer, nn.LSTM | nn.GRU)
            inputs_BTD, after = run(layer, self.dropout(inputs_BTD), state)
            new.append(after)
        return inputs_BTD, new

    def forward(
        self,
        tokens_BTD: Tensor,
        cache: RecurrentCache,
        memory_BSD: Tensor | None,
        visible_BS: Tensor | None,
        starts_B: Tensor | None,
    ) -> Tensor:
        """[B, T, D]; all positions at once where no step needs the one before, else one after another."""
        if not self.feeds and not self.attends_before and starts_B is None:
            states_BTD, cache.states = self._through(tokens_BTD, cache.states)
            if self.attention is not None and memory_BSD is not None:
                context_BTD, _ = self.attention(states_BTD, memory_BSD, visible_BS)
                states_BTD = self.attention.combined(context_BTD, states_BTD)
            return self.dropout(states_BTD)
        outputs = []
        for place in range(tokens_BTD.shape[1]):
            before, fed = cache.states, cache.feed_BD
            outputs.append(self._step(tokens_BTD[:, place : place + 1], cache, memory_BSD, visible_BS))
            if starts_B is not None:  # padding on the left moves nothing
                is_there_B1 = (place + cache.length >= starts_B)[:, None]
                pairs = zip(cache.states, before, strict=True)
                cache.states = [
                    tuple(torch.where(is_there_B1, new, old) for new, old in zip(*pair, strict=True)) for pair in pairs
                ]
                if fed is not None and cache.feed_BD is not None:
                    cache.feed_BD = torch.where(is_there_B1, cache.feed_BD, fed)
        return self.dropout(torch.cat(outputs, dim=1))

    def _step(
        self, token_B1D: Tensor, cache: RecurrentCache, memory_BSD: Tensor | None, visible_BS: Tensor | None
    ) -> Tensor:
        """[B, 1, D], one position."""
        attention = self.attention
        if attention is None or memory_BSD is None:
            state_B1D, cache.states = self._through(token_B1D, cache.states)
            return state_B1D
        if self.attends_before:
            query_B1D = cache.states[-1][0][:, None]
            context_B1D, _ = attention(query_B1D, memory_BSD, visible_BS)
            state_B1D, cache.states = self._through(torch.cat([token_B1D, context_B1D], dim=-1), cache.states)
            return attention.combined(context_B1D, state_B1D)
        if self.feeds:
            fed_BD = torch.zeros_like(token_B1D[:, 0]) if cache.feed_BD is None else cache.feed_BD
            token_B1D = torch.cat([token_B1D, fed_BD[:, None]], dim=-1)
        state_B1D, cache.states = self._through(token_B1D, cache.states)
        context_B1D, _ = attention(state_B1D, memory_BSD, visible_BS)
        combined_B1D = attention.combined(context_B1D, state_B1D)
        cache.feed_BD = combined_B1D[:, 0]
        return combined_B1D


class RecurrentHead(nn.Module):
    """The bias of each token; its weights are the token table's."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocab_size))


class Recurrent(Body):
    """(n, 0) layers make an encoder, (0, n) an LSTM language model, (n, m) sequence to sequence.

    Args:
        config: its shape; its `layers` are those of `num_blocks`.
        num_blocks: of encoder and decoder.
        vocab_size: V.
        max_positions: is not needed.
        embeddings: of another body, which a recurrent one cannot hold.
    """

    def __init__(
        self,
        config: RecurrentConfig,
        *,
        num_blocks: tuple[int, int],
        vocab_size: int,
        max_positions: int,
        embeddings: Any = None,
    ) -> None:
        super().__init__()
        assert embeddings is None, "a recurrent body has no `embeddings` for another"
        self.config, self.num_blocks, self.vocab_size = config, num_blocks, vocab_size
        self.initial_bound = config.initial_bound
        self.token_table = nn.Embedding(vocab_size, config.width)
        encoder, decoder = num_blocks
        self.encoder = RecurrentEncoder(config, encoder) if encoder else None
        self.decoder = RecurrentDecoder(config, decoder, has_memory=encoder > 0) if decoder else None
        self.head: RecurrentHead | None = RecurrentHead(vocab_size)

    @property
    def why_not_exported(self) -> str:
        return "body.kind = recurrent: transformers has no class of recurrent models (xLSTM's cell is another)"

    def finish_initialisation(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.LSTM | nn.GRU):
                set_forget_bias(module, self.config.forget_bias)

    def _check(self, inputs: Inputs, *, is_causal: bool) -> None:
        if inputs.prefixes is not None or inputs.is_causal not in (None, is_causal):
            way = "from the left" if is_causal else "in both directions"
            raise UserError(f"body.kind = recurrent: its {'de' if is_causal else 'en'}coder reads {way} alone")
        if inputs.encoder_documents_BS is not None or inputs.decoder_documents_BT is not None:
            raise UserError("body.kind = recurrent keeps no documents apart within a window")

    def encode(self, inputs: Inputs) -> Tensor:
        assert self.encoder is not None
        if self.decoder is None:
            self._check(inputs, is_causal=False)
        return self.encoder(self.token_table(inputs.encoder_ids_BS), inputs.encoder_lengths_B)

    def decode(self, inputs: Inputs, memory_BSD: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        assert self.decoder is not None
        assert cache is None or isinstance(cache, RecurrentCache)
        assert inputs.decoder_ids_BT is not None
        self._check(inputs, is_causal=True)
        tokens_BTD = self.token_table(inputs.decoder_ids_BT)
        cache = RecurrentCache() if cache is None else cache
        visible_BS = None
        if memory_BSD is not None and inputs.encoder_lengths_B is not None:
            places_S = torch.arange(memory_BSD.shape[1], device=memory_BSD.device)
            visible_BS = places_S < inputs.encoder_lengths_B[:, None]
        if not cache.states:
            last_BD = None if memory_BSD is None else last_states(memory_BSD, inputs.encoder_lengths_B)
            cache.states = self.decoder.begin(last_BD, tokens_BTD)
        states_BTD = self.decoder(tokens_BTD, cache, memory_BSD, visible_BS, inputs.decoder_starts_B)
        cache.length += tokens_BTD.shape[1]
        return states_BTD

    def output_layer(self, states_ND: Tensor) -> OutputLayer:
        assert self.head is not None, "this body has no head"
        return OutputLayer(states_ND, self.token_table.weight, self.head.bias)

    def logits(self, states_ND: Tensor) -> Tensor:
        return self.output_layer(states_ND).logits()

    def drop_head(self) -> None:
        self.head = None

    def new_cache(self, capacity: int) -> RecurrentCache:
        return RecurrentCache()

    def flops(self, *, encoder: float, decoder: float, targets: float) -> float:
        """Matrix products; each gate of each layer has one over its input and one over its state."""
        width, flops = self.config.width, 2 * self.config.width * self.vocab_size * targets * (self.head is not None)
        for stack, positions in ((self.encoder, encoder), (self.decoder, decoder)):
            for layer in stack.modules() if stack is not None else ():
                if isinstance(layer, nn.LSTM | nn.GRU):
                    matrices = [p for name, p in layer.named_parameters() if name.startswith("weight")]
                    flops += 2 * sum(matrix.numel() for matrix in matrices) * positions
        attention = None if self.decoder is None else self.decoder.attention
        if attention is not None:
            scores = attention.scores
            keys = 2 * width * width * encoder if scores.kind in ("concat", "bahdanau") else 0
            queries = 0 if scores.kind == "dot" else 2 * width * width
            flops += keys + decoder * (queries + 4 * width * width + 4 * width * encoder)
        return flops

    def layers(self) -> list[list[nn.Module]]:
        layers: list[list[nn.Module]] = [[] if self.head is None else [self.head]]
        if self.decoder is not None:
            last, *below = reversed(self.decoder.layers)
            beside = [module for module in (self.decoder.attention, self.decoder.bridges) if module is not None]
            layers += [[*beside, last], *([layer] for layer in below)]
        if self.encoder is not None:
            layers += [[layer] for layer in reversed(self.encoder.layers)]
        return layers
