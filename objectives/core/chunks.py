"""Losses over a vocabulary without its logits: a chunk of positions at a time, whose gradient is taken at once.

Logits of 64 x 512 positions over 32,768 tokens are 4 GB in float32, and as much again for each step of their gradient.
A loss is a sum over positions, so that the gradient of a chunk's logits is known as soon as they are: what is kept for
the backward pass is as large as the states and the last layer's weights (Hsu et al. 2024, 3.2).

Shapes: N labelled positions, E width of the features, V classes, n positions of a chunk.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.body import Body, OutputLayer

LEAST_CHUNKS = 8  # on a GPU, where fewer save little memory; on a CPU one saves time (docs/benchmarks.md)
LEAST_POSITIONS = 128  # of a chunk; products of fewer rows are slow, and each adds to the gradient of all weights


class LossSums(NamedTuple):
    """Sums over the labels of a batch, from one pass.

    Attributes:
        loss: the reported loss.
        minimised: the loss with its regularisers, such as the z-loss.
        correct: predictions that equal their label; None where they were not counted, or nothing can be correct.
    """

    loss: Tensor
    minimised: Tensor
    correct: Tensor | None = None


# The sums of some positions: of their logits [n, V], in float32 at least, and of which of the N positions they are.
# `minimised` has a gradient by the logits alone.
Formula = Callable[[Tensor, slice], LossSums]


class WithGradient(Protocol):
    """A formula that gives the gradient of `minimised` by the logits as well, in fewer passes than autograd."""

    def __call__(self, logits_nV: Tensor, rows: slice) -> LossSums: ...
    def with_gradient(self, logits_nV: Tensor, rows: slice) -> tuple[LossSums, Tensor]: ...


def wide(logits: Tensor) -> Tensor:
    """In float32 at least."""
    return logits if logits.element_size() == 8 else logits.float()


def positions_at_once(logits_at_once: int | None, vocab_size: int) -> int | None:
    """The positions of a chunk of so many logits; None where all are taken at once."""
    return None if logits_at_once is None else max(logits_at_once // vocab_size, LEAST_POSITIONS)


def chunked_body(head: Callable[[Tensor], Tensor], states_ND: Tensor) -> Body | None:
    """The body whose logits `head` makes of such states, where they are taken in chunks; else None.

    On a CPU a chunk may be the only one: a formula that writes its gradient out takes fewer passes than autograd, and
    any other as many.
    """
    body = getattr(head, "__self__", None)
    if not isinstance(body, Body) or body.positions_at_once is None or head != body.logits:
        return None
    least = 1 if states_ND.is_cpu else LEAST_CHUNKS * body.positions_at_once
    return body if len(states_ND) >= least else None


def _sums(formula: Formula, logits_nV: Tensor, rows: slice) -> LossSums:
    return formula(logits_nV, rows)


@cache
def _compiled_sums() -> Callable[[Formula, Tensor, slice], LossSums]:
    return torch.compile(_sums, dynamic=True)


class _Plan(NamedTuple):
    """How chunks are computed: their positions, the type of their products, and whether sums are compiled."""

    positions: int
    dtype: torch.dtype
    is_compiled: bool
    has_gradient: bool


def _chunk(logits_nV: Tensor, rows: slice, formula: Formula, plan: _Plan) -> tuple[LossSums, Tensor | None]:
    """The sums of a chunk, and the gradient of `minimised` by its logits."""
    # On a CPU a gradient that is written out is faster than what is compiled, too: a causal LM's step takes 4 % less.
    writes_gradient = hasattr(formula, "with_gradient") and (not plan.is_compiled or logits_nV.is_cpu)
    if plan.has_gradient and writes_gradient:
        return cast(WithGradient, formula).with_gradient(logits_nV, rows)
    sums_of = _compiled_sums() if plan.is_compiled and plan.has_gradient else _sums
    with torch.set_grad_enabled(plan.has_gradient):
        logits_nV = logits_nV.detach().requires_grad_(plan.has_gradient)
        loss, minimised, correct = sums_of(formula, logits_nV, rows)
    gradient_nV = torch.autograd.grad(minimised, logits_nV)[0] if plan.has_gradient else None
    return LossSums(loss.detach(), minimised.detach(), None if correct is None else correct.detach()), gradient_nV


class _InChunks(torch.autograd.Function):
    """Sums of all positions, with the gradients of features, weights and bias made on the way."""

    @staticmethod
    def forward(
        ctx: Any,
        features_NE: Tensor,
        weight_VE: Tensor,
        bias_V: Tensor | None,
        formula: Formula,
        plan: _Plan,
    ) -> tuple[Tensor | None, ...]:
        wants = [plan.has_gradient and is_wanted for is_wanted in ctx.needs_input_grad[:3]]
        plan, dtype = plan._replace(has_gradient=any(wants)), plan.dtype
        of_features, of_weight, of_bias = (  # in float32 at least, as each chunk adds to those of weights and bias
            torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
            if is_wanted and tensor is not None
            else None
            for tensor, is_wanted in zip((features_NE, weight_VE, bias_V), wants, strict=True)
        )
        parts: list[LossSums] = []
        weight, bias = weight_VE.to(dtype), None if bias_V is None else bias_V.to(dtype)
        for first in range(0, len(features_NE), plan.positions):
            rows = slice(first, min(first + plan.positions, len(features_NE)))
            features_nE = features_NE[rows].to(dtype)
            logits_nV = wide(F.linear(features_nE, weight, bias))
            sums, gradient_nV = _chunk(logits_nV, rows, formula, plan)
            parts.append(sums)
            if gradient_nV is None:
                continue
            if of_bias is not None:
                of_bias += gradient_nV.sum(dim=0)
            gradient_nV = gradient_nV.to(dtype)
            if of_features is not None:
                of_features[rows] = gradient_nV @ weight
            if of_weight is not None and dtype == of_weight.dtype:
                of_weight.addmm_(gradient_nV.T, features_nE)
            elif of_weight is not None:
                of_weight += gradient_nV.T @ features_nE
        ctx.save_for_backward(of_features, of_weight, of_bias)
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (features_NE, weight_VE, bias_V)]
        loss, minimised, correct = (
            None if column[0] is None else torch.stack(column).sum() for column in zip(*parts, strict=True)
        )
        ctx.mark_non_differentiable(*(one for one in (loss, correct) if one is not None))
        return minimised, loss, correct

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's parameters have no names
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        gradients = (
            None if one is None else (one * grad_outputs[0]).to(dtype)
            for one, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return (*gradients, None, None)


def _in_chunks(layer: OutputLayer, formula: Formula, body: Body) -> LossSums:
    kind = layer.features_NE.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else layer.weight_VE.dtype
    assert body.positions_at_once is not None
    plan = _Plan(body.positions_at_once, dtype, body.compiles_losses, torch.is_grad_enabled())
    minimised, loss, correct = cast(tuple[Tensor, Tensor, Tensor | None], _InChunks.apply(*layer, formula, plan))
    return LossSums(loss, minimised, correct)


def over_vocabulary(states_ND: Tensor, head: Callable[[Tensor], Tensor], formula: Formula) -> LossSums:
    """The sums of a formula over the logits of all positions, values and gradients.

    In chunks where `head` is the `logits` of a body that takes so many positions at once (`chunked_body`), else of all
    logits at once. Both differ by rounding alone.
    """
    body = None if torch.compiler.is_compiling() else chunked_body(head, states_ND)
    layer = None if body is None else body.output_layer(states_ND)
    if body is not None and layer is not None:
        return _in_chunks(layer, formula, body)
    return formula(wide(head(states_ND)), slice(0, len(states_ND)))
