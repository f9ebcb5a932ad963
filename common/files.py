"""Files and folders that exist whole or not at all, whenever the process is killed or the disk is full."""

import glob
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common.errors import UserError

ABANDONED = 3600.0  # seconds after which nobody writes a folder any more that was begun
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # as libraries in Rust end their messages


def expanded(name: str) -> Path:
    """A path with `~` as the home of a user; as it is written where nobody knows that home, as in some containers."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - pathlib's own raises RuntimeError there


def sync(path: Path) -> None:
    """Makes sure that a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path, writing: Path | None = None) -> Iterator[None]:
    """Has what the system refuses within the block name `path`.

    An error of `write` or `fsync` names none, and those of libraries in Rust are no OSErrors.

    Args:
        path: what is being written, as the user knows it.
        writing: where it lies for so long; an error that names this, or what is in it, names `path` in its place.

    Raises:
        OSError: of what the system refused.
    """
    try:
        yield
    except OSError as error:
        is_within = writing is not None and Path(os.fsdecode(error.filename or "")).is_relative_to(writing)
        if error.errno is not None and (error.filename is None or is_within):
            error.filename = str(path)
        raise
    except UserError:
        raise
    except Exception as error:
        if not (refused := _SYSTEM_ERROR.search(str(error))):
            raise
        number = int(refused[1])
        raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the block ends without an exception.

    The file is flushed to the disk before it is renamed; after an exception nothing is left of it, and what stood at
    `path` before still stands.

    Raises:
        OSError: where the system refuses to write, naming `path`.
        UserError: where a device or a pipe stands there, whose place a file would take.
    """
    writing = path.with_name(f".{path.name}.writing")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is a device or a pipe, and must be a file")
    try:
        with naming(path, writing):
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


def drop_folder(folder: Path) -> None:
    """Removes a folder under a name that no reader takes for whole, wherever the process is killed."""
    dropped = folder.with_name(f".{folder.name}.dropped.writing")
    shutil.rmtree(dropped, ignore_errors=True)
    if folder.exists():
        folder.rename(dropped)
    shutil.rmtree(dropped, ignore_errors=True)


def _own_name(folder: Path) -> Path:
    """Where this process alone writes a folder; what others left there that were killed long ago is removed."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.writing"):
        with suppress(OSError):  # another process was faster
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left)
    return folder.with_name(f".{folder.name}.{os.getpid()}.writing")


def write_folder_whole(folder: Path, fill: Callable[[Path], None], *, is_locked: bool = True) -> None:
    """Makes `folder` appear with what `fill` puts into it, or not at all; one that is there is replaced.

    Its files have the mode that the umask gives: safetensors' own is for the user alone.

    Args:
        folder: to make.
        fill: writes what belongs in it into the folder that it is given.
        is_locked: whether no other process writes it meanwhile; otherwise each writes by itself, and that of the last
            one stays.

    Raises:
        OSError: where the system refuses to write, naming `folder`.
    """
    writing = folder.with_name(f".{folder.name}.writing") if is_locked else _own_name(folder)
    shutil.rmtree(writing, ignore_errors=True)
    try:
        with naming(folder, writing):
            writing.mkdir(parents=True)
            fill(writing)
            mode = writing.stat().st_mode & 0o666
            for path in writing.rglob("*"):
                if path.is_file():
                    path.chmod(mode)
                sync(path)
            sync(writing)
            drop_folder(folder)
            writing.rename(folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(writing, ignore_errors=True)


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, *, remedy: str) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: of the file.
        remedy: what to do where it is damaged; for the message.

    Raises:
        UserError: where it is torn, or no JSON object.
    """
    content = path.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "it is empty" if not content.strip(b"\0 \t\r\n") else f"no JSON: {error}"
        raise UserError(f"{path} is damaged ({reason}); {remedy}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged (it holds a {type(found).__name__}, not an object); {remedy}")
    return found


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file whole, with the hash of its content in it."""
    plain = json.loads(json.dumps(content))
    write_whole(path, json.dumps({**plain, "seal": _seal(plain)}, indent=2, ensure_ascii=False))


def read_sealed(path: Path, *, remedy: str) -> tuple[dict[str, Any], bool]:
    """What `write_sealed` was given, and whether it was sealed: files of earlier versions are not.

    Raises:
        UserError: where the file is torn, is no JSON object, or holds something else than was written.
    """
    content = read_json(path, remedy=remedy)
    seal = content.pop("seal", None)
    if seal is not None and seal != _seal(content):
        raise UserError(f"{path} was changed since it was written (its hash differs); {remedy}")
    return content, seal is not None
