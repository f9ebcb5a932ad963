"""Tokens that training never had as targets are never generated, however a young network weighs them."""

from typing import Any

import numpy as np
import pytest
import torch

from models.generation.decoding import without
from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.denoising import Denoising
from objectives.span_corruption import SpanCorruption
from tests.objectives.inference.prompting import generator_of, prompts, vocabulary


@pytest.mark.parametrize("decoding", [{"temperature": 3.0}, {"beams": 3}, {}], ids=str)
@pytest.mark.parametrize(
    ("kind", "text"), [(CausalLM, "the cat"), (Denoising, "the [MASK] cat"), (SpanCorruption, "the [MASK] cat")]
)
def test_special_tokens_beside_those_of_training_are_never_generated(
    kind: type[Objective], text: str, decoding: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from objectives.inference import decoding as module

    found: list[int] = []
    generate = module.generate

    def recorded(*arguments: Any, **settings: Any) -> Any:
        texts = generate(*arguments, **settings)
        found.extend(token for one in texts for token in one.ids)
        return texts

    monkeypatch.setattr(module, "generate", recorded)
    for seed in range(3):
        of = generator_of(kind, seed=seed)
        samples = 3 if "temperature" in decoding else 1
        request = prompts(text, decoding={"max_new_tokens": 12, **decoding}, samples=samples)
        assert len(list(of.objective.inference.generate(of.objective, of.network, request))) == samples
    known = vocabulary()
    allowed = {known.eos, *{CausalLM: [], Denoising: [known.bos], SpanCorruption: known.sentinels.tolist()}[kind]}
    assert found
    assert {token for token in found if known.is_special[token]} <= allowed


def test_what_is_never_generated_has_no_probability() -> None:
    scores = torch.zeros(2, 5)
    assert without(scores, [1, 3]).softmax(dim=-1)[0].tolist() == pytest.approx([1 / 3, 0, 1 / 3, 0, 1 / 3])
    assert without(scores, ()) is scores
    known = vocabulary()
    never = known.never_targets(known.eos)
    assert known.eos not in never
    assert set(never.tolist()) | {known.eos} == set(np.flatnonzero(known.is_special).tolist())
