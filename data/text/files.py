"""Local files of text: found by path, folder or glob, unpacked, and decoded by one rule."""

import glob
import gzip
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

from common.errors import UserError

Format = Literal["csv", "tsv", "jsonl", "json", "parquet", "conll", "text"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".conll": "conll",
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


def decoded_lines(path: Path) -> Iterator[str]:
    """Lines with their own line ends, of a plain file or of one that gzip packed; only a line feed ends a line.

    Bytes that are not UTF-8 become U+FFFD.

    Raises:
        UserError: where the file cannot be read.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                yield line.decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
