"""What the machine can do, what is left unsaid about it, and machines that are refused."""

import inspect
import logging
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from lightning.fabric.accelerators import cuda as fabric_cuda
from lightning.pytorch.accelerators import cuda as pytorch_cuda

from tests.helpers import ROOT
from training.machine.hardware import PEAK_BF16_FLOPS, listed_flops, measured_flops, peak_flops
from training.setup import trainer
from training.setup.settings import Precision, TrainerSettings


@pytest.mark.parametrize(
    ("device", "listed"),
    [
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40", "L40"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", "T4"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A100 80GB PCIe", "A100"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA A10G", None),
        ("NVIDIA H200 MIG 1g.18gb", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA RTX 4000 Ada Generation", None),
        ("AMD Instinct MI300X", None),
        ("", None),
    ],
)
def test_a_peak_is_listed_by_the_whole_name_of_a_device(device: str, listed: str | None) -> None:
    assert listed_flops(device) == (None if listed is None else PEAK_BF16_FLOPS[listed])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_device_that_is_not_listed_has_a_measured_peak(dtype: torch.dtype) -> None:
    peak = peak_flops(torch.device("cpu"), dtype)
    assert peak is not None
    assert peak > 0


def test_a_device_without_memory_for_measuring_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*sizes: int, **options: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "ones", full)
    assert measured_flops.__wrapped__(torch.device("cpu"), torch.float32) is None


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("32-true", "highest"),
        ("64-true", "highest"),
        ("bf16-mixed", "high"),
        ("bf16-true", "high"),
        ("16-mixed", "high"),
    ],
)
def test_what_is_left_in_float32_beside_16_bits_is_computed_in_tf32(precision: Precision, expected: str) -> None:
    assert trainer.matmul_precision(TrainerSettings(precision=precision)) == expected


@pytest.mark.parametrize(
    ("module", "logger", "line", "is_printed"),
    [
        (fabric_cuda, "lightning.fabric.utilities.rank_zero", "You are using a CUDA device", False),
        (pytorch_cuda, pytorch_cuda.__name__, "LOCAL_RANK: ", False),
        (None, "lightning.pytorch.utilities.rank_zero", "runs/a: 49.4k parameters", True),
    ],
)
def test_lines_that_no_user_can_act_upon_are_not_printed(
    module: ModuleType | None, logger: str, line: str, is_printed: bool
) -> None:
    trainer._quieten()
    assert module is None or line in inspect.getsource(module)
    record = logging.LogRecord(logger, logging.INFO, "", 0, f"{line} ...", None, None)
    assert bool(logging.getLogger(logger).filter(record)) == is_printed


def test_deterministic_kernels_have_their_workspace_before_the_first_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    settings = TrainerSettings(accelerator="cpu", precision="32-true")
    trainer.resolved(settings)
    assert "CUBLAS_WORKSPACE_CONFIG" not in trainer.os.environ
    trainer.resolved(TrainerSettings(accelerator="cpu", precision="32-true", deterministic=True))
    assert trainer.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize("script", ["train.py", "compare.py", "finetune.py"])
def test_windows_is_refused_in_one_line_that_names_wsl(script: str) -> None:
    pretend = f"import sys, runpy; sys.platform = 'win32'; runpy.run_path('{script}', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "WSL" in done.stderr
    assert len(done.stderr.splitlines()) == 1
