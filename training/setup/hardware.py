"""What the machine can do: the precision that pays, and the peak that utilisation is measured against."""

import resource
import sys
import time

import torch

# Dense bf16 matrix products per second, from the vendors' data sheets, by a word in the device's name.
PEAK_BF16_FLOPS = {
    "B200": 2.25e15,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 5090": 210e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "A6000": 155e12,
    "T4": 65e12,
}


def has_fast_bfloat16(accelerator: str) -> bool:
    """Whether bf16 products are faster than float32 ones here: CUDA from Ampere on, CPUs with AMX or AVX512-BF16."""
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _measured_flops(dtype: torch.dtype, size: int = 1024, repeats: int = 5) -> float:
    """The rate of the best of a few square products on the CPU."""
    first, second = torch.ones(2, size, size, device="cpu").to(dtype)
    best = float("inf")
    for _ in range(repeats):
        before = time.perf_counter()
        torch.mm(first, second)
        best = min(best, time.perf_counter() - before)
    return 2 * size**3 / best


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Products a second that a device can do at best: listed for GPUs in bf16, measured on a CPU; None if unknown."""
    if device.type == "cpu":
        return _measured_flops(dtype)
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        return next((peak for word, peak in PEAK_BF16_FLOPS.items() if word in name), None)
    return None


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has had so far: of the GPU's memory, or, on a CPU, of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
