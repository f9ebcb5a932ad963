"""Files as text: unpacked where they are packed, hashed as they are read, and decoded by one rule."""

import bz2
import gzip
import hashlib
import io
import itertools
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.files import naming
from data.files.encodings import AUTO, SAMPLE_BYTES, TextForm, text_form
from data.files.local import PACKED

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

# What files begin with that are no text: (how they begin, what they are)
_NO_TEXT = (
    *((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "Zstandard")),
    *((b"PK\x03\x04", "zip"), (b"7z\xbc\xaf", "7z"), (b"Rar!", "rar"), (b"PAR1", "Parquet"), (b"ARROW1", "Arrow")),
    *((b"%PDF-", "PDF"), (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"SQLite format 3\0", "SQLite")),
)


def _refuse_no_text(path: Path, sample: bytes) -> None:
    """Raises UserError where a file begins as what is no text does."""
    for beginning, kind in _NO_TEXT:
        if sample.startswith(beginning):
            raise UserError(
                f"{path}: is no text but begins as {kind} does; a packed file is read where it is called "
                f"{', '.join(PACKED)}, others are to be unpacked or converted"
            )


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
