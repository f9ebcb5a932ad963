"""Small files of rows, as sources."""

import json
from pathlib import Path
from typing import Any

from data.text.sources import RowSource


def jsonl(folder: Path, *rows: dict[str, Any]) -> RowSource:
    """A source of these rows."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return RowSource(name=(str(path),))


def conll(folder: Path, text: str) -> RowSource:
    """A source of these sentences."""
    path = folder / "a.conll"
    path.write_text(text, encoding="utf-8")
    return RowSource(name=(str(path),))
