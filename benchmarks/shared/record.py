"""What was measured on a machine: one JSON file for each, under benchmarks/results/, that later measurements add to."""

import argparse
import json
import platform
import re
import sys
import time
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import torch

from common.files import write_whole
from common.processors import usable
from common.repository import REPOSITORY
from training.machine.provenance import PACKAGES

RESULTS = REPOSITORY / "benchmarks/results"
WHOLE = {"status", "failed"}  # names in what takes the place of an older result, in which nothing of that is kept


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def machine() -> dict[str, Any]:
    """What this machine is: nothing names the host, its user or a path."""
    name = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    names = {distribution.metadata["Name"] for distribution in distributions()}
    return {
        "processor": name or platform.processor() or platform.machine(),
        "threads": len(usable()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "amx": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "python": sys.version.split()[0],
        "versions": {package: version(package) for package in (*PACKAGES, "transformers") if package in names},
    }


def chip(described: dict[str, Any]) -> str:
    """The first GPU of a machine, or its processor with what torch multiplies by: one name stands for several."""
    if described["gpus"]:
        return described["gpus"][0]
    for_bf16 = ["AMX"] if described["amx"] else ["bf16"] if described["avx512_bf16"] else []
    return f"{described['processor']} ({', '.join([described['instructions'], *for_bf16])})"


def file_of(described: dict[str, Any]) -> Path:
    """The file of a machine, by its first GPU or its processor."""
    words = re.sub(r"\((r|tm)\)|@[^(]*| CPU| Processor", "", chip(described), flags=re.IGNORECASE)
    return RESULTS / f"{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}.json"


def read(path: Path) -> dict[str, Any]:
    """What is in a file; nothing where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def merged(held: Any, new: Any) -> Any:
    """Both, the new in place of the old; settings within settings are merged likewise.

    What has a status is replaced whole, and so is what failed or stands where something fails now.
    """
    if not isinstance(held, dict) or not isinstance(new, dict) or WHOLE & (held.keys() | new.keys()):
        return new
    return {**held, **{key: merged(held.get(key), value) for key, value in new.items()}}


def today() -> str:
    """The date that stands beside what was measured."""
    return time.strftime("%Y-%m-%d")


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option that names another file than that of this machine."""
    help_text = "the JSON file; by default that of this machine in benchmarks/results/"
    parser.add_argument("--out", type=Path, help=help_text)


def add(path: Path, described: dict[str, Any], found: dict[str, Any]) -> None:
    """Adds what was found to the file of a machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({**merged(read(path), found), "machine": described}, indent=2) + "\n")
