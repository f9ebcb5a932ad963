"""What a network predicts of one example, and what it looks at while it does, as plain data.

Shapes: N labelled positions, V vocabulary, H heads, Q queries, K keys.
"""

import base64
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from data.stream.batch import Batch
from models.body import Inputs
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.predictions import BinaryCrossEntropy, Prediction
from objectives.inspection.attention import AttentionMap, recording

TOP = 5
LEVELS = 255  # of a weight of attention, in 8 bits
Names = Callable[[list[int]], list[str]]


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What is predicted at one position of the stack that predicts.

    Attributes:
        position: in that stack.
        probability: of the target.
        best: the likeliest tokens with their probabilities, the likeliest first.
        target: the target's id.
    """

    position: int
    probability: float
    best: list[tuple[int, float]]
    target: int


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a term of yes and no makes of a position: the probability of yes, and whether yes is right."""

    position: int
    probability: float
    is_so: bool


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One forward pass over one example.

    Attributes:
        guesses: of every target token, by position.
        detections: by term, such as those of a detector of replaced tokens.
        nats: mean of -ln p(target) over the guesses; None without any.
        written: by position, the ids that the main body reads in place of the batch's, such as a generator's samples.
        maps: attention of every body, where it was recorded.
    """

    guesses: list[Guess]
    detections: dict[str, list[Detection]]
    nats: float | None
    written: dict[int, int] = field(default_factory=dict)
    maps: list[AttentionMap] = field(default_factory=list)


def _guesses(prediction: Prediction, logits_NV: Tensor) -> list[Guess]:
    probabilities_NV = logits_NV.cpu().double().softmax(dim=-1)
    labels = prediction.labels
    best = probabilities_NV.topk(min(TOP, probabilities_NV.shape[1]))
    rows = zip(
        labels.positions_N.tolist(),
        labels.ids_N.tolist(),
        probabilities_NV.gather(1, labels.ids_N.cpu()[:, None])[:, 0].tolist(),
        best.indices.tolist(),
        best.values.tolist(),
        strict=True,
    )
    return [
        Guess(position=place, probability=chance, best=list(zip(ids, values, strict=True)), target=target)
        for place, target, chance, ids, values in rows
    ]


def _detections(prediction: Prediction, logits_N1: Tensor) -> list[Detection]:
    chances = logits_N1.cpu().double().sigmoid().flatten().tolist()
    labels = prediction.labels
    rows = zip(labels.positions_N.tolist(), chances, labels.ids_N.tolist(), strict=True)
    return [Detection(position=place, probability=chance, is_so=bool(label)) for place, chance, label in rows]


def _written(batch: Batch, inputs: Inputs) -> dict[int, int]:
    given = batch.encoder_ids_BS if batch.decoder_ids_BT is None else batch.decoder_ids_BT
    read = inputs.encoder_ids_BS if inputs.decoder_ids_BT is None else inputs.decoder_ids_BT
    assert given is not None
    assert read is not None
    pairs = enumerate(zip(read[0].tolist(), given[0].tolist(), strict=True))
    return {place: own for place, (own, other) in pairs if own != other}


@torch.no_grad()
def passed(objective: Objective, network: Network, batch: Batch, *, with_attention: bool = False) -> Pass:
    """A forward pass over a batch of one row that is not padded; probabilities are those of float64."""
    size = network.body.vocab_size
    maps: list[AttentionMap] = []
    written: dict[int, int] = {}

    def compare(_body: nn.Module, given: tuple[Inputs, ...]) -> None:
        written.update(_written(batch, given[0]))

    hook = network.body.register_forward_pre_hook(compare)
    try:
        with recording(network) if with_attention else nullcontext(maps) as maps:
            predictions = objective.predictions(network, batch)
    finally:
        hook.remove()
    guesses: dict[int, Guess] = {}
    detections: dict[str, list[Detection]] = {}
    for term, prediction in predictions.items():
        if not len(prediction.labels.ids_N):
            continue
        logits = prediction.head(prediction.states_ND)
        if isinstance(prediction.loss, BinaryCrossEntropy):
            detections[term] = _detections(prediction, logits)
        elif logits.shape[-1] == size:
            guesses |= {one.position: one for one in _guesses(prediction, logits)}
    chances = torch.tensor([one.probability for one in guesses.values()], dtype=torch.float64, device="cpu")
    nats = float(-chances.log().mean()) if len(guesses) else None
    return Pass(
        guesses=[guesses[place] for place in sorted(guesses)],
        detections=detections,
        nats=nats,
        written=written,
        maps=maps,
    )


def as_data(one: Pass, name_of: Callable[[int], str]) -> dict[str, Any]:
    """Guesses as [position, p(target), [[text, p], ...], whether the likeliest is the target].

    Detections are [position, p, whether it is so], and what was written [position, text]; probabilities stand in ten
    thousandths.
    """

    def share(probability: float) -> int:
        return round(probability * 10_000)

    guesses = [
        [
            guess.position,
            share(guess.probability),
            [[name_of(token), share(chance)] for token, chance in guess.best],
            int(guess.best[0][0] == guess.target),
        ]
        for guess in one.guesses
    ]
    detections = {
        term: [[place.position, share(place.probability), int(place.is_so)] for place in places]
        for term, places in one.detections.items()
    }
    return {
        "nats": None if one.nats is None else round(one.nats, 3),
        "guesses": guesses,
        "detections": detections,
        "written": [[place, name_of(token)] for place, token in one.written.items()],
    }


def attention_data(one: Pass, names: Names) -> list[dict[str, Any]]:
    """Each attention of the pass: its tokens, and bytes of layers x H x Q x K in base64, 255 for a weight of 1."""
    kinds: dict[tuple[str, str, str], list[AttentionMap]] = {}
    for found in one.maps:
        kinds.setdefault((found.role, found.stack, found.kind), []).append(found)
    drawn = []
    for (role, stack, kind), layers in kinds.items():
        weights_LHQK = torch.stack([layer.weights_BHQK[0].cpu().float() for layer in layers])
        quantised = (weights_LHQK * LEVELS).round().to(torch.uint8)
        drawn.append(
            {
                "role": role,
                "stack": stack,
                "kind": kind,
                "shape": [*quantised.shape],
                "first_layer": 0,
                "queries": names(layers[0].query_ids_BQ[0].tolist()),
                "keys": names(layers[0].key_ids_BK[0].tolist()),
                "bytes": base64.b64encode(quantised.numpy().tobytes()).decode(),
            }
        )
    return drawn
