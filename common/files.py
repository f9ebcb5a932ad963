"""Files that exist whole or not at all, whenever the process is killed or the disk is full."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Makes sure that a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the block ends without an exception.

    The file is flushed to the disk before it is renamed; after an exception nothing is left of it, and what stood at
    `path` before still stands.
    """
    writing = path.with_name(f".{path.name}.writing")
    try:
        yield writing
        sync(writing)
        writing.replace(path)
        sync(path.parent)
    finally:
        writing.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file whole: text as UTF-8."""
    with written_whole(path) as writing:
        writing.write_bytes(content.encode() if isinstance(content, str) else content)
