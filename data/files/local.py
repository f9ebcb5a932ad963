"""Local files of text: found by path, folder or glob, unpacked, and decoded by one rule."""

import bz2
import glob
import gzip
import hashlib
import io
import itertools
import json
import lzma
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError
from common.files import naming
from data.files.encodings import AUTO, SAMPLE_BYTES, TextForm, text_form

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

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
# What files begin with that are no text: (how they begin, what they are)
_NO_TEXT = (
    *((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "Zstandard")),
    *((b"PK\x03\x04", "zip"), (b"7z\xbc\xaf", "7z"), (b"Rar!", "rar"), (b"PAR1", "Parquet"), (b"ARROW1", "Arrow")),
    *((b"%PDF-", "PDF"), (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"SQLite format 3\0", "SQLite")),
)


def is_packed(path: Path) -> bool:
    """Whether a file's name ends as those of packed files do."""
    return path.suffix.lower() in PACKED


def suffix_of(path: Path) -> str:
    """`.txt` of `a.txt` and of `a.txt.gz`."""
    return Path(path.stem).suffix.lower() if is_packed(path) else path.suffix.lower()


def _refuse_no_text(path: Path, sample: bytes) -> None:
    """Raises UserError where a file begins as what is no text does."""
    for beginning, kind in _NO_TEXT:
        if sample.startswith(beginning):
            raise UserError(
                f"{path}: is no text but begins as {kind} does; a packed file is read where it is called "
                f"{', '.join(PACKED)}, others are to be unpacked or converted"
            )


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
    folder = Path(name).expanduser()
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
    path = Path(name).expanduser()
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


def _reader(path: Path, raw: "io.BufferedReader[Any]") -> io.BufferedIOBase:
    """What reads a file's content: as it is, or unpacked as its name has it."""
    kind = path.suffix.lower()
    if kind == ".zst":
        import pyarrow as pa  # slow to import

        stream: Any = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return io.BufferedReader(stream)
    if kind == ".gz":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    return lzma.LZMAFile(raw) if kind == ".xz" else bz2.BZ2File(raw) if kind == ".bz2" else raw


@contextmanager
def _unpacked(path: Path, digest: "Digest") -> Iterator[io.BufferedIOBase]:
    """A plain file, or what is packed in it; the file's own bytes, as they are read, go into `digest`.

    Raises:
        UserError: where what was packed is damaged.
        OSError: where the system refuses to read, naming the file.
    """
    try:
        with naming(path), io.BufferedReader(_HashedFile(path, digest), buffer_size=1 << 18) as raw:
            yield _reader(path, raw)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise UserError(f"{path}: cannot be read ({error})") from error


def form_of(path: Path, encoding: str = AUTO) -> TextForm:
    """The encoding and the line ends of a file; `encoding` is what the user named.

    Raises:
        UserError: where the file cannot be read, or is of an encoding that nothing declares.
    """
    with _unpacked(path, hashlib.sha256()) as file:
        sample = file.read(SAMPLE_BYTES)
    _refuse_no_text(path, sample)
    return text_form(path, sample, is_whole=len(sample) < SAMPLE_BYTES, encoding=encoding)


def decoded_lines(
    path: Path, digest: "Digest | None" = None, encoding: str = AUTO, *, strict: bool = False
) -> Iterator[str]:
    """Lines with their own line ends, of a plain file or of one that is packed.

    Only a line feed ends a line, or a carriage return where a file has no line feed. Bytes that make no character
    become U+FFFD, or are refused where an encoding is named and `strict`. The file's own bytes, as they were read, go
    into `digest`.

    Raises:
        UserError: where the file cannot be read, or is of an encoding that nothing declares.
    """
    is_strict = strict and encoding != AUTO
    with _unpacked(path, digest or hashlib.sha256()) as file:
        sample = file.read(SAMPLE_BYTES)
        _refuse_no_text(path, sample)
        form = text_form(path, sample, is_whole=len(sample) < SAMPLE_BYTES, encoding=encoding)
        rest = iter(lambda: file.read(SAMPLE_BYTES), b"")
        yield from form.lines(itertools.chain([sample], rest), path if is_strict else None)
