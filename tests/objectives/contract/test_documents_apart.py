"""Documents that are kept apart: nothing of one reaches what is said in another."""

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.causal_lm import CausalLM
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.noise.spans import shifted
from objectives.denoising import Denoising
from objectives.masked_lm import MaskedLM
from objectives.span_corruption import SpanCorruption
from tests.objectives.texts import EOS, VOCABULARY, batch_of, built, examples_of, key, made, of_documents

APART = {"keep_documents_apart": True}
OBJECTIVES = [
    made(MaskedLM, **APART, next_sentence=False),
    made(CausalLM, **APART),
    made(Denoising, **APART),
    made(SpanCorruption, **APART),
    made(SpanCorruption, **APART, roll=True, noise_density=0.5),
]


def test_documents_begin_with_the_start_token_as_in_seqio() -> None:
    """The worked example of seqio's packing, without its padding."""
    targets, documents = np.array([3, 8, 1, 9, 1, 5, 4, 1]), np.array([1, 1, 1, 2, 2, 3, 3, 3])
    assert shifted(targets, 0, documents).tolist() == [0, 3, 8, 0, 9, 0, 5, 4]
    assert shifted(targets, 0).tolist() == [0, 3, 8, 1, 9, 1, 5, 4]
    assert shifted(targets[:1], 0, documents[:1]).tolist() == [0]


def test_what_belongs_to_no_document_begins_none() -> None:
    assert shifted(np.array([5, 6, 7, 8]), 2, np.array([0, 1, 1, 0])).tolist() == [2, 5, 6, 7]


def logits_of_second(objective: Objective, network: Network, first: list[int], second: list[int], index: int) -> Tensor:
    """Logits where something of the second document is the target."""
    windows = of_documents([[first], [second]], length=len(first) + len(second))
    example = objective.corruption(VOCABULARY)(windows[0], key(index), windows)
    batch = batch_of(objective, windows, [(windows[0], example)])
    logits = network.logits(batch, objective.token_term)
    documents = batch.decoder_documents_BT if objective.uses_decoder else batch.encoder_documents_BS
    assert documents is not None
    return logits[documents.flatten()[batch.labels[objective.token_term].positions_N] == 2]


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_what_stands_in_one_document_changes_nothing_in_the_next(objective: Objective, end: bool) -> None:
    """C5: law 4, with an EOS between them or without."""
    network = built(objective, window=40).double().eval().built
    one, other, second = np.random.default_rng(0).choice(VOCABULARY.ordinary, size=(3, 20)).tolist()
    if end:
        one[-1] = other[-1] = EOS
    compared = 0
    for index in range(8):
        here, there = (logits_of_second(objective, network, first, second, index) for first in (one, other))
        assert torch.equal(here, there)
        compared += len(here)
    assert compared > 8


@pytest.mark.parametrize(
    ("objective", "start"),
    [(made(Denoising, **APART, permute_rate=0.0), EOS), (made(SpanCorruption, **APART), 0)],
    ids=["denoising", "span_corruption"],
)
def test_a_decoder_reads_its_targets_but_for_the_beginnings_of_documents(objective: Objective, start: int) -> None:
    windows = of_documents([[[200 + number] * 9] for number in range(6)], length=30)
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        assert example.decoder_ids is not None
        assert example.decoder_origins is not None
        labels, documents = example.token_labels, window.documents()
        for place in range(1, len(labels)):
            before, here = example.decoder_origins[place - 1 : place + 1]
            begins = before >= 0 and here >= 0 and documents[before] != documents[here]
            assert example.decoder_ids[place] == (start if begins else labels[place - 1])
