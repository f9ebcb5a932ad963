"""Examples, one window each, and batches of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from data.stream.windows import Window, Windows

IGNORE = -100  # the label of a position that has none; always computed from places, never from token identity
NOWHERE = -1  # the origin of a position that stands for no token of the window
EARLIER = -2  # the origin of a token that belongs to a document before the window's first


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One window as an objective sees it.

    Attributes:
        encoder_ids: int64[source_length], what the encoder reads.
        decoder_ids: int64[target_length], what the decoder reads.
        labels: for each loss term int64[length], what is to be said at each position of the stack that predicts (the
            decoder where there is one), IGNORE where nothing is.
        encoder_origins, decoder_origins: int64[length], the place in the window that a position stands for, or
            NOWHERE, or EARLIER; a mask stands for the first token it hides, and a position of a decoder that looks at
            an encoder for what is said there.
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


# What an objective does to text: pure numpy, run in the loader's workers. The windows are there for the one objective
# that reads a second run of text.
Corruption = Callable[[Window, np.random.Generator, Windows], Example]


class MaxLengths(NamedTuple):
    """Positions and targets of a full window: what an objective makes of W raw tokens, at most."""

    encoder: int
    decoder: int
    targets: int


class Labels(NamedTuple):
    """The labelled positions of a batch: `ids_N` is to be said at `positions_N`, indices into [B * length]."""

    positions_N: Tensor
    ids_N: Tensor


@dataclass(kw_only=True)
class Batch:
    """Examples side by side.

    Attributes:
        encoder_lengths_B, decoder_lengths_B: None where no row is padded.
        encoder_documents_BS, decoder_documents_BT: which document each position belongs to, from 1; 0 where positions
            of any document may look; None where documents are not kept apart.
        labels: the labelled positions of each loss term.
        indices: numbers of the windows.
        raw_tokens: tokens of the windows.
        step_counts: labels of each term in this process's part of the optimizer step, that of the tokens first.
        step_raw_tokens: raw tokens of that part.
    """

    encoder_ids_BS: Tensor | None = None
    encoder_lengths_B: Tensor | None = None
    encoder_documents_BS: Tensor | None = None
    segments_BS: Tensor | None = None
    decoder_ids_BT: Tensor | None = None
    decoder_lengths_B: Tensor | None = None
    decoder_documents_BT: Tensor | None = None
    labels: dict[str, Labels]
    indices: list[int]
    raw_tokens: int
    step_counts: dict[str, int] = field(default_factory=dict)
    step_raw_tokens: int = 0

    def counts(self) -> dict[str, int]:
        """Labels of each term in this batch alone."""
        return {term: len(labels.ids_N) for term, labels in self.labels.items()}

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        tensors = {name: change(value) for name, value in changed.items() if isinstance(value, Tensor)}
        labels = {term: Labels(*map(change, labels)) for term, labels in self.labels.items()}
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


def _rows(rows: Sequence[np.ndarray], width: int, padding: int) -> Tensor:
    """int64[B, width], the rows padded on the right."""
    array = np.full((len(rows), width), padding, dtype=np.int64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return torch.from_numpy(array)


def _padded_width(rows: Sequence[np.ndarray], limit: int, multiple: int = 16) -> int:
    """The length that rows are padded to: the longest, rounded up where lengths vary, so that few shapes occur."""
    longest = max(map(len, rows))
    if all(len(row) == longest for row in rows):
        return longest
    return max(longest, min(limit, -(-longest // multiple) * multiple))


def _labels(rows: Sequence[np.ndarray], width: int) -> Labels:
    """The labelled positions of rows that stand `width` apart."""
    positions = [row * width + np.flatnonzero(labels != IGNORE) for row, labels in enumerate(rows)]
    ids = [labels[labels != IGNORE] for labels in rows]
    return Labels(torch.from_numpy(np.concatenate(positions)), torch.from_numpy(np.concatenate(ids)))


def collate(
    windows: Sequence[Window],
    examples: Sequence[Example],
    *,
    pad: int,
    max_lengths: MaxLengths,
    keep_documents_apart: bool,
) -> Batch:
    """Examples, with the windows they were made of, as one batch."""
    arrays: dict[str, Tensor | None] = {}
    width = 0
    for stack, axes, limit in (("encoder", "BS", max_lengths.encoder), ("decoder", "BT", max_lengths.decoder)):
        rows = [ids for example in examples if (ids := getattr(example, f"{stack}_ids")) is not None]
        if not rows:
            continue
        width = _padded_width(rows, limit)
        arrays[f"{stack}_ids_{axes}"] = _rows(rows, width, pad)
        if any(len(row) < width for row in rows):
            arrays[f"{stack}_lengths_B"] = torch.tensor([len(row) for row in rows])
        if keep_documents_apart:
            origins = [getattr(example, f"{stack}_origins") for example in examples]
            documents = [documents_of(window, origin) for window, origin in zip(windows, origins, strict=True)]
            arrays[f"{stack}_documents_{axes}"] = _rows(documents, width, 0)
    segments = [example.segments for example in examples if example.segments is not None]
    if segments:
        arrays["segments_BS"] = _rows(segments, width, 0)
    terms = dict.fromkeys(term for example in examples for term in example.labels)
    return Batch(
        **arrays,  # pyright: ignore[reportArgumentType]
        labels={term: _labels([example.labels[term] for example in examples], width) for term in terms},
        indices=[window.index for window in windows],
        raw_tokens=sum(map(len, windows)),
    )
