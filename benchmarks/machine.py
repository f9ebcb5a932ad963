"""Whether the laboratory works on this machine, and what the machine can do: python -m benchmarks.machine.

    python -m benchmarks.machine
    python -m benchmarks.machine --checks products masked_lm --minutes 4

Every check has a process of its own, so that one that fails hides no other. Runs are tiny, of the shipped configs, on
the text of this project's documents. It ends by itself; what the limit cuts off is `not run`. The table is written as
JSON under benchmarks/results/ besides, in the file of this machine.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.checks import CHECKS, Skipped
from benchmarks.shared.limited import run_limited
from benchmarks.shared.record import add, add_out, file_of, machine, today
from common.files import write_whole

MINUTES = 4.0 if torch.cuda.is_available() else 10.0
SECONDS_OF_A_CHECK = 180.0
FAILED, SKIPPED = 1, 3  # exit statuses of a check's process
COLOURS = {"passed": "green", "failed": "red", "not run": "yellow", "not here": "dim"}


def run_one(name: str, folder: Path) -> int:
    """Runs a check in this process, and leaves what it found in the folder; returns the exit status."""
    try:
        found = CHECKS[name](folder)
    except Skipped as reason:
        print(reason, file=sys.stderr)
        return SKIPPED
    write_whole(folder / "found.json", json.dumps(found))
    return 0


def check(name: str, seconds: float) -> dict[str, Any]:
    """What became of a check in a process of its own: its status, its time, and what it found or why it failed."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.machine", "--one", name, folder]
        ended = run_limited(command, seconds)
        if ended.status is None:
            return {"status": "not run", "detail": f"cut off after {seconds:.0f} s"}
        outcome = {"seconds": round(time.monotonic() - began, 1)}
        if ended.status == SKIPPED:
            return {"status": "not here", "detail": ended.last_line}
        if ended.status:
            errors = ended.errors[-4000:].replace(folder, "FOLDER")
            return {"status": "failed", **outcome, "detail": ended.last_line, "errors": errors}
        return {"status": "passed", **outcome, **json.loads((Path(folder) / "found.json").read_text(encoding="utf-8"))}


def run_all(names: list[str], minutes: float) -> dict[str, dict[str, Any]]:
    """Every check in turn until the time is up."""
    end, found = time.monotonic() + 60 * minutes, {}
    for name in names:
        left = end - time.monotonic()
        found[name] = check(name, min(left, SECONDS_OF_A_CHECK)) if left > 1 else {"status": "not run"}
        print(f"{name}: {found[name]['status']}", file=sys.stderr, flush=True)
    return found


def table_of(found: dict[str, dict[str, Any]]) -> Table:
    """A row for each check."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("check", "", "seconds", ""):
        table.add_column(heading)
    for name, outcome in found.items():
        status = outcome["status"]
        colour = COLOURS[status]
        seconds = f"{outcome['seconds']:.0f}" if "seconds" in outcome else ""
        table.add_row(name, f"[{colour}]{status}[/]", seconds, escape(str(outcome.get("detail", ""))))
    return table


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status, 1 where a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, metavar=("CHECK", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--checks", nargs="+", choices=list(CHECKS), default=list(CHECKS), metavar="NAME",
                        help=f"a part of them: {', '.join(CHECKS)}")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which it ends; %(default)g by default")
    add_out(parser)
    options = parser.parse_args(arguments)
    if options.one:
        return run_one(options.one[0], Path(options.one[1]))
    console = Console(highlight=False)
    described = machine()
    console.print(described)
    found = run_all(options.checks, options.minutes)
    console.print(table_of(found))
    add(options.out or file_of(described), described, {"checks": {"date": today(), **found}})
    return int(any(outcome["status"] == "failed" for outcome in found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
