"""The kernels that a run computes with: what it began with, what the user set, or what is faster here.

Numbers are the same whatever the kernel, but for the last bits; so a run keeps what it began with.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_info

# The logits that a loss holds at once, by kind of device: 32 MB of float32 on a CPU, measured (docs/benchmarks.md); on
# CUDA 256 MB, whose products are still large.
LOGITS_AT_ONCE = {"cpu": 2**23, "cuda": 2**26}
LEAST_GAIN = 0.03  # that a kernel other than the first must be faster by


class AttentionSeconds(NamedTuple):
    """What a step's attentions take by each kernel: those under masks, and the plain ones; empty without a choice."""

    masked: Mapping[str, float]
    plain: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """What run.json keeps of them; the defaults are what runs had before there was a choice.

    Attributes:
        attention: under masks that are more than the causal one (`models.body.AttentionKernel`).
        plain: what SDPA tries first under the others: torch's own order, or cuDNN.
        logits_at_once: how many a loss in training holds; None for those of all positions.
    """

    attention: Literal["dense", "flex"] = "dense"
    plain: Literal["torch", "cudnn"] = "torch"
    logits_at_once: int | None = None

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Kernels":
        """Those that run.json records, or those from before it did."""
        return cls(**info.get("kernels", {}))

    def info(self) -> dict[str, Any]:
        """What `of` reads."""
        return {"kernels": asdict(self)}

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.info())

    @classmethod
    def from_json(cls, text: str) -> "Kernels":
        """What `to_json` wrote."""
        return cls.of(json.loads(text))

    def with_attention(self, setting: Literal["auto", "dense", "flex"]) -> "Kernels":
        """The same, with the one under masks that the user set."""
        return self if setting == "auto" else replace(self, attention=setting)


class HasKernels:
    """A model that a run computes by its kernels.

    Attributes:
        kernels: those of the run; without one, what there was before there was a choice.
    """

    kernels = Kernels()

    def attention_seconds(self, device: torch.device, dtype: torch.dtype, data: Any) -> AttentionSeconds:
        """What the attentions of a micro-batch take by each kernel, by the settings of the data."""
        return AttentionSeconds({}, {})


def fastest(seconds: Mapping[str, float], default: Any) -> Any:
    """The kernel that takes least, or the default where none is faster by `LEAST_GAIN`."""
    best = min(seconds, key=lambda kernel: seconds[kernel], default=default)
    return best if best != default and seconds[best] < (1 - LEAST_GAIN) * seconds[default] else default


def chosen(seconds: AttentionSeconds, device: torch.device, dtype: torch.dtype) -> Kernels:
    """The kernels of a run that begins, by what those of attention take; printed where there is a choice.

    Float16 has not the range for the gradient of a chunk's logits, which is taken before the loss is scaled.
    """
    found = Kernels(
        attention=fastest(seconds.masked, "dense"),
        plain=fastest(seconds.plain, "torch"),
        logits_at_once=None if dtype == torch.float16 else LOGITS_AT_ONCE.get(device.type),
    )
    choices = (("under masks", found.attention, seconds.masked), ("without", found.plain, seconds.plain))
    for where, kernel, took in choices:
        if took:
            times = ", ".join(f"{name} {1e3 * one:.2f}" for name, one in took.items())
            rank_zero_info(f"[machine] attention {where} {kernel}: of this run's sizes, milliseconds a step: {times}")
    return found


def of_run(
    info: Mapping[str, Any] | None, measure: Callable[[], AttentionSeconds], device: torch.device, dtype: torch.dtype
) -> str:
    """The kernels of a run as text: what run.json holds of the one that it goes on with, else what is chosen."""
    return (chosen(measure(), device, dtype) if info is None else Kernels.of(info)).to_json()
