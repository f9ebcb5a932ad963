"""A record as a file: `read_record(path) == record` after `write_record(record, path)`."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from common.errors import UserError
from common.files import write_whole
from evaluation.record.record import FORMAT, StudyRecord
from training.storage.old_names import renamed_results

_ADAPTER = TypeAdapter(StudyRecord)
_NO_LONGER_KEPT = {"sentence", "loss"}  # of a verdict, which the report puts into words; of an arm
_RENAMED_SINCE_FORMAT_1 = {"departures": "deviations", "verdict": "outcome"}  # fields
_CELLS_OF_FORMAT_1 = {"stranger": "random_segment", "said": "target", "right": "correct"}  # kinds of a sample's cells
_ROWS_OF_FORMAT_1 = {"says": "predicts"}  # of a sample
_REWORDED_SINCE_FORMAT_1 = {"cannot tell": "untested"}  # outcomes of a verdict


def write_record(record: StudyRecord, path: Path) -> None:
    """Writes results.json: whole, or not at all."""
    write_whole(path, _ADAPTER.dump_json(record, indent=1) + b"\n")


def _renamed(tree: dict[str, Any]) -> dict[str, Any]:
    """Fields of format 1 under the names that they have now."""
    return {_RENAMED_SINCE_FORMAT_1.get(key, key): value for key, value in tree.items() if key not in _NO_LONGER_KEPT}


def _renamed_panel(panel: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Rows of cells of format 1 under the names that they have now; a cell is its text and its kind."""
    return {
        _ROWS_OF_FORMAT_1.get(row, row): [[text, _CELLS_OF_FORMAT_1.get(kind, kind)] for text, kind in cells]
        for row, cells in panel.items()
    }


def _in_this_format(text: bytes) -> bytes:
    """What a file holds, in this format where it has format 1; anything else as it is."""
    try:
        tree = json.loads(text)
        if tree["format"] != 1:
            return text
        for verdict in tree["verdicts"]:
            verdict["verdict"] = _REWORDED_SINCE_FORMAT_1.get(verdict["verdict"], verdict["verdict"])
        for sample in tree.get("samples", ()):
            sample["panels"] = [_renamed_panel(panel) for panel in sample["panels"]]
        parts = {name: [_renamed(part) for part in tree[name]] for name in ("arms", "verdicts")}
        return json.dumps({**_renamed(tree), "format": FORMAT, **parts}).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return text  # which is then refused with the place of the mistake


def read_record(path: Path) -> StudyRecord:
    """The record that results.json holds, in this format or the one before.

    Raises:
        UserError: in one line, where it is not there, or is none of these formats.
    """
    try:
        return _ADAPTER.validate_json(_in_this_format(renamed_results(path.read_bytes())))
    except OSError:
        raise UserError(f"no results at '{path}'") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path} is no record of format {FORMAT}: {place}: {first['msg']}") from None
