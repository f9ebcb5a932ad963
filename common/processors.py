"""What of this machine's processors a process may use, how its threads wait for each other, and what memory it keeps.

OpenMP's threads spin where they wait for the slowest of them. Beside another busy process that one is often not being
run at all, and the others burn the time that it needs: training fell to a fifth of its fair share.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# How often a thread looks before it sleeps, in about a tenth of a millisecond: longer than most gaps between two
# parallel regions of a step, and far shorter than the slice of another process. GNU's OpenMP looks 300,000 times.
SPINS = "4000"
SHORTEST_LOOK = 0.2  # seconds over which load is measured, at least: the kernel counts in hundredths
TUNABLES = "GLIBC_TUNABLES"
# By the number of an option of mallopt, the sizes it takes, of which older versions of glibc refuse the first: from how
# many bytes on a block is returned as soon as it is freed, and how many may be free at the heap's end.
KEPT = {-3: (1 << 30, 1 << 25), -1: ((1 << 31) - 1,)}
FEW = 0.5  # processors that other processes may keep busy in all before a thread gives way


def usable() -> set[int]:
    """The processors that this process may run on, by their numbers."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _groups(root: Path, own: str) -> Iterator[Path]:
    """The folder of a control group and of every one around it; in a container it may not be seen."""
    folder = root / own.strip("/")
    yield from (path for path in (folder, *folder.parents) if path.is_relative_to(root) and path.is_dir())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # `max`, or nothing
        return None


def quota(processes: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The processors' time that control groups grant this process, in processors; None where they set no limit."""
    found: list[float] = []
    for line in processes.read_text(encoding="utf-8").splitlines() if processes.is_file() else []:
        _, controllers, own = line.split(":", 2)
        if not controllers:  # version 2
            limits = [(path / "cpu.max").read_text() for path in _groups(root, own) if (path / "cpu.max").is_file()]
        elif "cpu" in controllers.split(","):
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            folders = [path for path in _groups(root / controllers, own) if (path / names[0]).is_file()]
            limits = [" ".join((path / name).read_text().strip() for name in names) for path in folders]
        else:
            continue
        for granted, period in (limit.split() for limit in limits):
            amount, of = _number(granted), _number(period)
            if amount is not None and amount > 0 and of:
                found.append(amount / of)
    return min(found, default=None)


def busy_seconds(
    processors: set[int], *, is_nice: bool, stat: Path = Path("/proc/stat"), ticks: float | None = None
) -> float | None:
    """Seconds that these processors have run any process, since the machine started; None where no kernel counts them.

    Args:
        processors: by their numbers.
        is_nice: counts processes of low priority as well, which give way to one that is not.
        stat: the kernel's counts.
        ticks: of a second.
    """
    if not stat.is_file():
        return None
    total = 0
    for line in stat.read_text(encoding="utf-8").splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in processors:
            user, nice, system, _idle, _waiting, interrupts, soft = map(int, counts[:7])
            total += user + nice * is_nice + system + interrupts + soft
    return total / (ticks or os.sysconf("SC_CLK_TCK"))


class LoadMeter:
    """Measures from its making on how many processors other processes keep busy."""

    def __init__(self) -> None:
        self.processors, self.is_nice = usable(), hasattr(os, "getpriority") and os.getpriority(os.PRIO_PROCESS, 0) > 0
        self.began, self.before = time.monotonic(), self._foreign_seconds()

    def _foreign_seconds(self) -> float | None:
        busy, own = busy_seconds(self.processors, is_nice=self.is_nice), os.times()
        if busy is None:
            return None
        return busy - (own.user + own.system + own.children_user + own.children_system)

    def busy(self) -> float:
        """Processors that others kept busy on average; 0 where no kernel counts."""
        if self.before is None:
            return 0.0
        time.sleep(max(0.0, SHORTEST_LOOK - (time.monotonic() - self.began)))
        now = self._foreign_seconds()
        assert now is not None
        return min(max((now - self.before) / (time.monotonic() - self.began), 0.0), float(len(self.processors)))


@cache
def meter() -> LoadMeter:
    """The one of this process, which begins where it is first asked for."""
    return LoadMeter()


def threads_beside(busy: float, *, processors: int, most: int, limit: float | None) -> int:
    """How many threads are fastest beside other processes.

    A step waits for its slowest thread. One that has a processor to itself is twice as fast as one that shares it, so
    that threads keep to the free processors where these are half of all; beyond that, all take their share.

    Args:
        busy: processors that others keep busy.
        processors: that there are.
        most: threads of an idle machine.
        limit: quota in processors.
    """
    most = most if limit is None else min(most, max(int(limit), 1))
    free = processors - busy
    if free >= most - FEW or free < most / 2 - FEW / 2:
        return most
    return max(round(free), 1)


def keep_memory() -> bool:
    """Has glibc keep the memory of freed blocks for the next ones; whether it does.

    By itself it returns what is free at the end of the heap, and large blocks at once, so that a step's hundreds of
    megabytes are faulted in anew in every step: a tenth of a causal LM's step on a CPU. The most that a process has is
    a twentieth more. Another allocator, and what the user set, stay as they are.
    """
    is_set = any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get(TUNABLES, "")
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if is_set or not hasattr(libc, "gnu_get_libc_version"):
        return False
    return all(any(libc.mallopt(option, size) for size in sizes) for option, sizes in KEPT.items())


def set_up() -> None:
    """Chooses how the allocator, torch and OpenMP will work, before these are loaded; what the user set stays.

    Load is measured from here on.
    """
    meter()
    keep_memory()
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # large pages take fewer faults
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
