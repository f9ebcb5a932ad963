"""Threads go by what is free of the machine: affinity, quota, load; a user's own settings stand above all."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from common import processors
from common.processors import busy_seconds, quota, threads_beside
from tests.processes import ROOT


@pytest.mark.parametrize(
    ("busy", "available", "limit", "expected"),
    [
        (0.0, 2, None, 2),
        (0.3, 2, None, 2),  # what a desktop does by itself
        (1.0, 2, None, 1),
        (1.1, 2, None, 1),
        (2.0, 2, None, 2),  # no processor is free: two shares are more than one
        (2.0, 8, None, 6),
        (4.0, 8, None, 4),
        (7.0, 8, None, 8),
        (0.0, 8, 4.0, 4),
        (5.0, 8, 4.0, 3),
        (0.0, 8, 0.5, 1),
        (1.0, 1, None, 1),
    ],
)
def test_threads_keep_to_free_processors_where_these_are_half_of_all(
    busy: float, available: int, limit: float | None, expected: int
) -> None:
    assert threads_beside(busy, processors=available, most=available, limit=limit) == expected


def test_cores_that_compute_two_threads_leave_room_for_others() -> None:
    assert threads_beside(3.0, processors=8, most=4, limit=None) == 4
    assert threads_beside(5.0, processors=8, most=4, limit=None) == 3


STAT = """cpu  100 100 100 100 100 100 100 0 0 0
cpu0 10 200 30 4000 50000 600000 7000000 8 9 9
cpu1 1 1 1 1 1 1 1 1 1 1
cpu12 5 0 0 0 0 0 0 0 0 0
intr 1
"""


def test_busy_is_what_ran_on_processors_of_ours(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text(STAT, encoding="utf-8")
    assert busy_seconds({0}, is_nice=False, stat=stat, ticks=1) == 7_600_040
    assert busy_seconds({0}, is_nice=True, stat=stat, ticks=1) == 7_600_240
    assert busy_seconds({1, 12}, is_nice=False, stat=stat, ticks=10) == 0.9
    assert busy_seconds({0}, is_nice=False, stat=tmp_path / "none") is None


def test_a_quota_is_the_least_of_all_groups_around_a_process(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/a/b\n", encoding="utf-8")
    assert quota(own, root) is None
    (root / "a/b").mkdir(parents=True)
    (root / "cpu.max").write_text("max 100000\n", encoding="utf-8")
    (root / "a/b/cpu.max").write_text("400000 100000\n", encoding="utf-8")
    assert quota(own, root) == 4
    (root / "a/cpu.max").write_text("150000 100000\n", encoding="utf-8")
    assert quota(own, root) == 1.5


@pytest.mark.parametrize("place", ["", "docker/1"])
def test_a_quota_of_the_first_version_is_read_where_it_can_be_seen(tmp_path: Path, place: str) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("9:name=systemd:/\n3:cpu,cpuacct:/docker/1\n", encoding="utf-8")
    folder = root / "cpu,cpuacct" / place
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_period_us").write_text("100000\n", encoding="utf-8")
    for granted, expected in (("-1\n", None), ("250000\n", 2.5)):
        (folder / "cpu.cfs_quota_us").write_text(granted, encoding="utf-8")
        assert quota(own, root) == expected


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="no kernel that counts")
def test_a_busy_loop_beside_is_seen_and_our_own_work_is_not() -> None:
    meter = processors.LoadMeter()
    alone = meter.busy()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as loop:
        try:
            beside = processors.LoadMeter().busy()
        finally:
            loop.kill()
    assert 0 <= alone <= len(meter.processors)
    assert beside > 0.1


PRINT = "import os; from common.processors import set_up; set_up(); print([os.environ.get(name) for name in {names}])"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [processors.SPINS, None, None]),
        ({"OMP_WAIT_POLICY": "active"}, [None, "active", None]),
        ({"GOMP_SPINCOUNT": "7", "OMP_NUM_THREADS": "3"}, ["7", None, "3"]),
    ],
)
def test_what_the_user_set_stays(given: dict[str, str], expected: list[str | None]) -> None:
    names = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"]
    others = {name: value for name, value in os.environ.items() if name not in names}
    printed = subprocess.run(
        [sys.executable, "-c", PRINT.format(names=names)],
        env={**others, **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == str(expected)


FAULTS = """
import resource, time
from common.processors import keep_memory
print(keep_memory())
def faults():
    for _ in range(2):
        blocks = [bytearray(b"x") * (1 << 23) for _ in range(4)]
        del blocks
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytearray(b"x") * (1 << 23) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
@pytest.mark.parametrize("given", [{}, {"MALLOC_TOP_PAD_": "0"}, {"GLIBC_TUNABLES": "glibc.malloc.top_pad=0"}])
def test_freed_memory_is_used_again_without_faults_unless_the_user_set_the_allocator(given: dict[str, str]) -> None:
    others = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES" and "MALLOC_" not in name}
    command = [sys.executable, "-c", FAULTS]
    printed = subprocess.run(command, env={**others, **given}, cwd=ROOT, capture_output=True, text=True, check=True)
    is_kept, faults = printed.stdout.split()
    assert is_kept == str(not given)
    pages = (4 << 23) // resource.getpagesize()
    assert (int(faults) < pages / 10) is (not given), "of 32 MB"


WATCH = """
import os, runpy, sys
class Watch:
    def find_spec(self, name, *_):
        if name == "torch":
            sys.exit("GOMP_SPINCOUNT" not in os.environ)
sys.meta_path.insert(0, Watch())
runpy.run_path({script!r})
import torch
"""


@pytest.mark.parametrize("script", ["train.py", "finetune.py", "compare.py", "score.py", "generate.py", "predict.py"])
def test_waiting_is_chosen_before_torch_is_loaded(script: str) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    command = [sys.executable, "-c", WATCH.format(script=script)]
    assert subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
