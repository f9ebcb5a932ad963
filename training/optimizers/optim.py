"""Optimizers and learning rates, the same for every objective."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Adafactor, AdamW, Optimizer

from common.errors import UserError
from common.ranges import LEARNING_RATE, SHARE, Range, check_ranges, positive
from training.optimizers.muon import BatchedMuon, called

RANGES = {
    "learning_rate": LEARNING_RATE,
    "betas": Range(0, 1, high_open=True),
    "epsilon": positive(1),
    "weight_decay": Range(0, 1000),
    "warmup": Range(0, 1e15),
    "decay": Range(0, 1, low_open=True),
    "min_lr_ratio": SHARE,
    "max_grad_norm": positive(1e9),
    "ema_decay": Range(0, 1, low_open=True, high_open=True),
}
OptimizerName = Literal["adamw", "adafactor", "muon"]
ScheduleName = Literal["constant", "linear", "cosine", "slanted_triangular", "inverse_root", "wsd"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights are updated.

    Args:
        name: `adamw`; `adafactor`, T5's own, which scales a step by the size of what it changes; `muon` for the
            matrices within Blocks, AdamW for everything else.
        learning_rate: its greatest value.
        betas: AdamW's decay rates of the averages.
        epsilon: AdamW's.
        weight_decay: of matrices; norms and biases have none.
        decay_embeddings: whether token and position tables count as matrices there.
        schedule: `constant`; `linear` or `cosine` down to the end of the budget; `wsd`, constant and then linear down
            over the last `decay` of it; `inverse_root`, T5's: flat for the warmup (no rise), then with 1/sqrt(step);
            `slanted_triangular`, ULMFiT's (Howard & Ruder 2018, 3.2): up from `min_lr_ratio` and down to it, linearly.
        warmup: linear rise: steps, or, below 1, a share of the budget.
        decay: share of the budget over which `wsd` goes down.
        min_lr_ratio: the last learning rate, as a share of the greatest.
        max_grad_norm: greatest norm of the gradient; null for none.
        ema_decay: keeps an exponential moving average of the weights with this decay, such as 0.9999, which is
            validated, evaluated and exported in their place; by default none.

    Raises:
        UserError: where a value is outside its range.
    """

    name: OptimizerName = "adamw"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    decay_embeddings: bool = True
    schedule: ScheduleName = "cosine"
    warmup: float = 0.05
    decay: float = 0.2
    min_lr_ratio: float = 0.1
    max_grad_norm: float | None = 1.0
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        check_ranges("optimizer.", RANGES, vars(self))

    def warmup_steps(self, total: float) -> float:
        """Steps of the warmup in a run of `total`."""
        return self.warmup if self.warmup >= 1 else self.warmup * total

    def check_warmup(self, total: int) -> None:
        """Raises UserError where the warmup would not end before a run of `total` steps does."""
        if self.schedule not in ("constant", "inverse_root") and self.warmup_steps(total) >= total:
            raise UserError(
                f"optimizer.warmup = {self.warmup:g} steps must be below the run's {total:,}; a share of them, such "
                f"as 0.05, always is"
            )


def learning_rate_factor(config: OptimizerConfig, step: int, total: float) -> float:
    """The share of the greatest learning rate that update number `step` (from 0) of `total` uses."""
    warmup = config.warmup_steps(total)
    if config.schedule == "inverse_root":
        return math.sqrt(max(warmup, 1) / max(step, warmup, 1))
    if config.schedule == "slanted_triangular":
        rise, fall = step / max(warmup, 1), (total - step) / max(total - warmup, 1)
        return config.min_lr_ratio + (1 - config.min_lr_ratio) * max(min(rise, fall), 0.0)
    if step < warmup:
        return (step + 1) / max(warmup, step + 1)
    if config.schedule == "constant":
        return 1.0
    first = total * (1 - config.decay) if config.schedule == "wsd" else warmup
    done = min(max((step - first) / max(total - first, 1), 0.0), 1.0)
    if config.schedule == "cosine":
        return config.min_lr_ratio + (1 - config.min_lr_ratio) * (1 + math.cos(math.pi * done)) / 2
    return 1 - (1 - config.min_lr_ratio) * done


class SideBySide(Optimizer):
    """Two optimizers for two sets of parameters, as one: Lightning's own training loop steps just one."""

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts
        groups = [group for part in parts for group in part.param_groups]
        super().__init__(groups, {})
        self._share_groups()

    def _share_groups(self) -> None:
        """Makes the groups here the parts' own, so that a learning rate set here is set there."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update by each part; the closure, where there is one, is called once before."""
        result = called(closure)
        for part in self.parts:
            part.step()
        return result

    def state_dict(self) -> dict[str, Any]:
        """The parts' states under their numbers."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], tables: set[int], config: OptimizerConfig
) -> list[dict[str, Any]]:
    """Two groups, with and without weight decay, that hold every trainable parameter once.

    `tables` holds the ids of embedding matrices.
    """
    decayed, spared = [], []
    for _, parameter in named:
        if parameter.requires_grad:
            is_matrix = parameter.dim() >= 2 and (config.decay_embeddings or id(parameter) not in tables)
            (decayed if is_matrix else spared).append(parameter)
    groups = [(decayed, config.weight_decay), (spared, 0.0)]
    return [{"params": parameters, "weight_decay": decay} for parameters, decay in groups if parameters]


def _adamw(groups: list[dict[str, Any]], config: OptimizerConfig) -> Optimizer:
    """AdamW in one fused kernel, which torch has for CPU and CUDA alike."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    return AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.epsilon, fused=fused)


def make_optimizer(model: nn.Module, config: OptimizerConfig, groups: list[dict[str, Any]] | None = None) -> Optimizer:
    """The optimizer of all of a model's trainable parameters, or of groups of them with settings of their own.

    Raises:
        UserError: where the optimizer knows no such groups.
    """
    if groups is not None and config.name == "muon":
        raise UserError("optimizer.name = muon knows no layers with learning rates of their own: choose adamw")
    if groups is not None:
        return _adamw(groups, config) if config.name == "adamw" else Adafactor(groups, lr=config.learning_rate)
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    named = list(model.named_parameters())
    if config.name == "adamw":
        return _adamw(parameter_groups(named, tables, config), config)
    if config.name == "adafactor":
        return Adafactor(parameter_groups(named, tables, config), lr=config.learning_rate)
    hidden = [(name, parameter) for name, parameter in named if parameter.dim() == 2 and ".blocks." in name]
    others = [(name, parameter) for name, parameter in named if not (parameter.dim() == 2 and ".blocks." in name)]
    muon = BatchedMuon(
        [parameter for _, parameter in hidden if parameter.requires_grad],
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    return SideBySide(muon, _adamw(parameter_groups(others, tables, config), config))


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together, over every device that holds a part of them."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
