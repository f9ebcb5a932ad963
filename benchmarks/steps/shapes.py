"""The shapes at which steps are measured: those of configs/shapes/, and one of seconds for the tests."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from common.repository import REPOSITORY

MEASURED = ("tiny", "nano", "mini", "small", "base")  # smallest first
TWO_STACKS = ("denoising", "span_corruption")


@dataclass(frozen=True, kw_only=True)
class BenchmarkShape:
    """What both sides of a comparison have in common.

    Attributes:
        width, layers, num_heads: of each stack; the feed-forward of a family is four times as wide.
        vocab_size: rows of the embeddings; the text itself may hold fewer ids.
        window: raw tokens of a window.
        batch_size: windows of a step.
    """

    width: int
    layers: int
    num_heads: int
    vocab_size: int
    window: int
    batch_size: int

    @property
    def inner(self) -> int:
        return 4 * self.width

    def blocks(self, objective: str) -> tuple[int, ...]:
        """The layers of each stack."""
        return (self.layers, self.layers) if objective in TWO_STACKS else (self.layers,)


@cache
def shape_named(name: str) -> BenchmarkShape:
    """The shape of a name; one of several micro-batches is measured at one of them."""
    if name == "tiny":
        return BenchmarkShape(width=32, layers=2, num_heads=2, vocab_size=512, window=32, batch_size=4)
    config: dict[str, Any] = yaml.safe_load((REPOSITORY / f"configs/shapes/{name}.yaml").read_text(encoding="utf-8"))
    body, data = config["body"], config["data"]
    return BenchmarkShape(
        width=body["width"],
        layers=body["layers"],
        num_heads=body["num_heads"],
        vocab_size=data["vocab_size"],
        window=data["window"],
        batch_size=data["micro_batch_size"] or data["batch_size"],
    )
