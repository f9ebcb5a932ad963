"""A measured process: makes one arm, times its steps, and writes what it found. `benchmarks.speed` starts it."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.utils import counters
from torch.profiler import ProfilerActivity, profile

from benchmarks.steps.arms import PRESET_OF, Setting, TimedStep, ours
from benchmarks.steps.peers import EXTRA_OF, theirs
from benchmarks.steps.products import products_alone
from benchmarks.steps.shapes import MEASURED, shape_named
from common.files import write_whole
from training.machine.hardware import measured_flops, peak_memory
from training.step.compilation import without_torn_kernels

WARM_UP = 3  # steps, the first of which compiles
GROUPS = 9  # of steps, whose median is the result
ROWS_OF_KERNELS = 25


def variants_of(objective: str) -> list[str]:
    """What is measured of an objective, the most informative first."""
    peers = ["theirs", *([EXTRA_OF[objective]] if objective in EXTRA_OF else [])]
    mine = ["ours", "lab"]
    eager = [*mine, *peers]
    compiled = [f"{name} compiled" for name in [*mine, *peers]]
    documents = [f"{name} documents{how}" for how in ("", " compiled") for name in mine]
    return [*eager, *compiled, *documents]


def make_arm(setting: Setting, variant: str) -> TimedStep:
    """The arm of a variant: a side, then `documents` where documents are kept apart, then `compiled`."""
    side, *how = variant.split()
    if side in ("ours", "lab"):
        preset = "lab" if side == "lab" else PRESET_OF[setting.objective]
        return ours(setting, preset, compiles="compiled" in how, documents="documents" in how)
    return theirs(setting, side, compiles="compiled" in how)


FAMILY, OWN = "times_products_of_family", "times_products"


def bounds_of(setting: Setting, variant: str) -> dict[str, TimedStep]:
    """The products alone beside which the steps of a variant are timed on a CPU, by the name of the ratio to them.

    Those of the objective's family are beside every variant of every side, so that two variants compare however fast
    the machine was when each was measured; its own are beside each of our own.
    """
    if setting.device.type != "cpu":
        return {}
    bounds, own = {FAMILY: products_alone(make_arm(setting, "ours"))}, variant.removesuffix(" compiled")
    if own.split()[0] in ("ours", "lab"):
        bounds[OWN] = bounds[FAMILY] if own == "ours" else products_alone(make_arm(setting, own))
    return bounds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(step: Callable[[], None], steps: int, device: torch.device) -> float:
    """Of each of some steps; of the processor where one thread of it computes, which others hardly change."""
    is_alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if is_alone else time.perf_counter
    _wait(device)
    before = clock()
    for _ in range(steps):
        step()
    _wait(device)
    return (clock() - before) / steps


def _kernels(step: Callable[[], None], device: torch.device) -> str:
    """The table of the kernels of three steps."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities, acc_events=True) as recorded:  # torch 2.11 warns without
        _seconds(step, 3, device)
    order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return recorded.key_averages().table(sort_by=order, row_limit=ROWS_OF_KERNELS, max_name_column_width=60)


def measure(setting: Setting, variant: str, *, seconds: float, kernels: bool = False) -> dict[str, Any]:
    """What a variant reaches.

    Args:
        setting: what is compared.
        variant: one of `variants_of`.
        seconds: that the timed steps take, about; the products beside them take their own.
        kernels: whether a table of kernels is made besides.

    Returns:
        Raw tokens a second and milliseconds a step (medians), MFU against the fastest product that was measured here
        (where the operations are counted), threads on a CPU, the most gigabytes of memory, seconds until the first step
        was done, the compilations behind the second step, and how many times as long a token takes as in matrix
        products alone, those of an uncompiled step, measured in turns (`bounds_of`).
    """
    torch.manual_seed(0)
    device, began = setting.device, time.perf_counter()
    arm = make_arm(setting, variant)
    made = time.perf_counter()
    _seconds(arm.step, 1, device)
    first = time.perf_counter() - made
    _seconds(arm.step, 1, device)
    graphs = counters["stats"]["unique_graphs"]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    one = _seconds(arm.step, WARM_UP, device)
    steps, memory = max(round(seconds / GROUPS / one), 1), peak_memory(device) / 1e9
    bounds = bounds_of(setting, variant)
    for bound in bounds.values():
        _seconds(bound.step, 1, device)
    taken, times = [], {name: [] for name in bounds}
    for _ in range(GROUPS):
        taken.append(_seconds(arm.step, steps, device))
        least = {id(bound): _seconds(bound.step, steps, device) for bound in bounds.values()}  # each once
        for name, bound in bounds.items():
            times[name].append(taken[-1] / arm.raw_tokens / (least[id(bound)] / bound.raw_tokens))
    median = statistics.median(taken)
    found: dict[str, Any] = {
        "tokens_per_second": arm.raw_tokens / median,
        "milliseconds": 1000 * median,
        "memory_gb": memory,
        "seconds_to_build": made - began,
        "seconds_of_first_step": first,
        "recompilations": counters["stats"]["unique_graphs"] - graphs,
        "parameters": arm.parameters,
        **{name: statistics.median(ratios) for name, ratios in times.items()},
    }
    if device.type == "cpu":
        found["threads"] = torch.get_num_threads()
    peak = measured_flops(device, torch.bfloat16 if setting.precision == "bf16" else torch.float32)
    if arm.flops is not None and peak is not None:
        found |= {"mfu": arm.flops / median / peak, "peak_tflops": peak / 1e12}
    if kernels:
        found["kernels"] = _kernels(arm.step, device)
    return found


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objective", required=True, choices=list(PRESET_OF))
    parser.add_argument("--variant", required=True)
    parser.add_argument("--device", required=True, choices=("cpu", "cuda"))
    parser.add_argument("--shape", required=True, choices=MEASURED)
    parser.add_argument("--precision", required=True, choices=("fp32", "bf16"))
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    setting = Setting(
        objective=options.objective,
        shape=shape_named(options.shape),
        device=torch.device(options.device),
        precision=options.precision,
    )
    with without_torn_kernels():  # of a variant that was cut off
        found = measure(setting, options.variant, seconds=options.seconds, kernels=options.kernels)
    write_whole(options.out, json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
