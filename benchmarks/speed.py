"""Measures training steps beside other libraries' on this machine, as ratios: python -m benchmarks.speed.

    python -m benchmarks.speed --device cuda --shape base
    python -m benchmarks.speed --shape nano --objectives causal_lm --variants "ours compiled" theirs --again
    python -m benchmarks.speed --device cuda --shape base --variants "lab compiled" --kernels

For each objective: `ours` (the preset of the objective's family) and `lab`, with documents kept apart and not, and
transformers' class of the family, eager and compiled; ModernBERT and, where it is installed, litgpt's GPT besides. On a
CPU our steps are timed in turns with their matrix products alone, which no uncompiled step can beat, and those of each
side in turns with the family's, by which sides compare: a machine's pace changes from process to process. Every variant
has a process of its own with a time limit. Results are written as they come, and what stands in the file is not
measured again: a call ends in about four minutes, and the next one goes on. With OMP_NUM_THREADS=1 a CPU's steps are
timed by the processor's clock, which other processes hardly change.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.shared.limited import run_limited
from benchmarks.shared.record import add, add_out, file_of, machine, read, today
from benchmarks.steps.arms import PRESET_OF, faster_precision
from benchmarks.steps.peers import is_here
from benchmarks.steps.shapes import MEASURED
from benchmarks.steps.timing import FAMILY, OWN, variants_of
from common.repository import REPOSITORY
from training.monitoring.tables import plain_table, print_whole

MINUTES = 4.0
SECONDS_OF_A_VARIANT = {"cpu": 150.0, "cuda": 75.0}  # at most, with its compilation
LEAST_SECONDS = {"cpu": 75.0, "cuda": 30.0}  # that must be left where a variant is begun
TIMED_SECONDS = {"cpu": 6.0, "cuda": 2.0}
BEST = "best of ours / best of theirs"
PRODUCTS = "its products alone"
OURS, PEERS = ("ours", "lab"), ("theirs", "modernbert", "litgpt")
RATE = "tokens_per_second"
Found = dict[str, dict[str, dict[str, Any]]]  # by objective, then by variant


def run_variant(objective: str, variant: str, limit: float, *more: str) -> dict[str, Any]:
    """What a variant reaches, in a process of its own; `failed` in place of figures where it reaches nothing."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        measuring = [sys.executable, "-m", "benchmarks.steps.timing"]
        command = [*measuring, "--objective", objective, "--variant", variant, *more]
        # Both sides have the allocator's large pages, which speed up transformers' eager step most.
        environment = {"THP_MEM_ALLOC_ENABLE": "1", "PYTHONWARNINGS": "ignore"}
        ended = run_limited([*command, "--out", str(out)], limit, environment)
        if ended.status is None:
            return {"failed": f"cut off after {limit:.0f} s"}
        if ended.status:
            return {"failed": ended.last_line.replace(folder, "FOLDER").replace(str(REPOSITORY), ".")}
        return json.loads(out.read_text(encoding="utf-8"))


def missing(held: Found, objectives: list[str], variants: list[str] | None) -> Iterator[tuple[str, str]]:
    """What is still to be measured: of every objective in turn, the most informative first."""
    wanted = {objective: variants_of(objective) for objective in objectives}
    for place in range(max(map(len, wanted.values()))):
        for objective, names in wanted.items():
            if (
                place < len(names)
                and (variants is None or names[place] in variants)
                and is_here(names[place].split()[0])
            ):
                found = held.get(objective, {}).get(names[place], {"failed": ""})
                if "failed" in found:
                    yield objective, names[place]


def best(results: dict[str, dict[str, Any]], sides: tuple[str, ...], unit: str) -> float | None:
    """The most that any variant of these sides reaches, documents not kept apart; a ratio of times counts inversely."""
    found = [
        result[unit]
        for name, result in results.items()
        if name.split()[0] in sides and "documents" not in name and "failed" not in result
    ]
    return (1 / min(found) if unit == FAMILY else max(found)) if found else None


def _ratio(results: dict[str, dict[str, Any]]) -> float | None:
    """How many times as many tokens the best of ours reaches as the best of theirs."""
    is_timed = all(FAMILY in result or "failed" in result for result in results.values())
    ours, theirs = (best(results, sides, FAMILY if is_timed else RATE) for sides in (OURS, PEERS))
    return ours / theirs if ours and theirs else None


def _cell(result: dict[str, Any]) -> str:
    if "failed" in result:
        return "-"
    mfu = f" ({result['mfu']:.0%})" if "mfu" in result else ""
    return f"{result[RATE]:,.0f}{mfu}"


def rows_of(found: Found) -> list[list[str]]:
    """A row for each variant, a cell for each objective; ratios are the last."""
    every = [name for objective in PRESET_OF for name in variants_of(objective)]
    names = [name for name in dict.fromkeys(every) if any(name in results for results in found.values())]
    rows = [[name, *(_cell(results[name]) if name in results else "" for results in found.values())] for name in names]
    ratios = [_ratio(results) for results in found.values()]
    if any(ratios):
        rows.append([BEST, *("" if one is None else f"{one:.2f}" for one in ratios)])
    for name in names:
        times = [results.get(name, {}).get(OWN) for results in found.values()]
        if any(times):
            rows.append([f"{name} / {PRODUCTS}", *("" if one is None else f"{one:.2f}" for one in times)])
    return rows


def print_table(console: Console, found: Found) -> None:
    """The raw tokens a second of every variant, with MFU."""
    table = plain_table("raw tokens a second (MFU)", *found)
    for name, *cells in rows_of(found):
        table.add_row(name, *cells, style="bold" if " / " in name else "")
    print_whole(console, table)
    for objective, results in found.items():
        for name, result in results.items():
            if "failed" in result:
                console.print(f"{objective}, {name}: {result['failed']}", markup=False)
            elif "kernels" in result:
                console.print(f"{objective}, {name}:\n{result['kernels']}", markup=False, soft_wrap=True)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status, 1 where a variant failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default)
    parser.add_argument(
        "--shape", choices=MEASURED, help="of configs/shapes/; mini on a CPU and base on a GPU by default"
    )
    parser.add_argument("--objectives", nargs="+", default=list(PRESET_OF), choices=list(PRESET_OF), metavar="NAME")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="a part of them, such as 'lab compiled'")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which no variant is begun")
    parser.add_argument("--seconds", type=float, help="that the timed steps of a variant take, about")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="by default the one that `auto` would choose")
    parser.add_argument("--kernels", action="store_true", help="a table of each variant's kernels besides")
    parser.add_argument("--again", action="store_true", help="measures as well what stands in the file")
    add_out(parser)
    options = parser.parse_args(arguments)
    known = {name for objective in PRESET_OF for name in variants_of(objective)}
    if unknown := [name for name in options.variants or [] if name not in known]:
        parser.error(f"--variants {', '.join(unknown)}: there are {', '.join(sorted(known))}")
    shape = options.shape or ("base" if options.device == "cuda" else "mini")
    described, console = machine(), Console(highlight=False)
    out = options.out or file_of(described)
    key = f"{shape} on {options.device}"
    console.print(described)
    held: Found = {} if options.again else read(out).get("speed", {}).get(key, {})
    precision = options.precision or faster_precision(torch.device(options.device))
    more = ["--device", options.device, "--shape", shape, "--precision", precision]
    more += ["--seconds", str(options.seconds or TIMED_SECONDS[options.device]), *(["--kernels"] * options.kernels)]
    end = time.monotonic() + 60 * options.minutes
    found: Found = {objective: {} for objective in options.objectives}
    for objective, variant in missing(held, options.objectives, options.variants):
        left = end - time.monotonic()
        if left < LEAST_SECONDS[options.device]:
            console.print("the time is up: the same command goes on with what is not measured yet")
            break
        result = run_variant(objective, variant, min(left, SECONDS_OF_A_VARIANT[options.device]), *more)
        found[objective][variant] = {"date": today(), "precision": precision, **result}
        console.print(f"{objective}, {variant}: {_cell(result)}", markup=False)
        kept = {key_: value for key_, value in found[objective][variant].items() if key_ != "kernels"}
        add(out, described, {"speed": {key: {objective: {variant: kept}}}})
    written = read(out).get("speed", {}).get(key, {})
    every = {o: {**written.get(o, {}), **found[o]} for o in options.objectives if o in written}
    print_table(console, every)
    return int(any("failed" in result for results in found.values() for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
