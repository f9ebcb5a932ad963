"""The rows of each range of lengths, so that any metric can be had of the short ones and of the long ones."""

from collections.abc import Sequence
from itertools import pairwise


def range_names(edges: Sequence[int]) -> list[str]:
    """What the ranges are called that rising edges part: of 10 and 20, `up to 10`, `11 to 20` and `over 20`."""
    inner = [f"{low + 1} to {high}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]}", *inner, f"over {edges[-1]}"] if edges else []


def rows_by_length(lengths: Sequence[int], edges: Sequence[int]) -> dict[str, list[int]]:
    """The numbers of the rows in each range, by its name, the short ones first; a range without a row is left out.

    Every row is in one range, and a length that is an edge belongs to the range that ends with it.
    """
    names = range_names(edges)
    found: dict[str, list[int]] = {name: [] for name in names}
    for row, length in enumerate(lengths if names else ()):
        found[names[sum(length > edge for edge in edges)]].append(row)
    return {name: rows for name, rows in found.items() if rows}
