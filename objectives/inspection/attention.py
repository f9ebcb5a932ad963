"""Attention maps: the weights of every layer and head, computed beside the kernels that mix values by them.

    attention_maps(network, inputs_of(batch, network.body))[0].weights_BHQK[0, 3]     of the first row, the fourth head

A fused kernel keeps no weights. Hooks see the queries, keys and mask that a kernel is given, and the weights are
computed from them by the plain formula; what the kernel computes stays as it is.

Shapes: B batch, H heads, Q queries, K keys.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from data.stream.batch import Batch
from models.attention.attention import Attention
from models.attention.kernels import attention_weights
from models.body import Body, Inputs
from models.recurrent.attention import RecurrentAttentionLayer
from objectives.core.base import Objective
from objectives.core.network import MAIN, Network

Kind = Literal["self", "cross"]


class AttentionMap(NamedTuple):
    """The weights of one layer.

    Attributes:
        role: of the body in its network, such as "body" or "generator".
        stack: "encoder" or "decoder", whose positions are the queries.
        kind: "self", whose keys are the same positions, or "cross", whose keys are the encoder's.
        layer: from 0, counted within its stack; layers that share their weights (ALBERT) have a map each.
        weights_BHQK: the share that each query takes of each key's value, before dropout; float32 or float64. The sum
            over K is 1, and what the mask hides has exactly 0; a query that sees no key, which only padding can be,
            has 0 everywhere. A recurrent body has one head, and the only layer of a decoder that looks at an encoder.
        query_ids_BQ, key_ids_BK: the tokens that stand at these positions.
    """

    role: str
    stack: str
    kind: Kind
    layer: int
    weights_BHQK: Tensor
    query_ids_BQ: Tensor
    key_ids_BK: Tensor


class _Place(NamedTuple):
    """Where weights were computed; shared layers have one place, which is passed once for each of them."""

    role: str
    stack: str
    kind: Kind
    is_stepwise: bool = False  # a call is of some queries, and not of a layer


def _bodies(network: nn.Module) -> Iterator[tuple[str, Body]]:
    for name, module in network.named_modules():
        if isinstance(module, Body):
            yield name or MAIN, module


def _places(role: str, body: Body) -> Iterator[tuple[nn.Module, _Place]]:
    """What can be hooked, in the order of layers: kernels of a Transformer, attention layers of a recurrent body."""
    for stack, blocks in zip(("encoder", "decoder"), body.stacks, strict=True):
        for module in () if blocks is None else blocks.modules():
            if isinstance(module, Attention):
                yield module.kernel, _Place(role, stack, "cross" if module.is_cross else "self")
            elif isinstance(module, RecurrentAttentionLayer):
                yield module, _Place(role, stack, "cross", is_stepwise=True)


def _maps(place: _Place, weights: list[Tensor], inputs: Inputs) -> list[AttentionMap]:
    """Those of a place that was passed once for each layer, or once for each step."""
    ids = {"encoder": inputs.encoder_ids_BS, "decoder": inputs.decoder_ids_BT}
    query_ids_BQ, key_ids_BK = ids[place.stack], ids["encoder" if place.kind == "cross" else place.stack]
    assert query_ids_BQ is not None
    assert key_ids_BK is not None
    layers = [torch.cat(weights, dim=2)] if place.is_stepwise else weights
    return [AttentionMap(*place[:3], layer, one, query_ids_BQ, key_ids_BK) for layer, one in enumerate(layers)]


@contextmanager
def recording(network: nn.Module) -> Iterator[list[AttentionMap]]:
    """Records the attention of one call of each body below `network`; the list is filled when the block ends.

    Within, compiled bodies run eagerly, so that their hooks run; nothing else about a pass changes, nor its numbers.
    """
    read: dict[str, Inputs] = {}
    found: dict[_Place, list[Tensor]] = defaultdict(list)
    maps: list[AttentionMap] = []

    def reading(role: str) -> Callable[..., None]:
        return lambda body, given: read.update({role: given[0]})

    def mixing(place: _Place) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
            with torch.no_grad():
                if place.is_stepwise:
                    weights_BHQK = returned[1][:, None]
                else:
                    query_BHTC, key_BKSC, _, mask, scale, _ = given
                    weights_BHQK = attention_weights(query_BHTC, key_BKSC, mask, scale=scale)
                found[place].append(weights_BHQK.detach())

        return hook

    hooks = []
    for role, body in _bodies(network):
        hooks.append(body.register_forward_pre_hook(reading(role)))
        hooks += [module.register_forward_hook(mixing(place)) for module, place in _places(role, body)]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield maps
    finally:
        for hook in hooks:
            hook.remove()
    for place, weights in found.items():
        maps += _maps(place, weights, read[place.role])
    maps.sort(key=lambda one: (one.role != MAIN, one.role, one.stack != "encoder", one.kind != "self", one.layer))


@torch.no_grad()
def attention_maps(network: nn.Module, inputs: Inputs, role: str = MAIN) -> list[AttentionMap]:
    """The weights of every layer of a body over some inputs: encoder, decoder, and the decoder's of the encoder.

    An encoder alone has self-attention maps of "encoder", a decoder alone of "decoder"; both together have those, and
    the decoder's "cross" maps, in this order, each by layer. A recurrent body has "cross" maps alone, and none without
    attention. Numbers are those of the network's mode: in training mode the states are dropped out.

    Args:
        network: of an objective (`TrainedRun.network`), or a body.
        inputs: of the body; of a batch, `objectives.core.network.inputs_of(batch, network.role(role))`.
        role: of the body.
    """
    body = network if isinstance(network, Body) else network.get_submodule(role)
    assert isinstance(body, Body)
    with recording(body) as maps:
        body(inputs)
    return [one._replace(role=role) for one in maps]


@torch.no_grad()
def maps_in_training(objective: Objective, network: Network, batch: Batch) -> list[AttentionMap]:
    """The maps of every body over a batch as the objective trains them on it, such as of a generator too."""
    with recording(network) as maps:
        objective.predictions(network, batch)
    return maps


class HeadSummary(NamedTuple):
    """What a head looks at, as means over the queries that see anything.

    Attributes:
        entropy: of its weights, in nats; that of n keys alike is ln n.
        first: weight of the first position.
        itself, previous: weight of the query's own position, and of the one before it where there is one; None of
            "cross" maps, whose keys are other positions.
    """

    entropy: float
    first: float
    itself: float | None
    previous: float | None


def summaries(one: AttentionMap) -> list[HeadSummary]:
    """Of each head, over all rows."""
    weights_BHQK = one.weights_BHQK.cpu().double()
    sees_BHQ = weights_BHQK.sum(dim=-1) > 0

    def mean_of(values_BHQ: Tensor, counted_BHQ: Tensor) -> list[float]:
        totals_H = torch.where(counted_BHQ, values_BHQ, 0.0).sum(dim=(0, 2))
        return (totals_H / counted_BHQ.sum(dim=(0, 2)).clamp(min=1)).tolist()

    entropies = mean_of(torch.special.entr(weights_BHQK).sum(dim=-1), sees_BHQ)
    first = mean_of(weights_BHQK[..., 0], sees_BHQ)
    if one.kind == "cross":
        return [HeadSummary(*pair, None, None) for pair in zip(entropies, first, strict=True)]
    itself = mean_of(weights_BHQK.diagonal(dim1=2, dim2=3), sees_BHQ)
    previous = mean_of(weights_BHQK.diagonal(-1, dim1=2, dim2=3), sees_BHQ[..., 1:])
    return [HeadSummary(*four) for four in zip(entropies, first, itself, previous, strict=True)]
