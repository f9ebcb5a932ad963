"""Muon with the matrices of one shape in one batch: a fraction of the kernels, the same update."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Muon

Coefficients = tuple[float, float, float]


def orthogonalised(matrices: Sequence[Tensor], coefficients: Coefficients, *, steps: int, epsilon: float) -> Tensor:
    """bfloat16[n, rows, columns], each of the matrices of one shape made nearly orthogonal.

    The quintic Newton-Schulz iteration of Jordan et al. 2024, in bfloat16 as torch.optim.Muon computes it one by one.
    """
    a, b, c = coefficients
    stacked = torch.stack([matrix.bfloat16() for matrix in matrices])
    is_tall = stacked.shape[1] > stacked.shape[2]
    if is_tall:
        stacked = stacked.mT
    stacked = stacked / stacked.norm(dim=(1, 2), keepdim=True).clamp(min=epsilon)
    for _ in range(steps):
        gram = stacked @ stacked.mT
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        stacked = torch.baddbmm(stacked, gram, stacked, beta=a)
    return stacked.mT if is_tall else stacked


def called(closure: Callable[[], Any] | None) -> Any:
    """What the closure of an optimizer's step returns, gradients included; None where there is no closure."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


class BatchedMuon(Muon):
    """torch.optim.Muon, its state included, but for the order in which products are rounded.

    The learning rate is adjusted as Liu et al. 2025 do, so that one rate serves Muon and AdamW.
    """

    def __init__(self, parameters: Sequence[Tensor], *, learning_rate: float, weight_decay: float) -> None:
        super().__init__(parameters, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every matrix that has a gradient; the closure, where there is one, is called before."""
        result = called(closure)
        for group in self.param_groups:
            of_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    of_shape[parameter.shape].append(parameter)
            for shape, parameters in of_shape.items():
                self._update(parameters, group, adjusted=0.2 * max(shape) ** 0.5)
        return result

    def _update(self, parameters: list[Tensor], group: dict[str, Any], *, adjusted: float) -> None:
        """Updates the matrices of one shape; `adjusted` is the factor of their learning rate."""
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])  # pyright: ignore
        updates = torch._foreach_lerp(gradients, buffers, group["momentum"])  # pyright: ignore
        found = orthogonalised(updates, group["ns_coefficients"], steps=group["ns_steps"], epsilon=group["eps"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])  # pyright: ignore
        torch._foreach_add_(parameters, list(found.to(parameters[0].dtype)), alpha=-group["lr"] * adjusted)  # pyright: ignore
