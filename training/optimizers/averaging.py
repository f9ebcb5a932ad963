"""An exponential moving average of the weights, which is evaluated and exported in their place."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The average of a module's weights over its updates.

    At update number n it keeps the share min(decay, (1 + n) / (10 + n)) of what it was, so that the initial weights are
    soon forgotten (torch_ema, by which MDLM is trained).

    Args:
        module: whose weights are averaged, those that checkpoints hold; the average begins with them.
        decay: what remains of the average at each update, in the end.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay, self.updates = module, decay, 0
        self.is_in_place = False  # whether the module holds the average, and `other` the trained weights
        by_id = {id(tensor): (name, tensor) for name, tensor in self._state().items()}
        self.weights = dict(by_id.values())
        self.other = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def _state(self) -> dict[str, Tensor]:
        """Weights by their names in checkpoints; one that is shared has several."""
        state = self.module.state_dict(keep_vars=True)
        return {name: tensor for name, tensor in state.items() if isinstance(tensor, nn.Parameter)}

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the weights."""
        assert not self.is_in_place
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        get_ema_multi_avg_fn(decay)(list(self.other.values()), list(self.weights.values()), self.updates)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the weights and their average, in the module."""
        for name, weight in self.weights.items():
            before = weight.detach().clone()
            weight.copy_(self.other[name])
            self.other[name].copy_(before)
        self.is_in_place = not self.is_in_place

    # --- checkpoints ---

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Gives a checkpoint the average as its weights, for whatever uses them, and the trained ones to go on from."""
        first = {id(weight): name for name, weight in self.weights.items()}
        exchanged = {name: self.other[first[id(weight)]] for name, weight in self._state().items()}
        trained, averaged = checkpoint["state_dict"], {**checkpoint["state_dict"], **exchanged}
        if self.is_in_place:
            trained, averaged = averaged, trained
        checkpoint["state_dict"] = averaged
        checkpoint["average"] = {"trained": dict(trained), "updates": self.updates}

    @torch.no_grad()
    def load(self, averaged: Mapping[str, Tensor], updates: int) -> None:
        """Goes on from a checkpoint, whose trained weights the module has by now."""
        self.updates = updates
        for name, average in self.other.items():
            average.copy_(averaged[name])
