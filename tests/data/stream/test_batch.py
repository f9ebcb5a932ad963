"""Batches: padding behind, labels by place, shapes that repeat."""

import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.stream.batch import EARLIER, IGNORE, NOWHERE, Batch, Example, Labels, MaxLengths
from data.stream.collate import collate, documents_of
from data.stream.windows import TokensInMemory, Window, Windows

PAD = 0
MAX_LENGTHS = MaxLengths(encoder=64, decoder=40, targets=64)
label_rows = st.lists(st.lists(st.sampled_from([None, PAD, 5, 6]), min_size=1, max_size=40), min_size=1, max_size=5)


def some_windows(number: int) -> list[Window]:
    text = TokensInMemory.of([[[1, 2, 3], [4, 5]], [[6, 7, 8, 9]], [[10] * 30]])
    windows = Windows(text, length=6, end_token=99)
    return [windows[index] for index in range(number)]


def batch_of(examples: list[Example], max_lengths: MaxLengths = MAX_LENGTHS, apart: bool = False) -> Batch:
    windows = some_windows(len(examples))
    return collate(windows, examples, pad=PAD, max_lengths=max_lengths, keep_documents_apart=apart)


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def present(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor


def test_rows_of_one_length_are_not_padded() -> None:
    batch = batch_of([Example(encoder_ids=ids(1, 2, 3), token_term="t", labels={"t": ids(IGNORE, 2, IGNORE)})] * 2)
    assert present(batch.encoder_ids_BS).tolist() == [[1, 2, 3]] * 2
    assert batch.encoder_lengths_B is None
    assert batch.decoder_ids_BT is batch.decoder_lengths_B is batch.encoder_documents_BS is batch.segments_BS is None


def test_shorter_rows_are_padded_behind_and_their_lengths_kept() -> None:
    batch = batch_of(
        [Example(encoder_ids=ids(*range(1, n + 1)), token_term="t", labels={"t": ids(*[7] * n)}) for n in (3, 20)]
    )
    assert present(batch.encoder_ids_BS).shape == (2, 32)
    assert present(batch.encoder_ids_BS)[0].tolist() == [1, 2, 3] + [PAD] * 29
    assert present(batch.encoder_lengths_B).tolist() == [3, 20]


def test_lengths_are_kept_where_one_row_is_as_wide_as_the_batch() -> None:
    rows = [Example(encoder_ids=ids(*[1] * n), token_term="t", labels={"t": ids(*[7] * n)}) for n in (3, 16)]
    assert present(batch_of(rows).encoder_lengths_B).tolist() == [3, 16]


@given(lengths=st.lists(st.integers(1, 70), min_size=1, max_size=6), limit=st.integers(1, 70))
@settings(deadline=None, derandomize=True)
def test_widths_are_multiples_of_sixteen_or_the_most_there_can_be(lengths: list[int], limit: int) -> None:
    examples = [Example(encoder_ids=ids(*[1] * n), token_term="t", labels={"t": ids(*[1] * n)}) for n in lengths]
    width = present(batch_of(examples, max_lengths=MaxLengths(limit, limit, limit)).encoder_ids_BS).shape[1]
    longest = max(lengths)
    assert width >= longest
    if len(set(lengths)) == 1:
        assert width == longest
    else:
        assert width % 16 == 0 or width == max(limit, longest)
        assert width < longest + 16


@given(rows=label_rows)
@settings(deadline=None, derandomize=True)
def test_labels_stand_where_their_rows_say_though_a_label_equals_the_padding(rows: list[list[int | None]]) -> None:
    labels = [[IGNORE if label is None else label for label in row] for row in rows]
    batch = batch_of(
        [Example(encoder_ids=ids(*[1] * len(row)), token_term="t", labels={"t": ids(*row)}) for row in labels]
    )
    width = present(batch.encoder_ids_BS).shape[1]
    grid = torch.full((len(rows) * width,), IGNORE)
    grid[batch.labels["t"].positions_N] = batch.labels["t"].ids_N
    padded = [row + [IGNORE] * (width - len(row)) for row in labels]
    assert grid.view(len(rows), width).tolist() == padded
    assert batch.divisors() == {"t": sum(label is not None for row in rows for label in row)}


def test_with_two_stacks_labels_stand_at_places_of_the_decoder() -> None:
    examples = [
        Example(encoder_ids=ids(*[1] * 50), decoder_ids=ids(1, 2), token_term="t", labels={"t": ids(2, 3)}),
        Example(encoder_ids=ids(*[1] * 30), decoder_ids=ids(1), token_term="t", labels={"t": ids(4)}),
    ]
    batch = batch_of(examples)
    assert present(batch.encoder_ids_BS).shape == (2, 64)
    assert present(batch.decoder_ids_BT).shape == (2, 16)
    assert present(batch.encoder_lengths_B).tolist() == [50, 30]
    assert present(batch.decoder_lengths_B).tolist() == [2, 1]
    assert batch.labels["t"].positions_N.tolist() == [0, 1, 16]
    assert batch.labels["t"].ids_N.tolist() == [2, 3, 4]


def test_every_term_has_its_labels_and_an_empty_one_is_there_too() -> None:
    labels = {"first": ids(IGNORE, 3), "second": ids(IGNORE, IGNORE)}
    batch = batch_of([Example(encoder_ids=ids(1, 2), labels=labels, token_term="first")] * 2)
    assert batch.divisors() == {"first": 2, "second": 0}
    assert batch.labels["second"].ids_N.dtype == torch.int64


def weighted(**more: Any) -> Example:
    """Three positions, two of them with a label, a weight and a draw."""
    values = np.array([0.25, 0.5, 0.75], dtype=np.float32)
    by_term: dict[str, Any] = {"weights": {"t": values}, "draws": {"t": 1 - values}, "divisors": {"t": 3.0}}
    return Example(encoder_ids=ids(1, 2, 3), token_term="t", labels={"t": ids(7, IGNORE, 8)}, **by_term, **more)


def test_weights_and_draws_go_with_the_labels_and_the_divisor_is_the_terms_own() -> None:
    batch = batch_of([weighted(), weighted()])
    labels = batch.labels["t"]
    assert present(labels.weights_N).tolist() == [0.25, 0.75] * 2
    assert present(labels.draws_N).tolist() == [0.75, 0.25] * 2
    assert present(labels.weights_N).dtype == present(labels.draws_N).dtype == torch.float32
    assert (batch.divisors(), batch.target_tokens) == ({"t": 6.0}, 4)


def test_a_blank_example_adds_nothing_to_any_sum() -> None:
    batch = batch_of([weighted(), weighted().blank()])
    assert batch.labels["t"].ids_N.tolist() == [7, 8]
    assert present(batch.labels["t"].draws_N).tolist() == [0.75, 0.25]
    assert (batch.divisors(), batch.target_tokens) == ({"t": 3.0}, 2)


def test_a_batch_knows_its_windows_and_their_tokens() -> None:
    batch = batch_of([Example(encoder_ids=ids(1), token_term="t", labels={"t": ids(1)})] * 3)
    assert batch.indices == [0, 1, 2]
    assert batch.raw_tokens == 18


def test_positions_belong_to_the_documents_of_the_tokens_they_stand_for() -> None:
    window = some_windows(1)[0]  # five tokens of the first document, one of the second
    origins = ids(0, 4, 5, NOWHERE, 5, EARLIER, 0)
    assert documents_of(window, origins).tolist() == [1, 1, 2, 0, 2, -1, 1]
    second = some_windows(2)[1]  # begins in the second document
    assert documents_of(second, ids(0, 2, 3)).tolist() == [1, 1, 2]
    last = Windows(TokensInMemory.of([[[1]]]), length=6, end_token=99)[0]
    assert documents_of(last, ids(NOWHERE, EARLIER, 0)).tolist() == [0, -1, 1]


def test_documents_and_segments_are_padded_with_zeros() -> None:
    none: dict[str, Any] = {"labels": {}, "token_term": "t"}
    examples = [
        Example(encoder_ids=ids(1, 2, 3), encoder_origins=ids(NOWHERE, 0, 5), segments=ids(0, 1, 1), **none),
        Example(encoder_ids=ids(1, 2), encoder_origins=ids(0, 1), segments=ids(1, 1), **none),
    ]
    batch = batch_of(examples, apart=True)
    assert present(batch.encoder_documents_BS)[:, :4].tolist() == [[0, 1, 2, 0], [1, 1, 0, 0]]
    assert present(batch.segments_BS)[:, :4].tolist() == [[0, 1, 1, 0], [1, 1, 0, 0]]
    assert present(batch.encoder_documents_BS).shape == present(batch.segments_BS).shape == (2, 16)


def tensors_of(batch: Batch) -> list[torch.Tensor]:
    own = [value for value in vars(batch).values() if isinstance(value, torch.Tensor)]
    return own + [one for labels in batch.labels.values() for one in labels if isinstance(one, torch.Tensor)]


def full_batch() -> Batch:
    values: dict[str, Any] = {"decoder_ids": ids(1, 2), "decoder_origins": ids(0, 1), "segments": ids(0, 1)}
    first = Example(encoder_ids=ids(1, 2), encoder_origins=ids(0, 1), token_term="t", labels={"t": ids(1, 2)}, **values)
    second = Example(encoder_ids=ids(1), encoder_origins=ids(0), token_term="t", labels={"t": ids(1, 2)}, **values)
    batch = batch_of([first, second], apart=True)
    batch.step_divisors, batch.step_raw_tokens = {"t": 9}, 99
    return batch


def test_a_batch_goes_to_a_device_with_all_its_tensors_and_keeps_the_rest() -> None:
    batch = full_batch()
    moved = batch.to(torch.device("meta"))
    assert len(tensors_of(moved)) == len(tensors_of(batch)) == 8
    assert {tensor.device.type for tensor in tensors_of(moved)} == {"meta"}
    assert {tensor.device.type for tensor in tensors_of(batch)} == {"cpu"}
    assert isinstance(moved.labels["t"], Labels)
    assert (moved.indices, moved.raw_tokens, moved.step_divisors, moved.step_raw_tokens) == ([0, 1], 12, {"t": 9}, 99)
    assert moved.decoder_lengths_B is None


def test_a_batch_comes_out_of_a_workers_pipe_as_it_was_and_needs_no_shared_file() -> None:
    batch = full_batch()
    sent = bytes(ForkingPickler.dumps(batch))
    assert b"rebuild_storage" not in sent
    found = pickle.loads(sent)
    assert len(tensors_of(found)) == len(tensors_of(batch)) == 8
    for one, other in zip(tensors_of(found), tensors_of(batch), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    one = tensors_of(found)[0]
    one += 1  # memory of its own, that can be written to
    assert not torch.equal(one, tensors_of(batch)[0])
    kept = ("indices", "raw_tokens", "step_divisors", "step_raw_tokens", "token_term", "decoder_lengths_B", "measures")
    assert [getattr(found, name) for name in kept] == [getattr(batch, name) for name in kept]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_all_tensors_of_a_batch_can_be_pinned() -> None:
    pinned = full_batch().pin_memory()
    assert all(tensor.is_pinned() for tensor in tensors_of(pinned))
