"""The activations of feed-forwards and heads, by name."""

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


def gelu_tanh(numbers: Tensor) -> Tensor:
    """GELU as x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), which GPT-2 and T5 1.1 were trained with."""
    is_bf16 = numbers.is_cpu and numbers.dtype == torch.bfloat16
    # In this order: the number of threads cannot be read in what is compiled, and would break it into pieces.
    if is_bf16 and not torch.compiler.is_compiling() and torch.get_num_threads() <= MOST_THREADS:
        return _GeluTanhByTables.apply(numbers)  # pyright: ignore[reportReturnType]
    return F.gelu(numbers, approximate="tanh")


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
}
