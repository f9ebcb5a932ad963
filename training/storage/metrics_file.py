"""metrics.csv: every number that was logged, a row a step."""

import csv
from pathlib import Path

from common.errors import UserError
from training.storage.old_names import renamed_metrics


def parse_metrics(path: Path, content: bytes, until: float = float("inf")) -> list[dict[str, str]]:
    """The rows of a metrics.csv up to a step, with every column in each, by today's names.

    A last row that a killed process left unfinished is none.

    Args:
        path: of the file; for messages.
        content: that it holds; empty where nothing was logged yet.
        until: the last step.

    Raises:
        UserError: where it is no table of numbers.
    """
    lines = content.decode(errors="replace").splitlines(keepends=True)
    try:
        rows = list(csv.DictReader(lines if not lines or lines[-1].endswith("\n") else lines[:-1]))
    except csv.Error:
        rows = [{}]
    if (lines and "step" not in lines[0].strip().split(",")) or any(
        None in row or None in row.values() or not row.get("step", "").isdecimal() for row in rows
    ):
        reason = "not every row has a step and a field for each column"
        raise UserError(f"{path} is damaged ({reason}); remove it: the run goes on without what it held")
    return [renamed_metrics(row) for row in rows if int(row["step"]) <= until]
