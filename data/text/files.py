"""Local files of text: found by path, folder or glob, unpacked, and decoded by one rule."""

import glob
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

Row = dict[str, Any]
Rows = Iterator[tuple[str, Row]]  # with their origins
Lines = Iterable[tuple[int, str]]  # with their numbers
Format = Literal["csv", "tsv", "jsonl", "json", "parquet", "conll", "conllu", "text", "paragraphs", "parallel"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".conll": "conll",
    ".conllu": "conllu",
    ".iob2": "conll",
    ".bio": "conll",
    ".txt": "text",
    ".md": "text",
}


def suffix_of(path: Path) -> str:
    """`.txt` of `a.txt` and of `a.txt.gz`."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def local_files(name: str, folder_suffixes: Collection[str] = FORMATS) -> list[Path]:
    """The file of a path, or those of a glob, or those of a folder that have one of these suffixes.

    They are sorted; the list is empty where the name names none.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and suffix_of(file) in folder_suffixes)
    if path.is_file():
        return [path]
    return sorted(Path(found) for found in glob.glob(str(path), recursive=True) if Path(found).is_file())


def looks_like_a_path(name: str) -> bool:
    """Whether a name that names no file was meant as one rather than as a hub data set (`owner/name`)."""
    return bool(re.match(r"[./~]", name) or re.search(r"[*?\[\\]", name) or suffix_of(Path(name)) in FORMATS)


def files_of(names: Sequence[str], *, key: str, folder_suffixes: Collection[str]) -> list[Path]:
    """The local files of names, each a path, a folder or a glob; empty for one name that is a hub data set's.

    Args:
        names: at least one.
        key: the setting that holds them; for messages only.
        folder_suffixes: of the files that are taken of a folder; none where a folder is no source.

    Raises:
        UserError: where a path names no file.
    """
    found = {name: local_files(name, folder_suffixes) for name in names}
    is_path = looks_like_a_path(names[0]) or Path(names[0]).is_dir()
    if not any(found.values()) and len(names) == 1 and not is_path:
        return []
    for name, files in found.items():
        if not files:
            raise UserError(f"{key}: no file at '{name}' (looked from {Path.cwd()})")
    return [file for files in found.values() for file in files]


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed_while_read(path: Path) -> UserError:
    """The error of a source that is no longer what its hash was taken of."""
    return UserError(
        f"{path} was changed while it was read, so that nothing was made of it: run the same command again once "
        f"nothing writes to it"
    )


class _HashedFile(io.RawIOBase):
    """A file whose bytes go into a hash as they are read."""

    def __init__(self, path: Path, digest: "Digest") -> None:
        self._file, self._digest = path.open("rb", buffering=0), digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def decoded_lines(path: Path, digest: "Digest | None" = None) -> Iterator[str]:
    """Lines with their own line ends, of a plain file or of one that gzip packed; only a line feed ends a line.

    Bytes that are not UTF-8 become U+FFFD. The file's own bytes, as they were read, go into `digest`.

    Raises:
        UserError: where the file cannot be read.
    """
    try:
        with io.BufferedReader(_HashedFile(path, digest or hashlib.sha256()), buffer_size=1 << 18) as raw:
            file = gzip.GzipFile(fileobj=raw, mode="rb") if path.suffix == ".gz" else raw
            for line in file:
                yield line.decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
