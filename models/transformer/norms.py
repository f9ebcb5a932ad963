"""The norms: LayerNorm (Ba et al. 2016), and RMSNorm (Zhang & Sennrich 2019), which has neither mean nor bias.

Shapes: N positions, D width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.presets import Preset


class _RMSNormInFewPasses(torch.autograd.Function):
    """x · r · weight with r = 1 / √(mean of x² + ε), forwards in three passes over x and backwards in six.

    With h = gradient · weight, the gradient by x is r · h - x · r³ / D · Σ h x. torch's own is made of ten operations,
    each of which keeps what it was given for a backward pass of its own.
    """

    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        norms_N1 = torch.linalg.vector_norm(states_ND, dim=-1, keepdim=True)
        rates_N1 = norms_N1.square_().div_(states_ND.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(states_ND, weight_D, rates_N1)
        return (states_ND * rates_N1).mul_(weight_D)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's parameters have no names
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor, Tensor, None]:
        states_ND, weight_D, rates_N1 = ctx.saved_tensors
        width, gradient_ND = len(weight_D), grad_outputs[0]
        along_ND = gradient_ND * states_ND
        of_weight_D = along_ND.flatten(0, -2).T.mv(rates_N1.flatten())
        shares_N1 = along_ND.flatten(0, -2).mv(weight_D).view_as(rates_N1)
        shares_N1.mul_(rates_N1.pow(3)).div_(-width)
        of_states_ND = torch.mul(states_ND, shares_N1, out=along_ND)
        of_states_ND.add_((gradient_ND * weight_D).mul_(rates_N1))
        return of_states_ND, of_weight_D, None


class RMSNorm(nn.RMSNorm):
    """torch's; on a CPU in mixed precision, uncompiled, the same in fewer passes, which differs by rounding alone."""

    def forward(self, x: Tensor) -> Tensor:
        is_mixed = x.is_cpu and x.dtype == torch.float32 and torch.is_autocast_enabled("cpu")
        if not is_mixed or torch.compiler.is_compiling():
            return super().forward(x)
        return _RMSNormInFewPasses.apply(x, self.weight, self.eps)  # pyright: ignore[reportReturnType]


def make_norm(parts: Preset, width: int) -> nn.Module:
    """The norm of a preset."""
    kind = nn.LayerNorm if parts.norm == "layer" else RMSNorm
    return kind(width, eps=parts.norm_epsilon)
