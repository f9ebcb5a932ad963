"""A static cache, whose steps all have one shape, changes nothing; nor does compiling them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.attention.kernels import Kernel
from models.body import Inputs
from models.generation.decoding import Decoding
from models.generation.generation import GeneratedTokens, beam_search, generate
from models.presets import PRESETS, PresetName
from models.transformer.transformer import CAPACITIES, Transformer
from tests.models.transformer.test_transformer import make

PROMPTS = [[7, 8, 9, 10, 11], [12, 13], [14, 15, 16]]
SOURCES = [[5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15], [16]]
SETTINGS: list[Decoding] = [Decoding(max_new_tokens=6), Decoding(max_new_tokens=6, temperature=1.0, seed=3)]


def with_static_cache(model: Transformer) -> Transformer:
    """The same, whose steps are those that are compiled, as they are."""
    assert model.decoder is not None
    model.decoder.compiled_step = model.decoder.step
    return model


def generated(model: Transformer, decoding: Decoding) -> list[GeneratedTokens]:
    sources = SOURCES if model.num_blocks[0] else None
    settings = {"decoding": decoding, "eos": 2, "max_positions": 12, "sources": sources}
    if decoding.beams > 1:
        return [text for texts in beam_search(model, PROMPTS, **settings) for text in texts]
    return generate(model, PROMPTS, **settings, sees_prompt=not model.num_blocks[0])


@pytest.mark.parametrize("stacks", ["decoder", "both"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_static_cache_generates_what_a_growing_one_does(preset: PresetName, stacks: str) -> None:
    """Rows padded on the left, a prefix that sees itself, sources of several lengths; greedy, drawn and by beams."""
    growing, static = make(preset, stacks), with_static_cache(make(preset, stacks))
    for decoding in [*SETTINGS, Decoding(max_new_tokens=6, beams=3)]:
        pairs = zip(generated(growing, decoding), generated(static, decoding), strict=True)
        for one, other in pairs:
            assert one.ids == other.ids
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-12)


@torch.no_grad()
def test_every_step_with_a_static_cache_has_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    model, shapes = with_static_cache(make("lab", "decoder")), set()
    assert model.decoder is not None
    forward = Kernel.forward

    def noted(self: Kernel, query: torch.Tensor, key: torch.Tensor, *rest: Any) -> torch.Tensor:
        shapes.add((query.shape[2], key.shape[2]))
        return forward(self, query, key, *rest)

    monkeypatch.setattr(Kernel, "forward", noted)
    cache = model.new_cache(10)
    assert cache.capacity == CAPACITIES
    for ids in ([[3, 4, 5]], [[6]], [[7]], [[8]]):
        model.decode(Inputs(decoder_ids_BT=torch.tensor(ids)), cache=cache)
    assert shapes == {(3, 3), (1, CAPACITIES)}
    assert cache.place_1 is not None
    assert cache.length == int(cache.place_1) == 6


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "stacks"), [("lab", "decoder"), ("t5", "both")])
def test_compiled_steps_generate_the_same(preset: PresetName, stacks: str) -> None:
    growing, compiled = make(preset, stacks), make(preset, stacks)
    compiled.compile_generation()
    torch._dynamo.reset()
    counters: Callable[[], int] = lambda: torch._dynamo.utils.counters["stats"]["unique_graphs"]  # noqa: E731
    before = counters()
    for decoding in SETTINGS:
        pairs = zip(generated(growing, decoding), generated(compiled, decoding), strict=True)
        assert all(one.ids == other.ids for one, other in pairs)
    assert counters() - before == 1  # whatever the place of a step
