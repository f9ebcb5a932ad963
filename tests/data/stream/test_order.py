"""Order and noise: pure functions of seed, epoch and index."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.stream.order import BLOCK, Permutation, Purpose, generator, order_sha256, windows_at

sizes = st.integers(1, 3_000) | st.sampled_from([4**k + shift for k in range(1, 7) for shift in (-1, 0, 1)])


@given(size=sizes, seed=st.integers(-(2**63), 2**63), epoch=st.integers(0, 2**40))
@settings(deadline=None, derandomize=True)
def test_a_permutation_holds_every_place_once(size: int, seed: int, epoch: int) -> None:
    order = Permutation(size, seed=seed, epoch=epoch)(np.arange(size))
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(size))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    places = np.arange(500)
    orders = [Permutation(500, seed=seed, epoch=epoch)(places) for seed in range(4) for epoch in range(4)]
    assert len({order.tobytes() for order in orders}) == 16
    assert np.array_equal(orders[6], Permutation(500, seed=1, epoch=2)(places))
    assert not any(np.array_equal(order, places) for order in orders)


@pytest.mark.parametrize("size", [1, 10, 4**4 + 1])
def test_places_are_mapped_alike_one_by_one_and_together(size: int) -> None:
    permutation = Permutation(size, seed=3, epoch=1)
    together = permutation(np.arange(size))
    for kind in (np.int64, np.uint16, np.array):
        assert [int(permutation(kind(place))) for place in range(size)] == together.tolist()
    square = np.arange(size).reshape(-1, 1)
    assert np.array_equal(permutation(square), together.reshape(-1, 1))
    assert permutation(np.arange(0)).shape == (0,)


@given(
    size=st.sampled_from([1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]), seed=st.integers(0, 99), data=st.data()
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_a_position_is_a_place_of_the_order_of_its_epoch(size: int, seed: int, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, 4 * size), max_size=20))
    orders = [Permutation(size, seed=seed, epoch=epoch)(np.arange(size)).tolist() for epoch in range(5)]
    found = windows_at(np.array(positions, dtype=np.int64), size, seed=seed)
    assert found == [(position // size, orders[position // size][position % size]) for position in positions]


def test_the_places_given_are_left_as_they_were() -> None:
    places = np.arange(10, dtype=np.uint64)
    Permutation(10, seed=0, epoch=0)(places)
    assert places.tolist() == list(range(10))


def test_a_permutation_serves_a_billion_windows() -> None:
    size = 10**9
    permutation = Permutation(size, seed=0, epoch=0)
    places = np.unique(np.concatenate([np.arange(100_000), np.arange(size - 100_000, size), np.arange(0, size, 9_973)]))
    order = permutation(places)
    assert order.min() >= 0
    assert order.max() < size
    assert len(np.unique(order)) == len(places)


def test_every_place_is_as_likely_as_any_other() -> None:
    """Chi-squared of where the first, a middle and the last place go, over seeds: about its degrees of freedom."""
    size, draws = 10, 4_000
    orders = np.stack([Permutation(size, seed=seed, epoch=0)(np.array([0, 4, 9])) for seed in range(draws)])
    for column in orders.T:
        counts = np.bincount(column, minlength=size)
        assert ((counts - draws / size) ** 2 / (draws / size)).sum() < 30  # p < 0.0005 at 9 degrees of freedom


def test_neighbours_do_not_stay_neighbours() -> None:
    size = 5_000
    order = Permutation(size, seed=0, epoch=0)(np.arange(size))
    assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 0.05
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.05
    assert (np.abs(np.diff(order)) == 1).mean() < 0.005


KEYS = st.tuples(
    st.integers(0, 3), st.sampled_from(Purpose), st.sampled_from([0, 1, 2**33]), st.sampled_from([0, 1, 2, 10**9])
)


def draw(key: tuple[int, Purpose, int, int]) -> list[int]:
    return generator(*key).integers(0, 2**63, 4).tolist()


@given(first=KEYS, second=KEYS)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_streams_are_the_same_where_all_keys_are_and_differ_where_one_does(
    first: tuple[int, Purpose, int, int], second: tuple[int, Purpose, int, int]
) -> None:
    assert (draw(first) == draw(second)) is (first == second)


def test_the_stream_of_a_window_does_not_run_into_the_next() -> None:
    long = generator(0, Purpose.NOISE, 0, 5).integers(0, 2**63, 50_000)
    following = generator(0, Purpose.NOISE, 0, 6).integers(0, 2**63, 4)
    assert not np.isin(following, long).any()


@given(size=st.integers(1, 40), consumed=st.integers(0, 90), chunk=st.integers(1, 50), seed=st.integers(0, 9))
@settings(deadline=None, derandomize=True)
def test_the_hash_of_an_order_is_that_of_the_windows_read_one_by_one(
    size: int, consumed: int, chunk: int, seed: int
) -> None:
    orders = [Permutation(size, seed=seed, epoch=epoch) for epoch in range(consumed // size + 1)]
    read = [int(orders[place // size](np.int64(place % size))) for place in range(consumed)]
    expected = hashlib.sha256(np.array(read, dtype="<i8").tobytes()).hexdigest()
    assert order_sha256(size, seed=seed, consumed=consumed, chunk=chunk) == expected
