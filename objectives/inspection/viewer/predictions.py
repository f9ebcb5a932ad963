"""What a network predicts of one example, and what it looks at while it does, as plain data.

Shapes: N labelled positions, V vocabulary, H heads, Q queries, K keys.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from data.stream.batch import Batch
from models.body import Body, Inputs
from objectives.core.base import Objective
from objectives.core.network import MAIN, Network
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
        read: the ids that each body read, by role and stack.
        maps: attention of every body, where it was recorded.
    """

    guesses: list[Guess]
    detections: dict[str, list[Detection]]
    nats: float | None
    written: dict[int, int] = field(default_factory=dict)
    read: dict[tuple[str, str], list[int]] = field(default_factory=dict)
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


@contextmanager
def _reading(network: Network, batch: Batch) -> Iterator[dict[tuple[str, str], list[int]]]:
    """Records the ids that each body reads, by role and stack; those of the batch where it is not called whole."""
    stacks = {"encoder": batch.encoder_ids_BS, "decoder": batch.decoder_ids_BT}
    roles = [role for role, module in network.named_children() if isinstance(module, Body)]
    found = {(role, name): ids[0].tolist() for role in roles for name, ids in stacks.items() if ids is not None}

    def hook_of(role: str) -> Callable[[nn.Module, tuple[Inputs, ...]], None]:
        def hook(_module: nn.Module, given: tuple[Inputs, ...]) -> None:
            for stack, ids in (("encoder", given[0].encoder_ids_BS), ("decoder", given[0].decoder_ids_BT)):
                if ids is not None:
                    found[role, stack] = ids[0].tolist()

        return hook

    hooks = [network.role(role).register_forward_pre_hook(hook_of(role)) for role in roles]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _written(batch: Batch, read: Mapping[tuple[str, str], list[int]]) -> dict[int, int]:
    stack, ids = ("decoder", batch.decoder_ids_BT) if batch.decoder_ids_BT is not None else ("encoder", None)
    given = batch.encoder_ids_BS if ids is None else ids
    assert given is not None
    pairs = zip(read[MAIN, stack], given[0].tolist(), strict=True)
    return {place: own for place, (own, other) in enumerate(pairs) if own != other}


@torch.no_grad()
def passed(objective: Objective, network: Network, batch: Batch, *, with_attention: bool = False) -> Pass:
    """A forward pass over a batch of one row that is not padded; probabilities are those of float64."""
    size, maps = network.body.vocab_size, []
    with _reading(network, batch) as read:
        if with_attention:
            with recording(network) as maps:
                predictions = objective.predictions(network, batch)
        else:
            predictions = objective.predictions(network, batch)
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
        written=_written(batch, read),
        read=read,
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
    kinds: dict[tuple[str, str, str], list[Tensor]] = {}
    for found in one.maps:
        kinds.setdefault((found.role, found.stack, found.kind), []).append(found.weights_BHQK[0])
    drawn = []
    for (role, stack, kind), layers in kinds.items():
        weights_LHQK = torch.stack([layer.cpu().float() for layer in layers])
        quantised = (weights_LHQK * LEVELS).round().to(torch.uint8)
        drawn.append(
            {
                "role": role,
                "stack": stack,
                "kind": kind,
                "shape": [*quantised.shape],
                "first_layer": 0,
                "queries": names(one.read[role, stack]),
                "keys": names(one.read[role, "encoder" if kind == "cross" else stack]),
                "bytes": base64.b64encode(quantised.numpy().tobytes()).decode(),
            }
        )
    return drawn
