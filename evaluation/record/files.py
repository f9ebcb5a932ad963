"""A record as a file: `read_record(path) == record` after `write_record(record, path)`."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evaluation.record.record import FORMAT, StudyRecord
from training.storage.old_names import renamed_results

_ADAPTER = TypeAdapter(StudyRecord)


def write_record(record: StudyRecord, path: Path) -> None:
    """Writes results.json: whole, or not at all."""
    beside = path.with_name(f".{path.name}.writing")
    beside.write_bytes(_ADAPTER.dump_json(record, indent=1) + b"\n")
    beside.replace(path)


def read_record(path: Path) -> StudyRecord:
    """The record that results.json holds.

    Raises:
        ValueError: in one line, where it is not there, or is none of this version's.
    """
    try:
        return _ADAPTER.validate_json(renamed_results(path.read_bytes()))
    except OSError:
        raise ValueError(f"no results at '{path}'") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{path} is no record of format {FORMAT}: {place}: {first['msg']}") from None
