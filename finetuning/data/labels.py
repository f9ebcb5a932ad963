"""Labels and their ids: names given or found in the training rows, and what to do with those never seen there."""

import difflib
from collections.abc import Sequence

import numpy as np

from common.errors import UserError
from finetuning.data.rows import DataWarnings, TextRow, TokenRow

UNSEEN = -1
_MOST_FREE = 20  # so many labels are labels, whatever the number of rows


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Names by the alphabet, numbers by their size."""
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def label_names(rows: Sequence[TextRow]) -> tuple[str, ...]:
    """The labels that occur in the training rows, in order: numbers by size, else by the alphabet.

    Raises:
        UserError: where there are fewer than two, or so many that the column can hold no labels.
    """
    of_rows = [row.label if isinstance(row.label, tuple) else (row.label,) for row in rows]
    names = {name for labels in of_rows for name in labels if isinstance(name, str)}
    is_set = any(isinstance(row.label, tuple) for row in rows)
    if len(names) < (1 if is_set else 2):
        only = f"'{next(iter(names))}'" if names else "none"
        raise UserError(f"the training rows have too few labels to learn from: {only} in {len(rows):,} rows")
    if len(names) > max(_MOST_FREE, len(rows) // 2):
        some = ", ".join(f"'{name:.30}'" for name in sorted(names)[:3])
        raise UserError(f"{len(names):,} different labels in {len(rows):,} rows ({some}, ...): is it the right column?")
    return _in_order(names)


def _id_of(name: str, names: Sequence[str]) -> int:
    """The id of a label: its place among the names, or the number that it is, where names were given to numbers."""
    if name in names:
        return names.index(name)
    return int(name) if name.isdecimal() and int(name) < len(names) else UNSEEN


def _unseen(name: str, row: TextRow | TokenRow, names: Sequence[str], warnings: DataWarnings | None) -> int:
    """Counts a label that training does not have.

    Raises:
        UserError: where `warnings` is None.
    """
    if warnings is None:
        close = difflib.get_close_matches(name, names, n=1)
        remedy = f"; did you mean '{close[0]}'?" if close else ""
        raise UserError(f"{row.origin}: label '{name}' is none of {', '.join(names)}{remedy}")
    warnings.add(f"rows with label '{name}', which training does not have and no prediction can be", row.origin)
    return UNSEEN


def label_ids(rows: Sequence[TextRow], names: Sequence[str], warnings: DataWarnings | None = None) -> np.ndarray:
    """int64[rows], the id of each row's label.

    A file's 0, 1, ... are the names in their order, unless they are names themselves.

    Args:
        rows: with one label each.
        names: of the labels.
        warnings: takes labels that are none of them, whose id is -1; None refuses them, as in training rows.

    Raises:
        UserError: naming the row of the first such label, where `warnings` is None.
    """
    ids = []
    for row in rows:
        assert isinstance(row.label, str), "rows of one label each"
        found = _id_of(row.label, names)
        ids.append(_unseen(row.label, row, names, warnings) if found == UNSEEN else found)
    return np.array(ids, dtype=np.int64)


def label_sets(rows: Sequence[TextRow], names: Sequence[str], warnings: DataWarnings | None = None) -> np.ndarray:
    """bool[rows, labels], which labels each row has; arguments and errors as of `label_ids`.

    A label that training does not have is no column: it is counted in `warnings` alone.
    """
    sets = np.zeros((len(rows), len(names)), dtype=bool)
    for number, row in enumerate(rows):
        assert isinstance(row.label, tuple), "rows of several labels each"
        for name in row.label:
            found = _id_of(name, names)
            if found == UNSEEN:
                _unseen(name, row, names, warnings)
            else:
                sets[number, found] = True
    return sets


def tag_ids(rows: Sequence[TokenRow], names: Sequence[str], warnings: DataWarnings | None = None) -> list[np.ndarray]:
    """int64[words] of every row, the ids of its tags; arguments and errors as of `label_ids`."""
    places = {name: place for place, name in enumerate(names)}
    return [
        np.array(
            [places[tag] if tag in places else _unseen(tag, row, names, warnings) for tag in row.tags], dtype=np.int64
        )
        for row in rows
    ]
