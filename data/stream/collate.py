"""Rows side by side: the one collator of pretraining and fine-tuning."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.stream.batch import EARLIER, Batch, BatchRow, Example, Labels, MaxLengths, PlacedLabels
from data.stream.windows import Window


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
    weights: list[np.ndarray] = []
    if any(one.weights is not None for one in placed):  # of an objective that weights nothing each label counts once
        ones = (np.ones(len(one.labels), dtype=np.float32) for one in placed)
        weights = [one if row.weights is None else row.weights for one, row in zip(ones, placed, strict=True)]
    draws = [one.draws for one in placed if one.draws is not None]
    return Labels(
        positions_N=torch.from_numpy(np.concatenate(positions)),
        ids_N=torch.from_numpy(np.concatenate([one.labels for one in placed])),
        divisor=sum(one.divisor for one in placed),
        weights_N=torch.from_numpy(np.concatenate(weights)) if weights else None,
        draws_N=torch.from_numpy(np.concatenate(draws)) if draws else None,
    )


def side_by_side(
    rows: Sequence[BatchRow],
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
            arrays[f"{stack}_lengths_B"] = torch.tensor([len(row) for row in ids], device="cpu")
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


def _of_examples(batch: Batch, examples: Sequence[Example]) -> dict[str, Any]:
    """What pretraining's examples have beside rows and labels."""
    ids = batch.encoder_ids_BS if batch.decoder_ids_BT is None else batch.decoder_ids_BT
    assert ids is not None
    prefixes = [np.zeros(0) if example.prefixes is None else example.prefixes for example in examples]
    names = dict.fromkeys(name for example in examples for name in example.measures)
    members = [example.member for example in examples if example.member is not None]
    return {
        "prefixes": _stacked(prefixes, ids.shape[1], 0) if any(row.any() for row in prefixes) else None,
        "members_B": torch.tensor(members, device="cpu") if members else None,
        "measures": {
            name: torch.tensor([one.measures[name] for one in examples if name in one.measures], device="cpu")
            for name in names
        },
    }


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
    batch = replace(batch, **_of_examples(batch, examples))
    is_apart = [keep_documents_apart or example.is_apart for example in examples]
    if not any(is_apart):
        return batch
    documents = {}
    for stack, axes in (("encoder", "BS"), ("decoder", "BT")):
        ids = getattr(batch, f"{stack}_ids_{axes}")
        if ids is not None:
            origins = [getattr(example, f"{stack}_origins") for example in examples]
            rows = [
                documents_of(window, origin) if apart else np.zeros(len(origin))  # 0: no document, all are seen
                for window, origin, apart in zip(windows, origins, is_apart, strict=True)
            ]
            documents[f"{stack}_documents_{axes}"] = _stacked(rows, ids.shape[1], 0)
    return replace(batch, **documents)
