"""Examples, one window each, and batches of them.

Everything that a loss needs travels with the example, by loss term: labels, their weights, what their sum is divided
by, and uniform random numbers for objectives that sample on the device.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from data.stream.windows import Window, Windows

IGNORE = -100  # the label of a position that has none; always computed from places, never from token identity
NOWHERE = -1  # the origin of a position that stands for no token of the window
EARLIER = -2  # the origin of a token that belongs to a document before the window's first


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


class Row(Protocol):
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
    """

    encoder_ids: np.ndarray | None = None
    encoder_origins: np.ndarray | None = None
    decoder_ids: np.ndarray | None = None
    decoder_origins: np.ndarray | None = None
    segments: np.ndarray | None = None
    order: np.ndarray | None = None
    labels: dict[str, np.ndarray]
    token_term: str
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    divisors: dict[str, float] = field(default_factory=dict)
    draws: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def token_labels(self) -> np.ndarray:
        """int64[length], the labels of `token_term`."""
        return self.labels[self.token_term]

    def blank(self) -> Self:
        """The same without labels: it fills a batch up, and adds nothing to any sum."""
        labels = {term: np.full_like(labels, IGNORE) for term, labels in self.labels.items()}
        return replace(self, labels=labels, divisors=dict.fromkeys(self.divisors, 0.0))

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

    def map(self, change: Callable[[Tensor], Tensor]) -> "Labels":
        """The same with every tensor changed, such as moved to a device."""
        tensors = {name: change(value) for name, value in self._asdict().items() if isinstance(value, Tensor)}
        return self._replace(**tensors)


@dataclass(kw_only=True)
class Batch:
    """Rows side by side.

    Attributes:
        encoder_lengths_B, decoder_lengths_B: None where no row is padded.
        encoder_documents_BS, decoder_documents_BT: which document each position belongs to, from 1; 0 where positions
            of any document may look; None where documents are not kept apart.
        is_causal: whether a sole stack looks to the left alone; by default a decoder does and an encoder does not.
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

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        tensors = {name: change(value) for name, value in changed.items() if isinstance(value, Tensor)}
        labels = {term: labels.map(change) for term, labels in self.labels.items()}
        return type(self)(**{**changed, **tensors, "labels": labels})

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The batch on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch in memory that a GPU can fetch from by itself."""
        return self._map(lambda tensor: tensor.pin_memory())


def documents_of(window: Window, origins: np.ndarray) -> np.ndarray:
    """int64[length], the document of each position, counted from 1 within the window; 0 where it has none."""
    documents = window.documents() - window.first_document + 1
    return np.where(origins >= 0, documents[np.maximum(origins, 0)], np.where(origins == EARLIER, -1, 0))


def _stacked(rows: Sequence[np.ndarray], width: int, padding: int) -> Tensor:
    """int64[B, width], the rows padded on the right."""
    array = np.full((len(rows), width), padding, dtype=np.int64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return torch.from_numpy(array)


def longest(rows: Sequence[np.ndarray], _stack: str) -> int:
    """The width of a stack that is as wide as its longest row."""
    return max(map(len, rows))


def _labels(placed: Sequence[PlacedLabels], width: int) -> Labels:
    """The labels of a term in rows that stand `width` apart."""
    positions = [row * width + one.positions for row, one in enumerate(placed)]
    weights = [one.weights for one in placed if one.weights is not None]
    draws = [one.draws for one in placed if one.draws is not None]
    return Labels(
        positions_N=torch.from_numpy(np.concatenate(positions)),
        ids_N=torch.from_numpy(np.concatenate([one.labels for one in placed])),
        divisor=sum(one.divisor for one in placed),
        weights_N=torch.from_numpy(np.concatenate(weights)) if weights else None,
        draws_N=torch.from_numpy(np.concatenate(draws)) if draws else None,
    )


def side_by_side(
    rows: Sequence[Row],
    *,
    pad: int,
    indices: list[int],
    raw_tokens: int,
    width_of: Callable[[Sequence[np.ndarray], str], int] = longest,
) -> Batch:
    """Rows as one batch: the one collator of pretraining and fine-tuning.

    Labels are counted through the stack that predicts: the decoder where there is one.

    Args:
        rows: all of them with the same stacks and terms.
        pad: id that fills the rows up on the right.
        indices: of the batch.
        raw_tokens: of the batch.
        width_of: the width of a stack ("encoder" or "decoder") from the ids of its rows.
    """
    arrays: dict[str, Tensor | None] = {}
    width = 0
    for stack, axes in (("encoder", "BS"), ("decoder", "BT")):
        ids = [found for row in rows if (found := getattr(row, f"{stack}_ids")) is not None]
        if not ids:
            continue
        width = width_of(ids, stack)
        arrays[f"{stack}_ids_{axes}"] = _stacked(ids, width, pad)
        if any(len(row) < width for row in ids):
            arrays[f"{stack}_lengths_B"] = torch.tensor([len(row) for row in ids])
    if segments := [row.segments for row in rows if row.segments is not None]:
        read = arrays.get("encoder_ids_BS", arrays.get("decoder_ids_BT"))
        assert read is not None
        arrays["segments_BS"] = _stacked(segments, read.shape[1], 0)
    placed = [row.placed() for row in rows]
    return Batch(
        **arrays,  # pyright: ignore[reportArgumentType]
        labels={term: _labels([row[term] for row in placed], width) for term in placed[0]},
        token_term=rows[0].token_term,
        indices=indices,
        raw_tokens=raw_tokens,
    )


def collate(
    windows: Sequence[Window],
    examples: Sequence[Example],
    *,
    pad: int,
    max_lengths: MaxLengths,
    keep_documents_apart: bool,
) -> Batch:
    """Examples, with the windows they were made of, as one batch; where lengths vary, few widths occur."""

    def width_of(rows: Sequence[np.ndarray], stack: str, multiple: int = 16) -> int:
        most, limit = longest(rows, stack), getattr(max_lengths, stack)
        if all(len(row) == most for row in rows):
            return most
        return max(most, min(limit, -(-most // multiple) * multiple))

    batch = side_by_side(
        examples,
        pad=pad,
        indices=[window.index for window in windows],
        raw_tokens=sum(map(len, windows)),
        width_of=width_of,
    )
    if not keep_documents_apart:
        return batch
    documents = {}
    for stack, axes in (("encoder", "BS"), ("decoder", "BT")):
        ids = getattr(batch, f"{stack}_ids_{axes}")
        if ids is not None:
            origins = [getattr(example, f"{stack}_origins") for example in examples]
            rows = [documents_of(window, origin) for window, origin in zip(windows, origins, strict=True)]
            documents[f"{stack}_documents_{axes}"] = _stacked(rows, ids.shape[1], 0)
    return replace(batch, **documents)
