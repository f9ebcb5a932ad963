"""A body that is no Transformer: generation needs what `Body` states and no more."""

from typing import Any

import torch
from torch import Tensor, nn

from models.body import Body, Cache, Inputs
from models.generation.decoding import Decoding
from models.generation.generation import generate
from tests.helpers import predicted

V, D, EOS = 12, 6, 0


class GruCache:
    """The state of the last position."""

    def __init__(self) -> None:
        self.length = 0
        self.state_1BD: Tensor | None = None

    def select(self, rows_B: Tensor) -> None:
        assert self.state_1BD is not None
        self.state_1BD = self.state_1BD[:, rows_B]


class GruDecoder(Body):
    """One layer, without padding."""

    has_encoder = False  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    has_decoder = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self) -> None:
        super().__init__()
        self.vocab_size = V
        self.token_table, self.gru = nn.Embedding(V, D), nn.GRU(D, D, batch_first=True)

    def encode(self, inputs: Inputs) -> Tensor:
        raise NotImplementedError

    def decode(self, inputs: Inputs, memory_BSD: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        assert inputs.decoder_starts_B is None
        assert cache is None or isinstance(cache, GruCache)
        states_BTD, state_1BD = self.gru(self.token_table(inputs.decoder_ids_BT), cache and cache.state_1BD)
        if cache is not None:
            cache.state_1BD, cache.length = state_1BD, cache.length + states_BTD.shape[1]
        return states_BTD

    def logits(self, states_ND: Tensor) -> Tensor:
        return states_ND @ self.token_table.weight.T

    def new_cache(self, capacity: int) -> GruCache:
        return GruCache()

    def flops(self, *, encoder: float, decoder: float, targets: float) -> float:
        return 2 * (6 * D * D * decoder + D * V * targets)

    def layers(self) -> list[list[nn.Module]]:
        return [[], [self.gru]]


def test_another_kind_of_body_generates_greedily_and_by_beams() -> None:
    torch.manual_seed(0)
    body, prompts = GruDecoder().double().eval(), [[3, 4], [5, 6]]
    settings: Any = {"eos": EOS, "max_positions": 20}
    for number, text in enumerate(generate(body, prompts, decoding=Decoding(max_new_tokens=8), **settings)):
        ids = prompts[number]
        for expected in text.ids:
            logits_TV, _ = predicted(body, Inputs(decoder_ids_BT=torch.tensor([ids])), torch.arange(len(ids)))
            assert int(logits_TV[-1].argmax()) == expected
            ids = [*ids, expected]
    beams = generate(body, prompts, decoding=Decoding(max_new_tokens=8, beams=3), **settings)
    assert all(text.ids for text in beams)
