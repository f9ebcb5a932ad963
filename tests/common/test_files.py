"""Law 11: nothing is written in place. A file exists whole or not at all, and no module writes one otherwise."""

import ast
import errno
import os
import resource
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from common.errors import MachineError, UserError
from common.files import ABANDONED, expanded, write_folder_whole, write_whole, written_whole
from tests.helpers import ROOT

PACKAGES = ("data", "models", "training", "objectives", "finetuning", "evaluation")
# A whole folder is written beside its place and renamed by these, or a row is appended to a file that is cut at its
# last whole row when it is read.
WITHIN_A_FOLDER_THAT_IS_RENAMED = {
    "data/store/splits.py",
    "data/store/spool.py",
    "finetuning/export.py",
    "objectives/weights/export.py",
    "training/storage/checkpoint.py",
}
WRITERS = {"write_text", "write_bytes", "save_file"}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_whole(path, "before")
    write_whole(path, b"after \xea\xb0\x80")
    assert path.read_text(encoding="utf-8") == "after 가"
    assert [*tmp_path.iterdir()] == [path]


def test_what_stood_there_stands_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_whole(path, "before")

    def fail() -> None:
        with written_whole(path) as writing:
            writing.write_text("half", encoding="utf-8")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        fail()
    assert path.read_text(encoding="utf-8") == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_the_mode_of_a_file_is_what_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def _writes(path: Path) -> Iterator[str]:
    """Calls of a module that write a file under the name that it will have."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(call)
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and "written_whole" in ast.unparse(block.items[0].context_expr)
        for call in ast.walk(block)
    }
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and id(call) not in inside:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            mode = next((arg.value for arg in call.args if isinstance(arg, ast.Constant)), "")
            if "devnull" in ast.unparse(call):
                continue
            if name in WRITERS or (name == "open" and isinstance(mode, str) and mode[:1] in ("w", "x")):
                yield f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)[:80]}"


def test_no_module_writes_a_file_in_place() -> None:
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    found = [
        write
        for path in modules
        if path.relative_to(ROOT).as_posix() not in WITHIN_A_FOLDER_THAT_IS_RENAMED
        for write in _writes(path)
    ]
    assert found == []


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_the_system_refuses_to_write_names_the_file_that_was_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_whole(path, "text")
    assert raised.value.filename == str(path)
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_whole(path, "text")
    assert raised.value.filename == str(path)


def test_what_a_library_in_rust_was_refused_is_an_error_of_the_system(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    tensors = {"a": np.zeros(1 << 16, np.uint8)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised, written_whole(tmp_path / "file") as writing:
            save_file(tensors, writing)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(tmp_path / "file"))


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "no", "corpus.txt"), UserError("x (os error 28)"), MachineError("x")]
)
def test_an_error_that_names_its_own_file_stays_as_it_is(tmp_path: Path, error: Exception) -> None:
    before = str(error)
    with pytest.raises(type(error)) as raised, written_whole(tmp_path / "file"):
        raise error
    assert raised.value is error
    assert str(error) == before


def test_a_pipe_or_a_device_keeps_its_place(tmp_path: Path) -> None:
    pipe = tmp_path / "page.html"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match=r"page\.html is a device or a pipe, and must be a file"):
        write_whole(pipe, "text")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_the_home_of_nobody_is_a_name_like_any_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/texts") == tmp_path / "texts"
    assert expanded("~nobody-of-this-name/texts") == Path("~nobody-of-this-name/texts")


def test_two_processes_that_write_one_folder_at_once_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, own = tmp_path / "exported", os.getpid()

    def fill(writing: Path, what: str) -> None:
        (writing / what).write_text(what)

    def fill_while_another_does(writing: Path) -> None:
        fill(writing, "first half")
        monkeypatch.setattr(os, "getpid", lambda: own + 1)
        write_folder_whole(folder, lambda theirs: fill(theirs, "theirs"), is_locked=False)
        assert [path.name for path in folder.iterdir()] == ["theirs"]
        fill(writing, "second half")

    write_folder_whole(folder, fill_while_another_does, is_locked=False)
    assert sorted(path.name for path in folder.iterdir()) == ["first half", "second half"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_process_left_of_a_folder_is_removed_in_time(tmp_path: Path) -> None:
    for name, age in (("1", 2 * ABANDONED), ("2", 0)):
        left = tmp_path / f".exported.{name}.writing"
        left.mkdir()
        os.utime(left, (time.time() - age, time.time() - age))
    write_folder_whole(tmp_path / "exported", lambda writing: None, is_locked=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".exported.2.writing", "exported"]
