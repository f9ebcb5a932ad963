"""Small disks, read-only disks, and no network: one line and a status, nothing lost, and nothing needed is refused."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import TINY, run_script
from training.storage.checkpoint import checkpoints_in, damage
from training.storage.run_dir import RunFolder

pytestmark = pytest.mark.faults

MEBIBYTES = 64
WIDE = ("--body.width", "256", "--body.num_heads", "4", "--body.layers", "6")  # checkpoints of some 60 MB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount_read_only(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def command(corpus: Path, cache: Path, runs: Path, *more: str) -> list[str]:
    return [
        *("--config", "configs/causal_lm.yaml", *TINY, "--data.corpus", str(corpus), "--data.cache", str(cache)),
        *("--runs", str(runs), "--name", "run", "--budget.steps", "6", "--checkpoints.every_steps", "1"),
        *("--logging.examples", "1", *more),
    ]


def one_line(error: str) -> str:
    (line,) = [line for line in error.splitlines() if "error:" in line]
    assert "Traceback" not in error
    return line


def test_a_disk_that_fills_up_ends_in_one_line_and_the_run_goes_on_where_there_is_room(
    disk: Path, tmp_path: Path, corpus_file: Path, cache: Path, store: Path
) -> None:
    arguments = command(corpus_file, cache, disk, *WIDE)
    full = run_script("train.py", *arguments)
    assert full.returncode == 4, full.stderr
    assert "o space left" in one_line(full.stderr)
    assert all(damage(path) is None for path in checkpoints_in(disk / "run/checkpoints"))
    shutil.copytree(disk / "run", tmp_path / "room/run")
    done = run_script("train.py", *command(corpus_file, cache, tmp_path / "room", *WIDE))
    assert done.returncode == 0, done.stderr
    assert RunFolder(tmp_path / "room/run").read_summary()


def test_a_store_that_does_not_fit_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The cat sees the old tree.\n\n" * (3 * MEBIBYTES << 20 >> 5), encoding="utf-8")
    full = run_script("prepare.py", *TINY, "--data.corpus", str(corpus), "--data.cache", str(disk / "cache"))
    assert full.returncode == 4, full.stderr
    assert "o space left" in one_line(full.stderr)
    assert not list((disk / "cache").glob("*/manifest.json"))
    assert sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) < 1 << 20


def test_a_sound_store_on_a_read_only_disk_is_used_and_a_run_is_not_begun_there(
    disk: Path, tmp_path: Path, corpus_file: Path
) -> None:
    prepared = run_script("prepare.py", *TINY, "--data.corpus", str(corpus_file), "--data.cache", str(disk / "cache"))
    assert prepared.returncode == 0, prepared.stderr
    remount_read_only(disk)
    done = run_script("train.py", *command(corpus_file, disk / "cache", tmp_path))
    assert done.returncode == 0, done.stderr
    refused = run_script("train.py", *command(corpus_file, disk / "cache", disk))
    assert refused.returncode == 4, refused.stderr
    assert str(disk) in one_line(refused.stderr)


def test_a_run_on_a_read_only_disk_is_used(disk: Path, corpus_file: Path, cache: Path, store: Path) -> None:
    assert run_script("train.py", *command(corpus_file, cache, disk)).returncode == 0
    remount_read_only(disk)
    done = run_script("generate.py", str(disk / "run"), "the cat", "--max_new_tokens", "4")
    assert done.returncode == 0, done.stderr
    refused = run_script("score.py", str(disk / "run"), "--passages", "4", "--bytes", "32")
    assert refused.returncode in (2, 4), refused.stderr
    assert str(disk) in one_line(refused.stderr)


def test_without_a_network_a_run_with_a_key_ends_by_itself(
    tmp_path: Path, corpus_file: Path, cache: Path, store: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # a port at which nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    keyed = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": url, "WANDB_MODE": "online"}
    done = run_script(
        "train.py", *command(corpus_file, cache, tmp_path, "--logging.wandb", "auto"), timeout=280, **keyed
    )
    assert done.returncode in (0, 4), done.stderr
    assert "Traceback" not in done.stderr
