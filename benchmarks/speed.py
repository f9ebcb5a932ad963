"""Measures this project beside transformers, side by side in one run, as ratios: python -m benchmarks.speed.

    steps       raw tokens a second of each arm's training step, against transformers' class of the same family
    loader      raw tokens a second of the loader, against the step that it feeds
    lightning   what a whole run costs a step beside a bare loop

Every measured thing has a process of its own; they take turns, a few steps each, so that all meet the same noise.
Medians of the turns are printed, and written with --out.
"""

import argparse
import csv
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import train
from benchmarks.arms import CLASS_OF, PRESET_OF, ROOT, faster_precision, loader_of, our_step, ours, prepared, theirs
from training.setup.hardware import peak_flops
from training.step.optim import make_optimizer

VARIANTS = ("theirs", "theirs, no dropout", "theirs, compiled", "ours", "ours, compiled", "lab", "lab, compiled")


def make_arm(objective: str, variant: str, precision: str) -> Any:
    """The arm of a variant: transformers' as its users run it, ours as train.py runs it."""
    kind, _, how = variant.partition(", ")
    if kind == "theirs":
        dropout = 0.0 if how else None
        return theirs(objective, dropout=dropout, compiles=how == "compiled", precision=precision)
    preset = "lab" if kind == "lab" else PRESET_OF[objective]
    return ours(objective, preset, compiles=how == "compiled", precision=precision)


def serve(objective: str, variant: str, precision: str) -> None:
    """A measured process: for each number of steps that it reads, how many seconds they took."""
    arm = make_arm(objective, variant, precision)
    for _ in range(3):
        arm.step()
    print(json.dumps({"raw_tokens": arm.raw_tokens, "flops": arm.flops}), flush=True)
    for line in sys.stdin:
        before = time.perf_counter()
        for _ in range(int(line)):
            arm.step()
        print(time.perf_counter() - before, flush=True)


class Measured:
    """A measured process."""

    def __init__(self, objective: str, variant: str, precision: str) -> None:
        huge_pages = "0" if variant.startswith("theirs") else "1"  # as train.py sets it; see there
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed", "--serve", objective, variant, precision], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "THP_MEM_ALLOC_ENABLE": huge_pages, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        self.cost = json.loads(self._read())
        self.seconds: list[float] = []

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a measured process ended: {self.process.args}")
        return line

    def take_turn(self, steps: int) -> None:
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        self.seconds.append(float(self._read()) / steps)

    def result(self, peak: float) -> dict[str, float]:
        seconds = statistics.median(self.seconds)
        found = {"tokens_per_second": self.cost["raw_tokens"] / seconds, "seconds": seconds}
        return found if self.cost["flops"] is None else {**found, "mfu": self.cost["flops"] / seconds / peak}

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure_steps(
    objective: str, variants: list[str], precision: str, *, turns: int, steps: int, peak: float
) -> dict[str, dict[str, float]]:
    """Each variant's step."""
    measured = {variant: Measured(objective, variant, precision) for variant in variants}
    for _ in range(turns):
        for process in measured.values():
            process.take_turn(steps)
    for process in measured.values():
        process.close()
    return {variant: process.result(peak) for variant, process in measured.items()}


def measure_loader(objective: str, *, turns: int) -> float:
    """Raw tokens a second that one process prepares."""
    module, data = prepared(objective, "lab")
    batches = iter(loader_of(module, data))
    rates = []
    for _ in range(turns):
        before = time.perf_counter()
        tokens = sum(batch.raw_tokens for batch in itertools.islice(batches, 20))
        rates.append(tokens / (time.perf_counter() - before))
    return statistics.median(rates)


def bare_loop(objective: str, precision: str, steps: int) -> float:
    """Seconds a step of a plain loop over the loader."""
    module, data = prepared(objective, "lab")
    module.build(vocab_size=data.vocabulary.size, window=data.window)
    module.train()
    optimizer = make_optimizer(module, module.optimizer_config)
    batches = iter(loader_of(module, data))
    for _ in range(5):
        our_step(module, optimizer, next(batches), precision)
    before = time.perf_counter()
    for _ in range(steps):
        our_step(module, optimizer, next(batches), precision)
    return (time.perf_counter() - before) / steps


def whole_run(objective: str, precision: str, steps: int) -> float:
    """Seconds a step of a run with all its callbacks, by its own metrics.csv."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "budget.steps": steps + 10, "validation.every_steps": 10**6, "logging.every_steps": 5, "runs": folder,
            "logging.wandb": "off", "trainer.precision": "bf16-mixed" if precision == "bf16" else "32-true",
            "data.cache": ROOT / "cache", "body.feed_forward_width": "null", "logging.examples": 1,
        }  # fmt: skip
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        assert train.main(["--config", str(ROOT / f"configs/{objective}.yaml"), "--name", "run", *arguments]) == 0
        with (Path(folder) / "run/metrics.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["speed/raw_tokens_per_second"]][1:]
    tokens = (int(rows[-1]["raw_tokens"]) - int(rows[0]["raw_tokens"])) / (int(rows[-1]["step"]) - int(rows[0]["step"]))
    return statistics.mean(tokens / float(row["speed/raw_tokens_per_second"]) for row in rows)


def measure_lightning(objective: str, precision: str, *, turns: int, steps: int) -> dict[str, float]:
    """The bare loop and the whole run in turn."""
    bare, whole = [], []
    measured = [(bare_loop, bare), (whole_run, whole)]
    for _ in range(turns):
        for measure, seconds in measured:
            seconds.append(measure(objective, precision, steps))
        measured.reverse()  # so that neither always comes first
    ratio = statistics.median(run / loop for run, loop in zip(whole, bare, strict=True))
    return {"bare": statistics.median(bare), "whole": statistics.median(whole), "ratio": ratio}


def print_steps(console: Console, found: dict[str, dict[str, dict[str, float]]], variants: list[str]) -> None:
    """A column for each objective, a row for each variant, and the ratios below."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("raw tokens a second")
    for objective in found:
        table.add_column(objective, justify="right")
    for variant in variants:
        cells = [
            f"{results[variant]['tokens_per_second']:,.0f}"
            + (f" ({results[variant]['mfu']:.0%})" if "mfu" in results[variant] else "")
            for results in found.values()
        ]
        table.add_row(variant, *cells)

    def best(results: dict[str, dict[str, float]], kind: str) -> float:
        return max(result["tokens_per_second"] for name, result in results.items() if name.startswith(kind))

    if {"ours", "theirs"} <= set(variants):
        eager = {objective: results["theirs"]["tokens_per_second"] for objective, results in found.items()}
        ratios = {
            "ours / theirs": [r["ours"]["tokens_per_second"] / eager[o] for o, r in found.items()],
            "best of ours / theirs": [best(r, "ours") / eager[o] for o, r in found.items()],
            "best of ours / best of theirs": [best(r, "ours") / best(r, "theirs") for r in found.values()],
        }
        for name, row in ratios.items():
            table.add_row(name, *(f"{ratio:.2f}" for ratio in row), style="bold")
    console.print(table)
    console.print("theirs: " + ", ".join(CLASS_OF[objective] for objective in found))
    console.print("in brackets: the share of the fastest measured matrix product that the step's products reach (MFU)")


def processor() -> dict[str, Any]:
    """What computes, and when."""
    name = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": name or platform.processor(),
        "threads": torch.get_num_threads(),
        "amx": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "torch": torch.__version__,
    }


def hardware(precision: str, peak: float) -> dict[str, Any]:
    """The same with what was measured of it."""
    return {**processor(), "precision": precision, "peak_tflops": peak / 1e12}


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--objectives", nargs="+", default=list(PRESET_OF), choices=list(PRESET_OF))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--parts", nargs="+", default=["steps", "loader", "lightning"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="steps a turn")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    console = Console(highlight=False)
    precision = faster_precision()
    peak = peak_flops(torch.device("cpu"), torch.bfloat16 if precision == "bf16" else torch.float32) or 1.0
    figures: dict[str, Any] = {"hardware": hardware(precision, peak)}
    console.print(figures["hardware"])

    def steps() -> None:
        found = {
            objective: measure_steps(
                objective, options.variants, precision, turns=options.turns, steps=options.steps, peak=peak
            )
            for objective in options.objectives
        }
        figures["steps"] = found
        print_steps(console, found, options.variants)

    def loader() -> None:
        for objective in options.objectives:
            rate = measure_loader(objective, turns=options.turns)
            step = measure_steps(objective, ["lab, compiled"], precision, turns=3, steps=options.steps, peak=peak)
            ratio = rate / step["lab, compiled"]["tokens_per_second"]
            figures.setdefault("loader", {})[objective] = {"tokens_per_second": rate, "over_step": ratio}
            console.print(f"loader of {objective}: {rate:,.0f} raw tokens/s, {ratio:.0f} times the compiled step's")

    def lightning() -> None:
        for objective in options.objectives[:2]:
            found = measure_lightning(objective, precision, turns=3, steps=40)
            figures.setdefault("lightning", {})[objective] = found
            console.print(
                f"a run of {objective}: {1000 * found['whole']:.1f} ms a step, a bare loop {1000 * found['bare']:.1f} "
                f"ms: {found['ratio'] - 1:+.1%}"
            )

    parts: dict[str, Callable[[], None]] = {"steps": steps, "loader": loader, "lightning": lightning}
    for part in options.parts:
        parts[part]()
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
