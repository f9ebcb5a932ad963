"""How pretrained weights are tuned: which parts learn, when, and how fast."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from common.errors import UserError
from common.ranges import LEARNING_RATE, Range, check_ranges, positive
from models.body import Body
from training.optimizers.optim import OptimizerConfig, parameter_groups

Pooling = Literal["auto", "mean", "cls", "last", "decoder_start"]
AttentionKind = Literal["as_trained", "bidirectional"]
ClassWeights = Literal["none", "balanced"]


RANGES = {
    "head_learning_rate": LEARNING_RATE,
    "layer_decay": Range(0, 1, low_open=True),
    "unfreeze_every": positive(1e9),
    "dropout": Range(0, 1, high_open=True),
    "label_smoothing": Range(0, 1, high_open=True),
    "patience": positive(1e9),
}


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a pretrained body and a new head learn a task.

    Args:
        from_scratch: starts from random weights of the same shape: the baseline that every table needs.
        pooling: what a text is classified from: the `mean` of its states; the state of the first token (`cls`) or of
            the `last`; the first state of a decoder that attends to the encoder (`decoder_start`); `auto` is the one
            that suits the family: mean for an encoder, last for a causal decoder, mean of the encoder where there are
            both. Two texts have a mean each.
        attention: `bidirectional` lifts the mask of a causal decoder.
        freeze: trains the head alone (a linear probe).
        head_learning_rate: of the new head; by default `optimizer.learning_rate`.
        layer_decay: factor from each layer's learning rate to that of the layer below it; ULMFiT's is 1/2.6.
        unfreeze_every: epochs after which the next layer below is unfrozen, the head being trained from the
            beginning (ULMFiT, 3.3); null unfreezes all at once.
        dropout: rate in body and head while the task is learnt.
        label_smoothing: share of the target's probability that goes to all labels alike.
        class_weights: `balanced` weighs a label by how rare it is, so that all count alike; the mean weight is 1.
        patience: validations without improvement after which training stops; null trains to the end of the budget.

    Raises:
        UserError: where a value is impossible, or values contradict each other.
    """

    from_scratch: bool = False
    pooling: Pooling = "auto"
    attention: AttentionKind = "as_trained"
    freeze: bool = False
    head_learning_rate: float | None = None
    layer_decay: float = 1.0
    unfreeze_every: float | None = None
    dropout: float = 0.1
    label_smoothing: float = 0.0
    class_weights: ClassWeights = "none"
    patience: int | None = None

    def __post_init__(self) -> None:
        check_ranges("tuning.", RANGES, vars(self))
        if self.freeze and self.from_scratch:
            raise UserError("tuning.freeze with tuning.from_scratch would leave a random body untrained: choose one")
        if self.freeze and (self.layer_decay < 1 or self.unfreeze_every is not None):
            raise UserError("tuning.freeze trains no layer: layer_decay must be 1 and unfreeze_every null with it")


def depths(module: nn.Module, body: Body) -> dict[str, int]:
    """How deep below the head each parameter of a module lies: heads 0, the last block 1, the embeddings deepest.

    An encoder lies below the decoder that attends to it. What stands behind a stack's blocks counts with the last one.
    """
    layers = body.layers()
    found = {id(parameter): 0 for parameter in module.parameters()}
    found |= {id(parameter): len(layers) for parameter in body.parameters()}
    for depth, parts in enumerate(layers):
        found |= {id(parameter): depth for part in parts for parameter in part.parameters()}
    return {name: found[id(parameter)] for name, parameter in module.named_parameters()}


def layer_groups(module: nn.Module, body: Body, optimizer: OptimizerConfig, tuning: Tuning) -> list[dict[str, Any]]:
    """Every trainable parameter once, grouped by depth and by weight decay, each group with its learning rate.

    A group's `depth` is that of `depths`.
    """
    depth_of = depths(module, body)
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    groups = []
    for depth in sorted(set(depth_of.values())):
        named = [(name, parameter) for name, parameter in module.named_parameters() if depth_of[name] == depth]
        rate = optimizer.learning_rate * tuning.layer_decay ** max(depth - 1, 0)
        if depth == 0 and tuning.head_learning_rate is not None:
            rate = tuning.head_learning_rate
        groups += [{**group, "lr": rate, "depth": depth} for group in parameter_groups(named, tables, optimizer)]
    return groups


def is_unfrozen(depth: int, epochs: float, unfreeze_every: float | None) -> bool:
    """Whether a layer learns after so many epochs; with gradual unfreezing a layer follows the one above it."""
    return unfreeze_every is None or epochs >= depth * unfreeze_every


def frozen(groups: Iterable[dict[str, Any]], epochs: float, tuning: Tuning) -> list[nn.Parameter]:
    """The parameters of those groups that do not learn yet."""
    return [
        parameter
        for group in groups
        if not is_unfrozen(group["depth"], epochs, tuning.unfreeze_every)
        for parameter in group["params"]
    ]
