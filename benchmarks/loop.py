"""Measures what stands around a training step: python -m benchmarks.loop.

    loader      processor seconds of a million raw tokens, and raw tokens a second, without and with worker processes
    lightning   what a whole run with all its callbacks costs a step beside a bare loop over the same batches
    hooks       the same of a model of next to nothing, in the processor's microseconds, beside plain Lightning as well

A loader must keep ahead of the step that it feeds: three million raw tokens a second feed a 110 M model on a fast GPU
six times over.
"""

import argparse
import csv
import itertools
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import train
from benchmarks.shared.record import add, add_out, file_of, machine, today
from benchmarks.steps.arms import PRESET_OF, Setting, faster_precision, loader_of, our_step, prepared
from benchmarks.steps.hooks import measure_hooks
from benchmarks.steps.shapes import MEASURED, shape_named
from common.repository import REPOSITORY
from training.optimizers.optim import make_optimizer

PARTS = ("loader", "lightning", "hooks")
OBJECTIVES = (
    *PRESET_OF,
    *("masked_lm_sentence_order", "prefix_lm", "fill_in_the_middle", "masked_diffusion", "replaced_token_detection"),
    *("dual", "papers/ul2", "schedules/denoising_and_span_corruption"),
)  # configs


def measure_loader(setting: Setting, *, workers: int, batches: int) -> dict[str, float]:
    """Raw tokens a second that the loader gives, and without workers the processor seconds that a million take."""
    module, data = prepared(setting, "lab")
    given = iter(loader_of(module, data, workers=workers))
    for _ in range(3 + 2 * workers):
        next(given)
    before, spent = time.perf_counter(), time.process_time()
    tokens = sum(batch.raw_tokens for batch in itertools.islice(given, batches))
    found = {"tokens_per_second": tokens / (time.perf_counter() - before)}
    if not workers:
        found["cpu_seconds_per_million"] = 1e6 * (time.process_time() - spent) / tokens
    return found


def bare_loop(setting: Setting, steps: int) -> float:
    """Seconds a step of a plain loop over the loader."""
    module, data = prepared(setting, "lab")
    module.build(vocab_size=data.vocabulary.size, window=data.window).to(setting.device)
    module.train()
    optimizer = make_optimizer(module, module.optimizer_config)
    batches = iter(loader_of(module, data))
    for _ in range(5):
        our_step(module, optimizer, next(batches).to(setting.device), setting.autocast())
    before = time.perf_counter()
    for _ in range(steps):
        our_step(module, optimizer, next(batches).to(setting.device), setting.autocast())
    return (time.perf_counter() - before) / steps


def whole_run(setting: Setting, steps: int) -> float:
    """Seconds a step of a run with all its callbacks, by its own metrics.csv."""
    shape = setting.shape
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "budget.steps": steps + 10, "validation.every_steps": 10**6, "logging.every_steps": 5, "runs": folder,
            "logging.wandb": "off", "trainer.precision": "bf16-mixed" if setting.precision == "bf16" else "32-true",
            "data.cache": REPOSITORY / "cache", "body.width": shape.width, "body.layers": shape.layers,
            "body.num_heads": shape.num_heads, "data.window": shape.window, "data.batch_size": shape.batch_size,
            "logging.examples": 0, "trainer.accelerator": "gpu" if setting.device.type == "cuda" else "cpu",
        }  # fmt: skip
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        assert (
            train.main(["--config", str(REPOSITORY / f"configs/{setting.objective}.yaml"), "--name=run", *arguments])
            == 0
        )
        with (Path(folder) / "run/metrics.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["speed/raw_tokens_per_second"]][1:]
    tokens = (int(rows[-1]["raw_tokens"]) - int(rows[0]["raw_tokens"])) / (int(rows[-1]["step"]) - int(rows[0]["step"]))
    return statistics.mean(tokens / float(row["speed/raw_tokens_per_second"]) for row in rows)


def measure_lightning(setting: Setting, *, turns: int, steps: int) -> dict[str, float]:
    """The bare loop and the whole run in turn."""
    bare, whole = [], []
    measured = [(bare_loop, bare), (whole_run, whole)]
    for _ in range(turns):
        for measure, seconds in measured:
            seconds.append(measure(setting, steps))
        measured.reverse()  # so that neither always comes first
    ratio = statistics.median(run / loop for run, loop in zip(whole, bare, strict=True))
    return {"bare": statistics.median(bare), "whole": statistics.median(whole), "ratio": ratio}


def workers_named(count: int) -> str:
    """`1 worker`, `2 workers`."""
    return f"{count} worker{'s' * (count != 1)}"


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES, metavar="NAME")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shape", choices=MEASURED, default="mini")
    parser.add_argument(
        "--workers", nargs="+", type=int, default=[0, 1], help="numbers of processes that prepare batches"
    )
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400, help="of each run whose hooks are measured")
    parser.add_argument("--turns", type=int, default=3, help="of these runs, of which the fastest counts")
    add_out(parser)
    options = parser.parse_args(arguments)
    described, console, device = machine(), Console(highlight=False), torch.device(options.device)
    console.print(described)
    precision = faster_precision(device) if "lightning" in options.parts else "fp32"
    found: dict[str, dict[str, Any]] = {part: {} for part in options.parts}
    for objective in options.objectives:
        setting = Setting(objective=objective, shape=shape_named(options.shape), device=device, precision=precision)
        if "loader" in options.parts:
            rates = {
                workers_named(workers): measure_loader(setting, workers=workers, batches=options.batches)
                for workers in options.workers
            }
            found["loader"][objective] = {"date": today(), **rates}
            cells = ", ".join(f"{name} {rate['tokens_per_second']:,.0f}" for name, rate in rates.items())
            console.print(f"loader of {objective}, raw tokens a second: {cells}")
        if "lightning" in options.parts and objective in list(PRESET_OF)[:2]:
            found["lightning"][objective] = spent = {"date": today(), **measure_lightning(setting, turns=3, steps=40)}
            console.print(
                f"a run of {objective}: {1000 * spent['whole']:.1f} ms a step, a bare loop {1000 * spent['bare']:.1f} "
                f"ms: {spent['ratio'] - 1:+.1%}"
            )
        if "hooks" in options.parts and objective in list(PRESET_OF)[:2]:
            tiny = replace(setting, shape=shape_named("tiny"), device=torch.device("cpu"), precision="fp32")
            spent = {"date": today(), **measure_hooks(tiny, turns=options.turns, steps=options.steps)}
            found["hooks"][objective] = spent
            cells = ", ".join(f"{name} {spent[name]:,.0f}" for name in list(spent)[1:])
            console.print(f"microseconds of a step of {objective}: {cells}")
    key = f"{options.shape} on {options.device}"
    keys = {part: "tiny on cpu" if part == "hooks" else key for part in found}
    add(options.out or file_of(described), described, {part: {keys[part]: found[part]} for part in found})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
