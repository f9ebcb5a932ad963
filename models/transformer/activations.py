"""The activations of feed-forwards and heads, by name."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.presets import Activation

# In bf16 on a CPU torch takes 2.0 ns for a GELU by tanh, and as long for its gradient, where a look-up takes 0.8 and
# 1.0. It runs on one thread, whatever there are. (The exact GELU takes 0.5 and 0.9.)
MOST_THREADS = 2

LINEAR, CUBIC = math.sqrt(2 / math.pi), 0.044715  # of tanh's argument in GELU: LINEAR (x + CUBIC x³)
AT_ONCE = 1 << 17  # numbers of a thread: half a megabyte


class _Tables(NamedTuple):
    """What a function makes of each bf16 number, in the order of their bits, and its slopes there; bf16[65536]."""

    values: Tensor
    slopes: Tensor


@cache
def _gelu_tanh_tables() -> _Tables:
    every = torch.arange(1 << 16, dtype=torch.int32, device="cpu").to(torch.uint16).view(torch.bfloat16)
    wide = every.float()
    slopes = torch.ops.aten.gelu_backward(torch.ones_like(wide), wide, approximate="tanh")
    return _Tables(F.gelu(every, approximate="tanh"), slopes.bfloat16())


def _looked_up(table: Tensor, numbers: Tensor) -> Tensor:
    """The entries of a table for bf16 numbers of any shape."""
    places = numbers.reshape(-1).view(torch.uint16).to(torch.int32)
    return table.index_select(0, places).view(numbers.shape)


class _GeluTanhByTables(torch.autograd.Function):
    """The same numbers as torch's, and gradients by a slope that is rounded to bf16."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor) -> Tensor:
        ctx.save_for_backward(numbers)
        return _looked_up(_gelu_tanh_tables().values, numbers)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's parameters have no names
        ctx: Any, *grad_outputs: Any
    ) -> Tensor:
        (numbers,) = ctx.saved_tensors
        return _looked_up(_gelu_tanh_tables().slopes, numbers).mul_(grad_outputs[0])


def _gelu_with_slopes(numbers: Tensor, values: Tensor, slopes: Tensor) -> None:
    """Writes GELU by tanh as x · σ(w), for (1 + tanh u) / 2 is σ(2u), and its slopes σ + x σ(1 - σ) dw/dx."""
    squares = numbers * numbers
    shares = torch.addcmul(numbers, numbers, squares, value=CUBIC).mul_(2 * LINEAR).sigmoid_()
    torch.mul(numbers, shares, out=values)
    torch.ops.aten.sigmoid_backward.grad_input(numbers, shares, grad_input=slopes)
    squares.mul_(6 * LINEAR * CUBIC).add_(2 * LINEAR)
    torch.addcmul(shares, slopes, squares, out=slopes)


class _GeluTanhBySigmoid(torch.autograd.Function):
    """By an exponential, some numbers at a time, which stay in the processor's cache; keeps slopes in place of numbers.

    Values to 1e-6 of torch's and gradients to 2e-6; torch takes a tanh forwards and another backwards: twice as long.
    """

    @staticmethod
    def forward(ctx: Any, numbers: Tensor) -> Tensor:
        numbers = numbers.contiguous()
        values, slopes = torch.empty_like(numbers), torch.empty_like(numbers)
        parts = (one.view(-1).split(AT_ONCE * torch.get_num_threads()) for one in (numbers, values, slopes))
        for part in zip(*parts, strict=True):
            _gelu_with_slopes(*part)
        ctx.save_for_backward(slopes)
        return values

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's parameters have no names
        ctx: Any, *grad_outputs: Any
    ) -> Tensor:
        (slopes,) = ctx.saved_tensors
        return grad_outputs[0] * slopes


def gelu_tanh(numbers: Tensor) -> Tensor:
    """GELU as x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), which GPT-2 and T5 1.1 were trained with."""
    if numbers.is_cpu and not torch.compiler.is_compiling():
        # In this order: the number of threads cannot be read in what is compiled, and would break it into pieces.
        if numbers.dtype == torch.bfloat16 and torch.get_num_threads() <= MOST_THREADS:
            return _GeluTanhByTables.apply(numbers)  # pyright: ignore[reportReturnType]
        if numbers.dtype == torch.float32 and numbers.requires_grad and torch.is_grad_enabled():
            return _GeluTanhBySigmoid.apply(numbers)  # pyright: ignore[reportReturnType]
    return F.gelu(numbers, approximate="tanh")


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
}
