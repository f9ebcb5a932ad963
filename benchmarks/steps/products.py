"""The lower bound of a step: its matrix products alone, of the same shapes in the same order, and nothing else.

They are those of an uncompiled step in the same precision, on as many threads. Those within a CPU's fused attention are
among them, as batched products: two forwards, four backwards. The optimizer, AdamW, has none.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from benchmarks.steps.arms import TimedStep

aten = torch.ops.aten
PRODUCTS = {aten.mm.default, aten.addmm.default, aten.addmm_.default, aten.bmm.default, aten.baddbmm.default}
ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu.default
ATTENTION_BACKWARD = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
Product = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


class _Recorder(TorchDispatchMode):
    """Notes the products that are computed within it, each with tensors of its own like those that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []
        self._like: dict[Any, Tensor] = {}

    def _twin(self, tensor: Tensor, place: int) -> Tensor:
        key = (place, tensor.shape, tensor.stride(), tensor.dtype)
        if key not in self._like:
            size, stride = tensor.shape, tensor.stride()
            self._like[key] = torch.empty_strided(size, stride, dtype=tensor.dtype, device=tensor.device).fill_(0.01)
        return self._like[key]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        with _disable_current_modes():
            if func in PRODUCTS:
                self.products.append((func, tuple(self._twin(tensor, place) for place, tensor in enumerate(args))))
            elif func in (ATTENTION, ATTENTION_BACKWARD):
                is_backward = func == ATTENTION_BACKWARD  # whose first argument is the gradient
                query_BHTC, key_BKSC = args[is_backward], args[is_backward + 1]
                self.products += self._of_attention(query_BHTC, key_BKSC, is_backward)
        return result

    def _of_attention(self, query_BHTC: Tensor, key_BKSC: Tensor, is_backward: bool) -> list[Product]:
        """Scores and mixed values; backwards the gradients of weights, values, queries and keys."""
        (B, H, T, C), S = query_BHTC.shape, key_BKSC.shape[2]

        def product(rows: int, inner: int, columns: int) -> Product:
            one, other = query_BHTC.new_empty(B * H, rows, inner), query_BHTC.new_empty(B * H, inner, columns)
            return aten.bmm.default, (self._twin(one, 0), self._twin(other, 1))

        if is_backward:
            return [product(T, C, S), product(S, T, C), product(T, S, C), product(S, T, C)]
        return [product(T, C, S), product(T, S, C)]


def products_of(arm: TimedStep) -> list[Product]:
    """The products of a step of an arm, which is not compiled, in their order."""
    with _Recorder() as recorder:
        arm.step()
    return recorder.products


def products_alone(arm: TimedStep) -> TimedStep:
    """The products of one step of an arm, and nothing else."""
    products = products_of(arm)

    @torch.no_grad()
    def step() -> None:
        for product, operands in products:
            product(*operands)

    return replace(arm, step=step)
