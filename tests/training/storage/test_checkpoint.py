"""Checkpoints: whole or not there, hashed, and nothing in them that needs unpickling."""

import errno
import json
import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.processes import Script
from training.storage.checkpoint import (
    SafeCheckpointIO,
    checkpoint_name,
    checkpoints_in,
    damage,
    flatten,
    newest_sound,
    read_checkpoint,
    unflatten,
    write_checkpoint,
)


def checkpoint(seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(3, 4, generator=generator)
    return {
        "state_dict": {"a.weight": tensor, "b": tensor[:, 1].to(torch.bfloat16)},
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(7.0), "exp_avg": tensor * 2}}, "groups": [(0.9, 0.95)]}
        ],
        "global_step": 7,
        "nothing": None,
    }


def assert_same(left: Any, right: Any) -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
        assert left.dtype == right.dtype
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert type(left) is type(right)
        for mine, other in zip(left, right, strict=True):
            assert_same(mine, other)
    else:
        assert left == right


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(-5, 5), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None, derandomize=True)
@given(trees)
def test_json_and_tensors_hold_any_tree(tree: Any) -> None:
    tensors: dict[str, torch.Tensor] = {}
    held = json.loads(json.dumps(flatten(tree, tensors)))
    assert_same(unflatten(held, tensors), tree)


def test_what_would_need_unpickling_is_refused_by_its_place() -> None:
    with pytest.raises(TypeError, match="cannot hold object at '/optimizer/0'"):
        flatten({"optimizer": [object()]}, {})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_checkpoint(checkpoint(), tmp_path / "step-00000007")
    read = read_checkpoint(tmp_path / "step-00000007")
    assert_same({name: read[name] for name in checkpoint()}, checkpoint())
    assert sorted(path.name for path in (tmp_path / "step-00000007").iterdir()) == [
        *("sha256.json", "state.json", "state.safetensors", "weights.safetensors"),
    ]


def test_writing_again_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    folder = tmp_path / "step-00000007"
    write_checkpoint(checkpoint(0), folder)
    write_checkpoint(checkpoint(1), folder)
    assert_same(read_checkpoint(folder)["state_dict"], checkpoint(1)["state_dict"])
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000007"]


@pytest.mark.parametrize("name", ["weights.safetensors", "state.safetensors", "state.json", "sha256.json"])
@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
def test_a_damaged_file_is_named_and_never_read(tmp_path: Path, name: str, how: str) -> None:
    folder = tmp_path / "step-00000007"
    write_checkpoint(checkpoint(), folder)
    content = bytearray((folder / name).read_bytes())
    if how == "delete":
        (folder / name).unlink()
    elif how == "truncate":
        (folder / name).write_bytes(content[:-3])
    else:
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    assert damage(folder) is not None
    with pytest.raises(ValueError, match=r"is damaged \(its SHA-256 differs\)"):
        read_checkpoint(folder)


def test_the_newest_sound_checkpoint_is_taken_with_a_warning_for_each_damaged_one(tmp_path: Path) -> None:
    for step in (3, 20, 100_000_000):
        write_checkpoint(checkpoint(step), tmp_path / checkpoint_name(step))
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-100000000", "step-00000020", "step-00000003"]
    (tmp_path / "step-100000000/weights.safetensors").write_bytes(b"")
    warnings: list[str] = []
    found = newest_sound(tmp_path, warnings.append)
    assert found is not None
    assert found.name == "step-00000020"
    assert len(warnings) == 1
    assert "step-100000000: weights.safetensors is damaged" in warnings[0]


def test_a_folder_of_damaged_checkpoints_is_refused_and_an_empty_one_is_none(tmp_path: Path) -> None:
    assert newest_sound(tmp_path, print) is None
    write_checkpoint(checkpoint(), tmp_path / checkpoint_name(1))
    (tmp_path / checkpoint_name(1) / "state.json").unlink()
    with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged; --resume never starts over"):
        newest_sound(tmp_path, lambda _: None)


WRITER = """
import sys, torch
from pathlib import Path
from training.storage.checkpoint import checkpoint_name, write_checkpoint
for step in range(10_000):
    tensor = torch.full((400, 1000), float(step))
    write_checkpoint({"state_dict": {"a": tensor}, "global_step": step}, Path(sys.argv[1]) / checkpoint_name(step % 3))
"""


def test_a_killed_writer_leaves_every_visible_checkpoint_whole(tmp_path: Path) -> None:
    (writer := tmp_path / "writer.py").write_text(WRITER)
    for delay in (0.0, 0.013, 0.029):
        with Script(writer, str(tmp_path / "run")) as process:
            while not checkpoints_in(tmp_path / "run"):
                assert process.is_running, process.stderr
                time.sleep(0.01)
            time.sleep(delay)
            process.signal(signal.SIGKILL)
            process.wait()
        for folder in checkpoints_in(tmp_path / "run"):
            read = read_checkpoint(folder)
            assert (read["state_dict"]["a"] == read["global_step"]).all()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_every_file_has_the_mode_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_checkpoint({"state_dict": {"weight": torch.zeros(2)}}, tmp_path / "step-00000001")
        plain = tmp_path / "plain"
        plain.touch()
    finally:
        os.umask(before)
    modes = {path.stat().st_mode for path in (tmp_path / "step-00000001").iterdir()}
    assert modes == {plain.stat().st_mode}


def test_a_checkpoint_that_is_dropped_or_replaced_is_never_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "step-00000001"
    write_checkpoint({"state_dict": {"weight": torch.zeros(2)}}, folder)
    removed: list[Path] = []
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: removed.append(path))  # as if it were killed there
    SafeCheckpointIO().remove_checkpoint(folder)
    assert checkpoints_in(tmp_path) == []
    assert all(path.name.endswith(".writing") for path in removed)


def test_a_checkpoint_that_does_not_fit_names_its_place_and_leaves_the_one_before(tmp_path: Path) -> None:
    write_checkpoint(checkpoint(), tmp_path / "step-00000001")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (64, 600):  # in the weights, and in state.json
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match="File too large") as raised:
                write_checkpoint({**checkpoint(), "note": "x" * 2000}, tmp_path / "step-00000002")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(tmp_path / "step-00000002"))
    assert newest_sound(tmp_path, print) == tmp_path / "step-00000001"
    assert [*tmp_path.iterdir()] == [tmp_path / "step-00000001"]
