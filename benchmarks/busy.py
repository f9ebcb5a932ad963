"""Measures training beside other processes that keep processors busy: python -m benchmarks.busy.

Raw tokens a second of a masked LM in fp32, alone and beside busy loops: with the threads and the waiting that a run
chooses by itself, and with each fixed setting of OpenMP. Each has a process of its own that sleeps while another is
measured. They take turns, so that whatever else this machine does meets all alike; the result is the median of the
turns. It takes about four minutes on two processors, and needs a machine that does nothing else.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any, cast

import torch
from rich.console import Console

from benchmarks.shared.record import add, add_out, file_of, machine, today
from benchmarks.steps.arms import Setting, ours
from benchmarks.steps.shapes import MEASURED, shape_named
from common.processors import usable
from common.repository import REPOSITORY
from training.monitoring.tables import plain_table, print_whole

OBJECTIVE, PRESET = "masked_lm", "bert"
GNU_SPINS = "300000"  # what GNU's OpenMP has by itself: how often a thread looks before it sleeps
LOOP = "while True: pass"
# As a script begins: what is set by the environment is set before torch is loaded.
SERVE = "import training.setup.command_line; from benchmarks.busy import serve; serve({shape!r})"
OF_OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def ways() -> dict[str, dict[str, str]]:
    """What stands in the environment for each way of waiting: nothing where a run chooses, then what a user can set."""
    every = str(len(usable()))
    return {
        "auto": {},
        "default": {"OMP_NUM_THREADS": every, "GOMP_SPINCOUNT": GNU_SPINS},
        "passive": {"OMP_NUM_THREADS": every, "OMP_WAIT_POLICY": "passive"},
        "one thread": {"OMP_NUM_THREADS": "1"},
    }


def serve(shape: str) -> None:
    """Prints an arm's threads, then for each line of seconds the raw tokens a second of whole steps in that time."""
    setting = Setting(objective=OBJECTIVE, shape=shape_named(shape), device=torch.device("cpu"), precision="fp32")
    arm = ours(setting, PRESET, compiles=False)
    arm.step()
    print(torch.get_num_threads(), flush=True)
    for line in sys.stdin:
        steps, began = 0, time.perf_counter()
        while not steps or time.perf_counter() - began < float(line):
            arm.step()
            steps += 1
        print(arm.raw_tokens * steps / (time.perf_counter() - began), flush=True)


class SleepingArm:
    """A process that trains on request.

    Attributes:
        threads: that it computes with.
    """

    def __init__(self, shape: str, environment: dict[str, str]) -> None:
        others = {name: value for name, value in os.environ.items() if name not in OF_OPENMP}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(shape=shape)],
            cwd=REPOSITORY, env={**others, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.threads = int(self._line())

    def _line(self) -> str:
        line = cast(IO[str], self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"a measured process ended with {self._process.wait()}")
        return line

    def tokens_per_second(self, seconds: float) -> float:
        """Over so many seconds at least, in whole steps."""
        request = cast(IO[str], self._process.stdin)
        request.write(f"{seconds}\n")
        request.flush()
        return float(self._line())

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """So many other processes that each keep a processor busy."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def load_named(number: int) -> str:
    """Some busy loops in words."""
    return f"beside {number} busy loop{'s' * (number > 1)}" if number else "alone"


def measure_busy(
    shape: str, loads: Sequence[int], names: Sequence[str], *, turns: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """By load and way: the threads, and the median of raw tokens a second over some turns, with those of each turn.

    What a run chooses is chosen under the load that it is measured under; the fixed ways serve for every load.
    """
    with ExitStack() as stack:
        arms: dict[tuple[int, str], SleepingArm] = {}
        for name in names:
            for load in loads:
                if name == "auto" or load == loads[0]:
                    with busy_loops(load if name == "auto" else 0):
                        arms[load, name] = SleepingArm(shape, ways()[name])
                    stack.callback(arms[load, name].close)
                else:
                    arms[load, name] = arms[loads[0], name]
        rates: dict[tuple[int, str], list[float]] = {key: [] for key in arms}
        for turn in range(turns):
            for load in loads:
                with busy_loops(load):
                    for name in names if turn % 2 == 0 else reversed(names):  # so that none always comes first
                        rates[load, name].append(arms[load, name].tokens_per_second(seconds))
    return {
        load_named(load): {
            name: {
                "threads": arms[load, name].threads,
                "tokens_per_second": statistics.median(rates[load, name]),
                "turns": [round(rate, 1) for rate in rates[load, name]],
            }
            for name in names
        }
        for load in loads
    }


def rows_of(found: dict[str, Any]) -> list[list[str]]:
    """A row for each load: what each way reaches, its threads where a run chose them, and how near that comes."""
    rows = []
    for load, by_way in found.items():
        rates = {name: result["tokens_per_second"] for name, result in by_way.items()}
        best = max((rate for name, rate in rates.items() if name != "auto"), default=None)
        ratio = f"{rates['auto'] / best:.2f}" if best and "auto" in rates else ""
        chosen = f"{by_way['auto']['threads']}" if "auto" in by_way else ""
        rows.append([load, *(f"{rates[name]:,.0f}" if name in rates else "" for name in ways()), chosen, ratio])
    return rows


def header() -> list[str]:
    """Of the columns of `rows_of`."""
    return ["raw tokens a second", *ways(), "threads of auto", "auto / best fixed"]


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=MEASURED, default="mini")
    parser.add_argument("--loads", nargs="+", type=int, default=[0, 1, 2], metavar="NUMBER", help="of busy loops")
    parser.add_argument("--ways", nargs="+", default=list(ways()), choices=list(ways()), metavar="NAME",
                        help=f"a part of them: {', '.join(ways())}")  # fmt: skip
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="that each is trained in a turn, about")
    add_out(parser)
    options = parser.parse_args(arguments)
    described, console = machine(), Console(highlight=False)
    console.print(described)
    found = measure_busy(options.shape, options.loads, options.ways, turns=options.turns, seconds=options.seconds)
    table = plain_table(*header())
    for row in rows_of(found):
        table.add_row(*row)
    print_whole(console, table)
    add(options.out or file_of(described), described, {"busy": {f"{options.shape} on cpu": {"date": today(), **found}}})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
