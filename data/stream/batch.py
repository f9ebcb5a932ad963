"""Examples, one window each, and batches of them.

Everything that a loss needs travels with the example, by loss term: labels, their weights, what their sum is divided
by, and uniform random numbers for objectives that sample on the device.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from data.stream.windows import Window, Windows

IGNORE = -100  # the label of a position that has none; always computed from places, never from token identity
NOWHERE = -1  # the origin of a position that stands for no token of the window
EARLIER = -2  # the origin of a token that belongs to a document before the window's first


def widest(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device: float64, which Apple's GPUs lack."""
    return torch.float32 if device.type == "mps" else torch.float64


class PlacedLabels(NamedTuple):
    """The labels of one term in one row of a batch.

    Attributes:
        positions: int64[n], in the stack that predicts.
        labels: [n] or [n, classes].
        divisor: what the sum of the losses is divided by, once it is summed over the optimizer step.
        weights, draws: float32[n], or None.
    """

    positions: np.ndarray
    labels: np.ndarray
    divisor: float
    weights: np.ndarray | None = None
    draws: np.ndarray | None = None


class BatchRow(Protocol):
    """What a row of a batch is made of, in pretraining and in fine-tuning."""

    @property
    def encoder_ids(self) -> np.ndarray | None: ...
    @property
    def decoder_ids(self) -> np.ndarray | None: ...
    @property
    def segments(self) -> np.ndarray | None: ...
    @property
    def token_term(self) -> str: ...
    def placed(self) -> Mapping[str, PlacedLabels]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One window as an objective reads it.

    Attributes:
        encoder_ids: int64[source_length], what the encoder reads.
        decoder_ids: int64[target_length], what the decoder reads.
        labels: for each loss term int64[length], the target at each position of the stack that predicts (the decoder
            where there is one), IGNORE where there is none.
        token_term: the term whose labels are tokens; it measures the target tokens of a budget.
        weights: float32[length] for the terms whose losses are weighted.
        divisors: for the terms whose sum is divided by something else than the number of their labels.
        draws: float32[length] in [0, 1) for the terms that sample on the device, so that what they sample follows
            from the window's key whatever the devices and micro-batches.
        encoder_origins, decoder_origins: int64[length], the place in the window that a position stands for, or
            NOWHERE, or EARLIER; a mask stands for the first token it hides, and a position of a decoder that looks at
            an encoder for its target.
        segments: int64[source_length], 0 or 1 (BERT's token types).
        order: int64[window], where tokens changed places: the places in the order they were in before any was hidden.
        prefixes: int64[length], where the stack that predicts is causal but for prefixes: the number of the prefix that
            each of its positions belongs to, 0 for none (`models.body.Inputs`).
        is_apart: whether its documents are kept apart though the objective's other examples' are not.
        member: which of several objectives made this example, by number.
        measures: numbers of this example that are logged as means, by name.
    """

    encoder_ids: np.ndarray | None = None
    encoder_origins: np.ndarray | None = None
    decoder_ids: np.ndarray | None = None
    decoder_origins: np.ndarray | None = None
    segments: np.ndarray | None = None
    order: np.ndarray | None = None
    prefixes: np.ndarray | None = None
    is_apart: bool = False
    member: int | None = None
    labels: dict[str, np.ndarray]
    token_term: str
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    divisors: dict[str, float] = field(default_factory=dict)
    draws: dict[str, np.ndarray] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)

    @property
    def token_labels(self) -> np.ndarray:
        """int64[length], the labels of `token_term`."""
        return self.labels[self.token_term]

    def blank(self) -> Self:
        """The same without labels: it fills a batch up, and adds nothing to any sum."""
        labels = {term: np.full_like(labels, IGNORE) for term, labels in self.labels.items()}
        return replace(self, labels=labels, divisors=dict.fromkeys(self.divisors, 0.0), measures={})

    def placed(self) -> dict[str, PlacedLabels]:
        """The labelled positions of each term."""
        found = {}
        for term, labels in self.labels.items():
            positions = np.flatnonzero(labels != IGNORE)
            weights, draws = (
                None if (values := by_term.get(term)) is None else values[positions].astype(np.float32)
                for by_term in (self.weights, self.draws)
            )
            divisor = self.divisors.get(term, float(len(positions)))
            found[term] = PlacedLabels(positions, labels[positions], divisor, weights, draws)
        return found


# What an objective does to text: pure numpy, run in the loader's workers. The windows are there for the one objective
# that reads a second run of text.
Corruption = Callable[[Window, np.random.Generator, Windows], Example]


class MaxLengths(NamedTuple):
    """Positions and targets of a full window: what an objective makes of W raw tokens, at most."""

    encoder: int
    decoder: int
    targets: int


class Labels(NamedTuple):
    """The labels of one term in a batch.

    Attributes:
        positions_N: indices into [B * length].
        ids_N: the target at each.
        divisor: what the sum of the losses of these rows adds to the divisor of the optimizer step.
        weights_N, draws_N: float32, or None.
    """

    positions_N: Tensor
    ids_N: Tensor
    divisor: float
    weights_N: Tensor | None = None
    draws_N: Tensor | None = None

    def map(self, change: Callable[[Any], Any], kind: type = Tensor) -> "Labels":
        """The same with every tensor, or whatever is of that kind, changed, such as moved to a device."""
        tensors = {name: change(value) for name, value in self._asdict().items() if isinstance(value, kind)}
        return self._replace(**tensors)


@dataclass(kw_only=True)
class Batch:
    """Rows side by side.

    Attributes:
        encoder_lengths_B, decoder_lengths_B: None where no row is padded.
        encoder_documents_BS, decoder_documents_BT: which document each position belongs to, from 1; 0 where positions
            of any document may look; None where documents are not kept apart.
        is_causal: whether a sole stack looks to the left alone; by default a decoder does and an encoder does not.
        prefixes: [B, length], of the stack that predicts, the number of the prefix of each position, 0 for none.
        members_B: which of several objectives made each row; None where there is one.
        measures: [rows that have it], numbers of the examples by name.
        labels: the labelled positions of each loss term.
        token_term: the term whose labels are tokens.
        indices: numbers of the windows, or of the examples of a task.
        raw_tokens: tokens of the windows.
        step_divisors: of each term, summed over this process's part of the optimizer step.
        step_target_tokens, step_raw_tokens: labels of `token_term`, and raw tokens, of that part.
    """

    encoder_ids_BS: Tensor | None = None
    encoder_lengths_B: Tensor | None = None
    encoder_documents_BS: Tensor | None = None
    segments_BS: Tensor | None = None
    decoder_ids_BT: Tensor | None = None
    decoder_lengths_B: Tensor | None = None
    decoder_documents_BT: Tensor | None = None
    is_causal: bool | None = None
    prefixes: Tensor | None = None
    members_B: Tensor | None = None
    measures: dict[str, Tensor] = field(default_factory=dict)
    labels: dict[str, Labels]
    token_term: str
    indices: list[int]
    raw_tokens: int
    step_divisors: dict[str, float] = field(default_factory=dict)
    step_target_tokens: int = 0
    step_raw_tokens: int = 0

    def divisors(self) -> dict[str, float]:
        """Of each term, in this batch alone."""
        return {term: labels.divisor for term, labels in self.labels.items()}

    @property
    def target_tokens(self) -> int:
        """Labels of `token_term` in this batch alone."""
        return len(self.labels[self.token_term].ids_N)

    def _map(self, change: Callable[[Any], Any], kind: type = Tensor) -> Self:
        changed = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        tensors = {name: change(value) for name, value in changed.items() if isinstance(value, kind)}
        labels = {term: labels.map(change, kind) for term, labels in self.labels.items()}
        measures = {name: change(values) for name, values in self.measures.items()}
        return type(self)(**{**changed, **tensors, "labels": labels, "measures": measures})

    def __getstate__(self) -> dict[str, Any]:
        """For a worker's pipe: arrays by value, since a tensor goes by a shared file of its own, which takes longer."""
        return vars(self._map(lambda tensor: tensor.numpy()))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        vars(self).update(vars(self._map(torch.from_numpy, np.ndarray)))

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The batch on a device, float64 as float32 where the device has none."""

        def moved(tensor: Tensor) -> Tensor:
            tensor = tensor.to(widest(device)) if tensor.dtype == torch.float64 else tensor
            return tensor.to(device, non_blocking=non_blocking)

        return self._map(moved)

    def pin_memory(self) -> Self:
        """The batch in memory that a GPU can fetch from by itself."""
        return self._map(lambda tensor: tensor.pin_memory())
