"""Labels and their ids: names given or found in the training rows, and what to do with those never seen there."""

import difflib
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.errors import UserError
from finetuning.data.rows import DataWarnings, TextRow, TokenRow
from finetuning.data.values import class_name, stripped
from finetuning.metrics.spans import OUTSIDE, parse_tag, tag_names, to_bio

Split = Literal["train", "development", "test"]

UNSEEN = -1
HIDDEN = "-1"  # in place of a tag's number, as data sets of the hub hide it
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


def _marks_of_none(found: Collection[str]) -> set[str]:
    """Of the marks that data sets put where a row has no label, those that are none of these labels.

    "-1" is a label beside 0 and 1 alone, and beside other negative numbers; "-" (SNLI's) is one beside "+".
    """
    marks = set[str]()
    others = set(found) - {"-1"}
    if others - {"0", "1"} and not any(name.startswith("-") and name[1:].isdecimal() for name in others):
        marks.add("-1")
    if "+" not in found:
        marks.add("-")
    return marks if len(set(found) - marks) > 1 else set()


def without_unlabelled(
    splits: Mapping[Split, list[TextRow]], names: Sequence[str] | None, warnings: DataWarnings
) -> dict[Split, list[TextRow]]:
    """The rows of every split but those whose label marks that they have none, which are counted.

    Args:
        splits: rows with one label each.
        names: of the labels, where they were given.
        warnings: takes what was left out.

    Raises:
        UserError: where no row of a split is left.
    """
    trained = set(names) if names is not None else {str(row.label) for row in splits["train"]}
    in_training = {"-1", "-"} - trained if names is not None else _marks_of_none(trained)
    elsewhere = {"-1", "-"} - (trained - in_training)
    left: dict[Split, list[TextRow]] = {}
    for split, rows in splits.items():
        marks = in_training if split == "train" else elsewhere
        left[split] = [row for row in rows if row.label not in marks]
        for row in rows:
            if row.label in marks:
                warnings.add(f"rows without a label ('{row.label}'), left out", row.origin)
        if not left[split]:
            raise UserError(f"task.{split}: no row has a label, all have '{rows[0].label}'; is it a hidden test split?")
    return left


@dataclass(frozen=True, kw_only=True)
class LabelNames:
    """The labels of a task, and how a file may spell them.

    Attributes:
        names: in the order of their ids.
        first_label: number of the first in files that have numbers for names; None where names alone count, since
            no setting names their order.
    """

    names: Sequence[str]
    first_label: int | None = None

    def id_of(self, name: str) -> int:
        """The id of a label by its name, or by its number; UNSEEN for none."""
        for place, known in enumerate(self.names):
            if name in (known, class_name(known)):
                return place
        if self.first_label is None or not name.removeprefix("-").isdecimal():
            return UNSEEN
        place = int(name) - self.first_label
        return place if 0 <= place < len(self.names) else UNSEEN

    def unseen(self, name: str, row: TextRow | TokenRow, warnings: DataWarnings | None) -> int:
        """Counts a label that is none of these.

        Raises:
            UserError: where `warnings` is None.
        """
        if warnings is None:
            close = difflib.get_close_matches(name, self.names, n=1)
            remedy = f"; did you mean '{close[0]}'?" if close else ""
            if name.isdecimal() and self.first_label is not None:
                remedy = f"; numbers count from task.first_label = {self.first_label}"
            raise UserError(f"{row.origin}: label '{name}' is none of {', '.join(self.names)}{remedy}")
        warnings.add(f"rows with label '{name}', which training does not have and no prediction can be", row.origin)
        return UNSEEN


def label_ids(rows: Sequence[TextRow], labels: LabelNames, warnings: DataWarnings | None = None) -> np.ndarray:
    """int64[rows], the id of each row's label.

    Args:
        rows: with one label each.
        labels: by which they are known.
        warnings: takes labels that are none of them, whose id is -1; None refuses them, as in training rows.

    Raises:
        UserError: naming the row of the first such label, where `warnings` is None.
    """
    ids = []
    for row in rows:
        assert isinstance(row.label, str), "rows of one label each"
        found = labels.id_of(row.label)
        ids.append(labels.unseen(row.label, row, warnings) if found == UNSEEN else found)
    return np.array(ids, dtype=np.int64)


def label_sets(rows: Sequence[TextRow], labels: LabelNames, warnings: DataWarnings | None = None) -> np.ndarray:
    """bool[rows, labels], which labels each row has; arguments and errors as of `label_ids`.

    A label that training does not have is no column: it is counted in `warnings` alone.
    """
    sets = np.zeros((len(rows), len(labels.names)), dtype=bool)
    for number, row in enumerate(rows):
        assert isinstance(row.label, tuple), "rows of several labels each"
        for name in row.label:
            found = labels.id_of(name)
            if found == UNSEEN:
                labels.unseen(name, row, warnings)
            else:
                sets[number, found] = True
    return sets


def refuse_unseen(rows: Sequence[TextRow], targets: np.ndarray, labels: LabelNames) -> None:
    """Refuses rows that have labels, none of which training has: no metric of them means anything.

    Args:
        rows: as of `label_ids` or `label_sets`.
        targets: what those gave.
        labels: by which they were known.

    Raises:
        UserError: naming both sides.
    """
    found = {name for row in rows for name in (row.label if isinstance(row.label, tuple) else (str(row.label),))}
    if not found or (targets > 0 if targets.ndim > 1 else targets >= 0).any():
        return
    some = ", ".join(f"'{name:.30}'" for name in sorted(found)[:6])
    raise UserError(
        f"{rows[0].origin} and the {len(rows) - 1:,} rows behind it: none of their labels ({some}) is one of training "
        f"({', '.join(labels.names[:6])}); where they are numbers of names, give task.label_names in their order, and "
        f"task.first_label, the number of the first"
    )


def label_targets(rows: Sequence[TextRow], labels: LabelNames, warnings: DataWarnings | None = None) -> np.ndarray:
    """`label_ids` of rows with one label each, `label_sets` of rows with several.

    Raises:
        UserError: as of those; and where not one row has a label that training has.
    """
    of_several = bool(rows) and isinstance(rows[0].label, tuple)
    found = (label_sets if of_several else label_ids)(rows, labels, warnings)
    refuse_unseen(rows, found, labels)
    return found


def check_tag_names(names: Sequence[str], *, entities: bool) -> None:
    """Raises UserError where names cannot be those of tags: too few, twice the same, or none of entities' tags."""
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"task.tag_names = {list(names)} must be different names, at least two")
    if not entities:
        return
    for name in names:
        try:
            parse_tag(name)
        except UserError as error:
            raise UserError(f"task.tag_names: {error}; task.entities = false is of tags that are none") from None
    if OUTSIDE not in names:
        raise UserError(f"task.tag_names = {list(names)} has no 'O', the tag of a word outside of entities")


def tag_labels(rows: Sequence[TokenRow], names: Sequence[str] | None, *, entities: bool) -> list[str]:
    """The tags in the order of their ids: those of `names`, or of the rows; those of entities in BIO, O among them."""
    if not entities:
        return list(names or sorted({tag for row in rows for tag in row.tags}))
    found = tag_names([to_bio([name])[0] for name in names] if names else (row.tags for row in rows))
    return list(names) if names and set(names) == set(found) else list(found)


def tag_name(tag: str, names: LabelNames | None, where: str) -> str | None:
    """The name of a tag by itself or by its number; None where it is hidden.

    Raises:
        UserError: where it is neither a name nor a number of one.
    """
    name = unicodedata.normalize("NFC", stripped(tag))
    if names is None:
        return name
    place = names.id_of(class_name(name) or "")
    if place != UNSEEN:
        return names.names[place]
    if name == HIDDEN:
        return None
    first = names.first_label or 0
    raise UserError(
        f"{where} has the tag '{name}', which is none of task.tag_names ({', '.join(names.names)}), nor one of their "
        f"numbers, {first} to {first + len(names.names) - 1} by task.first_tag = {first}"
    )


def tag_ids(rows: Sequence[TokenRow], names: Sequence[str], warnings: DataWarnings | None = None) -> list[np.ndarray]:
    """int64[words] of every row, the ids of its tags; arguments and errors as of `label_ids`."""
    places, labels = {name: place for place, name in enumerate(names)}, LabelNames(names=names)
    return [
        np.array(
            [places[tag] if tag in places else labels.unseen(tag, row, warnings) for tag in row.tags], dtype=np.int64
        )
        for row in rows
    ]
