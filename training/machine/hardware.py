"""What the machine can do: the peak that utilisation is measured against, and the memory that a run has had."""

import os
import re
import resource
import sys
import time
from functools import cache

import torch

# Dense bf16 and fp16 matrix products per second, from the vendors' data sheets, by the device's name.
PEAK_BF16_FLOPS = {
    "GB200": 2.5e15,
    "B200": 2.25e15,
    "GH200": 989e12,
    "H200": 989e12,
    "H200 NVL": 835e12,
    "H100": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H20": 148e12,
    "A100": 312e12,
    "A30": 165e12,
    "A40": 150e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 5090": 210e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "RTX A6000": 155e12,
    "T4": 65e12,
}
_BEFORE_MODEL = re.compile(r"^(NVIDIA|Tesla|GeForce)$")
_BEHIND_MODEL = re.compile(r"^(SXM\d?|PCIe|HBM\d?\w?|\d+GB)$", re.IGNORECASE)  # the board, and its memory


def listed_flops(name: str) -> float | None:
    """The peak of a device in bf16 and fp16 by its whole name; None where it is not listed.

    Another model's name is no part of it: an L40 is no L4, and the slice of a GPU or a laptop's is not the GPU.
    """
    words = re.split(r"[\s-]+", name)
    while words and _BEFORE_MODEL.match(words[0]):
        words = words[1:]
    while words:
        if (peak := PEAK_BF16_FLOPS.get(" ".join(words))) is not None:
            return peak
        if not _BEHIND_MODEL.match(words[-1]):
            return None
        words = words[:-1]
    return None


def _rate(device: torch.device, dtype: torch.dtype, size: int, repeats: int) -> tuple[float, float]:
    """The best of a few square products: operations a second, and the seconds that one took."""
    first, second = torch.ones(2, size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(repeats):
        before = time.perf_counter()
        float(torch.mm(first, second)[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - before)
    return 2 * size**3 / best, best


@cache
def measured_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """The rate of square products, large ones where small ones are fast; None where the device has no memory left.

    It takes a fraction of a second, once in a process, on a processor that multiplies float16 by hand as well.
    """
    rate = None
    for size in (128, 512, 1024) if device.type == "cpu" else (512, 4096):
        try:
            rate, seconds = _rate(device, dtype, size, repeats=5)
        except torch.OutOfMemoryError:
            break
        if seconds > 4e-3:
            break
    return rate


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Products a second that a device can do at best: listed for GPUs in bf16 and fp16, elsewhere measured."""
    listed = None
    if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        listed = listed_flops(torch.cuda.get_device_name(device))
    return measured_flops(device, dtype) if listed is None else listed


def total_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory, or, for another device, of the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has had so far: of the GPU's memory, or, on a CPU, of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
