"""The precision that `auto` takes: the one in which this machine multiplies a run's matrices fastest.

A processor's flags are no measure: with AVX512-BF16 and without AMX, one makes bf16 products at twice the
rate of fp32, and another at half of it.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from training.setup.settings import Precision, TrainerSettings
from training.step.compilation import PRODUCTS, CompiledLayers, compiling_pays, tokens_of, worth_of

SINGLE: Precision = "32-true"
DTYPE_OF: dict[Precision, torch.dtype] = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
SECONDS = 0.4  # that measuring takes, or as long as two rounds do
FLOPS_AT_ONCE = {"cpu": 8e9, "cuda": 2e11}  # of one round in one precision: some hundredths of a second


class Product(NamedTuple):
    """The product of a linear layer, [rows, inner] x [inner, columns], of which its backward pass makes two more."""

    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> float:
        """Floating-point operations, those of the backward pass included."""
        return 6.0 * self.rows * self.inner * self.columns


def products_of(network: nn.Module, *, rows: int, vocab_size: int | None = None) -> Counter[Product]:
    """The products of a network's linear layers over that many positions, and how often each is made.

    Args:
        network: may lie on the meta device.
        rows: positions.
        vocab_size: its token tables have as many rows, and the head over the vocabulary multiplies by each of them.
    """
    found: Counter[Product] = Counter()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            found[Product(rows, module.in_features, module.out_features)] += 1
        elif isinstance(module, nn.Embedding) and module.num_embeddings == vocab_size:
            found[Product(rows, module.embedding_dim, module.num_embeddings)] += 1
    return found


def candidates(accelerator: str) -> tuple[Precision, ...]:
    """The precisions that `auto` chooses among on a kind of device."""
    if accelerator not in FLOPS_AT_ONCE:
        return (SINGLE,)
    emulates = accelerator == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return (SINGLE, "16-mixed" if emulates else "bf16-mixed")


def computed_in(precision: Precision) -> torch.dtype:
    """The type of a run's products."""
    wide = {"64-true": torch.float64, "bf16-true": torch.bfloat16}
    return DTYPE_OF.get(precision) or wide.get(precision, torch.float32)


def computing_in(precision: Precision, accelerator: str) -> AbstractContextManager[object]:
    """Autocast as a run in that precision has it."""
    dtype = DTYPE_OF.get(precision)
    return nullcontext() if dtype is None else torch.autocast(accelerator, dtype=dtype)


def _fewer(products: Mapping[Product, int], flops: float) -> dict[Product, int]:
    """The same with fewer rows, where making each once takes more operations than that."""
    share = min(1.0, flops / sum(product.flops for product in products))
    return {product._replace(rows=max(round(share * product.rows), 1)): times for product, times in products.items()}


def _seconds(inputs: Tensor, weights: Tensor, precision: Precision) -> float:
    """What one layer's forward and backward pass take."""
    accelerator = inputs.device.type
    before = time.perf_counter()
    with computing_in(precision, accelerator):
        outputs = F.linear(inputs, weights)
    torch.autograd.grad(outputs, (inputs, weights), torch.ones_like(outputs))
    if accelerator != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - before


def _best_seconds(product: Product, accelerator: str, seconds: float) -> dict[Precision, float]:
    """The least that a layer took in each precision, in turns for that many seconds or two rounds."""
    inputs = torch.ones(product.rows, product.inner, device=accelerator, requires_grad=True)
    weights = torch.ones(product.columns, product.inner, device=accelerator, requires_grad=True)
    best: dict[Precision, float] = dict.fromkeys(candidates(accelerator), math.inf)
    began, rounds = time.perf_counter(), 0
    while rounds < 2 or time.perf_counter() - began < seconds:
        best = {precision: min(least, _seconds(inputs, weights, precision)) for precision, least in best.items()}
        rounds += 1
    return best


def measured_rates(products: Mapping[Product, int], accelerator: str) -> dict[Precision, float]:
    """Floating-point operations a second that this machine reaches over the products, in each precision.

    The precisions take turns, and the best time of each product counts, so that other processes hardly do.

    Args:
        products: how often a step makes each.
        accelerator: `cpu` or `cuda`.
    """
    fewer = _fewer(products, FLOPS_AT_ONCE[accelerator])
    best = {product: _best_seconds(product, accelerator, SECONDS / len(fewer)) for product in fewer}
    total = sum(times * product.flops for product, times in fewer.items())
    return {
        precision: total / sum(times * best[product][precision] for product, times in fewer.items())
        for precision in candidates(accelerator)
    }


def fastest(rates: Mapping[Precision, float]) -> Precision:
    """The precision with the highest rate; of equal ones the first, which is 32-true."""
    return max(rates, key=lambda precision: rates[precision])


def announced(rates: Mapping[Precision, float]) -> Precision:
    """The fastest, which is printed with the rates that it follows from."""
    rank_zero_info(f"[machine] {rates_line(fastest(rates), rates)}")
    return fastest(rates)


def rates_line(choice: Precision, rates: Mapping[Precision, float]) -> str:
    """The choice with every rate that it follows from, for a person."""
    unit, name = (1e12, "TFLOP/s") if max(rates.values()) >= 1e12 else (1e9, "GFLOP/s")
    found = ", ".join(f"{precision} {rate / unit:.3g}" for precision, rate in rates.items())
    return f"precision {choice}: matrix products of this run's sizes, in {name}: {found}"


def taken(accelerator: str, products: Callable[[], Mapping[Product, int]], rates: dict[Precision, float]) -> Precision:
    """What `auto` takes on a kind of device, printed where there is a choice; `rates` is given what was measured."""
    if len(candidates(accelerator)) == 1:
        return candidates(accelerator)[0]
    rates.update(measured_rates(products(), accelerator))
    return announced(rates)


def to_compile(
    kept: bool | None,
    settings: TrainerSettings,
    run: Mapping[str, Any],
    products: Callable[[], Mapping[Product, int]],
    rates: Mapping[Precision, float],
    layers: CompiledLayers,
) -> str:
    """What `--compile auto` is, as text: what the run began with, or whether compiling pays in a run of this length.

    Args:
        kept: what it began with, where it goes on.
        settings: where it is computed.
        run: its settings, instantiated.
        products: makes the matrix products of a micro-batch.
        rates: what was measured of them already.
        layers: that are compiled.
    """
    if kept is not None:
        return str(kept)
    data, budget, seconds = run["data"], run["budget"], math.nan
    if budget.seconds is not None:
        seconds = budget.seconds
    elif hasattr(data, "window") and worth_of(settings.accelerator, settings.precision):
        made = products()
        rows = (data.micro_batch_size or data.batch_size) * data.window
        flops = sum(times * product.flops for product, times in made.items()) / rows
        tokens = tokens_of(
            budget,
            tokens_per_step=data.batch_size * data.window,
            flops_per_token=flops,
            targets_per_token=run["model"].max_lengths(data.window).targets / data.window,
        )
        rates = rates or measured_rates(made, settings.accelerator)
        rate = rates.get(settings.precision, max(rates.values()))
        seconds = tokens * flops / rate / PRODUCTS
    return str(compiling_pays(seconds, settings.accelerator, settings.precision, layers))
