"""Law 10: what is the user's ends with status 2, what is the machine's with 4, both in one line; all else is ours."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

from common.errors import MachineError, UserError
from training.script.endings import ending_of


def raised(do: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        do()
    return caught.value


def damaged_weights(folder: Path) -> object:
    path = folder / "weights.safetensors"
    path.write_bytes(b"\x80\x04pickle" * 8)
    return safe_open(path, "pt").__enter__()


USERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file that is not there": (lambda folder: (folder / "no").read_text(), "no such file"),
    "a file where a folder should be": (lambda folder: (folder / "file/below").mkdir(), "a file where a folder"),
    "a file that a folder would be made over": (lambda folder: (folder / "file").mkdir(exist_ok=True), "a file where"),
    "a folder where a file should be": (lambda folder: folder.read_text(), "is a folder"),
    "a name that is too long": (lambda folder: (folder / ("x" * 300)).mkdir(), "too long"),
    "weights that are a pickle": (damaged_weights, "safetensors"),
    "text that is no YAML": (lambda _: yaml.safe_load("a: [1"), "not YAML"),
    "text that is no JSON": (lambda _: json.loads(""), "no JSON"),
    "bytes that are no UTF-8": (lambda _: b"\xff".decode(), "no UTF-8"),
    "JSON that is nested too deeply": (lambda _: json.loads("[" * 100_000), "nested too deeply"),
    "a path with a NUL": (lambda folder: (folder / "\0").mkdir(), "NUL"),
    "a package that is not installed": (lambda _: __import__("no_such_package"), "pip install no_such_package"),
}


@pytest.mark.parametrize("kind", USERS)
def test_law_10_a_wrong_or_damaged_file_and_a_missing_package_are_the_users(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    do, expected = USERS[kind]
    ending = ending_of(raised(lambda: do(tmp_path)))
    assert ending is not None
    assert (ending.status, expected in ending.line, "\n" in ending.line) == (2, True, False), ending.line


def out_of_memory() -> object:
    return torch.empty(1 << 60, dtype=torch.uint8)


MACHINES: dict[str, tuple[Callable[[], object] | Exception, str]] = {
    "a full disk": (
        OSError(errno.ENOSPC, "No space left on device", "runs/a"),
        "runs/a: No space left on device; free",
    ),
    "a full disk under weights": (RuntimeError("PytorchStreamWriter failed: file write failed"), "free some space"),
    "a disk that is read only": (OSError(errno.EROFS, "Read-only file system", "/mnt/x"), "/mnt/x: Read-only"),
    "a missing permission": (PermissionError(errno.EACCES, "Permission denied", "a"), "give this user the permission"),
    "no file handles": (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
    "no memory for torch": (out_of_memory, "out of memory"),
    "no memory for numpy": (lambda: np.empty(1 << 60, np.uint8), "out of memory"),
    "no memory on a GPU": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "micro_batch_size"),
    "a lost process": (
        RuntimeError("[gloo/transport/tcp/pair.cc:598] Connection closed by peer"),
        "process of the run",
    ),
    "no network": (ConnectionError("Couldn't reach 'x' on the Hub"), "network"),
    "what names it itself": (MachineError("runs/a: full"), "runs/a: full"),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_law_10_what_the_machine_refuses_is_the_machines(kind: str) -> None:
    error, expected = MACHINES[kind]
    ending = ending_of(error if isinstance(error, Exception) else raised(error))
    assert ending is not None
    assert (ending.status, expected in ending.line, "\n" in ending.line) == (4, True, False), ending.line


OURS: dict[str, Callable[[], object]] = {
    "a shape that numpy refuses": lambda: np.zeros(3).reshape(2),
    "a shape that torch refuses": lambda: torch.zeros(2, 3) @ torch.zeros(2, 3),
    "a number that is none": lambda: int("x"),
    "a name that is not there": lambda: {}["x"],
    "a broken promise": lambda: (_ for _ in ()).throw(AssertionError()),
    "a module of ours that is not there": lambda: __import__("training.no_such_module"),
    "a recursion of ours": lambda: recurse(),
}


def recurse() -> None:
    recurse()


@pytest.mark.parametrize("kind", OURS)
def test_law_10_everything_else_is_a_mistake_of_ours(kind: str) -> None:
    assert ending_of(raised(OURS[kind])) is None


def test_what_was_saved_stands_behind_what_failed() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "runs/a/x")
    error.add_note("runs/a/checkpoints/step-3 is intact")
    ending = ending_of(error)
    assert ending is not None
    assert ending.line.endswith("another disk; runs/a/checkpoints/step-3 is intact")


def test_a_users_mistake_in_several_lines_becomes_one() -> None:
    ending = ending_of(UserError("a\nb"))
    assert ending is not None
    assert ending.line == "a b"
