"""Local files: found by path, folder or glob, their formats known by their names."""

import glob
import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from common.errors import UserError
from common.files import expanded

Row = dict[str, Any]
Rows = Iterator[tuple[str, Row]]  # with their origins
Lines = Iterable[tuple[int, str]]  # with their numbers
Format = Literal["csv", "tsv", "jsonl", "json", "parquet", "arrow", "conll", "conllu", "text", "paragraphs", "parallel"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".conll": "conll",
    ".conllu": "conllu",
    ".iob2": "conll",
    ".bio": "conll",
    ".txt": "text",
    ".md": "text",
}


PACKED = (".gz", ".xz", ".bz2", ".zst")


def is_packed(path: Path) -> bool:
    """Whether a file's name ends as those of packed files do."""
    return path.suffix.lower() in PACKED


def suffix_of(path: Path) -> str:
    """`.txt` of `a.txt` and of `a.txt.gz`."""
    return Path(path.stem).suffix.lower() if is_packed(path) else path.suffix.lower()


def _is_hidden(parts: Sequence[str]) -> bool:
    """Whether a name below a folder is hidden, or lies in what other programs leave beside files."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _saved_state(folder: Path) -> tuple[list[Path], str | None]:
    """The files, in order, and the split of a data set that `datasets` saved with `save_to_disk`.

    Raises:
        UserError: where its list of files is damaged.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return [folder / file["filename"] for file in state["_data_files"]], state.get("_split")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / 'state.json'}: no list of the files of a saved data set ({error})") from None


def saved_split(name: str, split: str, key: str) -> str:
    """The folder of a split, where a name is that of several splits that `datasets` saved; any other name as it is.

    Raises:
        UserError: where what was saved holds no such split.
    """
    folder = expanded(name)
    if (folder / "dataset_dict.json").is_file():
        held = sorted(file.parent.name for file in folder.glob("*/state.json"))
        if split not in held:
            raise UserError(f"{key}: '{name}' has no split '{split}' (it has: {', '.join(held) or 'none'})")
        return str(folder / split)
    if split != "train" and (folder / "state.json").is_file() and (found := _saved_state(folder)[1]) != split:
        raise UserError(f"{key}: '{name}' is one data set (split: {found}), and has no split '{split}'")
    return name


def _found(name: str, folder_suffixes: Collection[str]) -> tuple[list[Path], list[Path]]:
    """What `local_files` gives, and the hidden files that it leaves out."""
    path = expanded(name)
    if path.is_file():
        return [path], []
    if (path / "state.json").is_file():
        return _saved_state(path)[0], []
    if path.is_dir():
        root = path
        found = [file for file in path.rglob("*") if file.is_file() and suffix_of(file) in folder_suffixes]
    else:
        parts = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        root = Path(*parts)
        found = [Path(file) for file in glob.glob(str(path), recursive=True, include_hidden=True)]
        found = [file for file in found if file.is_file()]
        if _is_hidden(path.relative_to(root).parts):  # a pattern of hidden names means them
            return sorted(found), []
    hidden = {file for file in found if _is_hidden(file.relative_to(root).parts)}
    return sorted(set(found) - hidden), sorted(hidden)


def local_files(name: str, folder_suffixes: Collection[str] = FORMATS) -> list[Path]:
    """The file of a path, or those of a glob, or those of a folder that have one of these suffixes.

    They are sorted; the list is empty where the name names none. Hidden files of folders and globs (`._a.txt`, what
    lies in `.ipynb_checkpoints` or `__MACOSX`) are left out.
    """
    return _found(name, folder_suffixes)[0]


def hidden_files(name: str, folder_suffixes: Collection[str] = FORMATS) -> list[Path]:
    """The hidden files that `local_files` leaves out."""
    return _found(name, folder_suffixes)[1]


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
            hidden = len(hidden_files(name, folder_suffixes))
            left_out = f"; {hidden} hidden files are left out" if hidden else ""
            raise UserError(f"{key}: no file at '{name}' (looked from {Path.cwd()}){left_out}")
    return [file for files in found.values() for file in files]
