"""Every tensor is made on a device that the code names, and float64 on the CPU alone: read from the code itself.

Under `torch.device("cuda")`, as Lightning builds a network, a tensor made without a device lies on the GPU; elsewhere
it lies on the CPU while the states lie on the GPU. Apple's GPUs have no float64.
"""

import ast
from collections.abc import Iterator

import pytest
import torch
from torch.utils import _device

from tests.processes import ROOT

ROOMS = ("models", "objectives", "training", "data", "finetuning", "evaluation")
FACTORIES = {name for one in _device._device_constructors() if getattr(torch, name := one.__name__, None) is one}
FACTORIES |= {"Generator"}
WIDE = {"float64", "double", "complex128"}


def is_factory(call: ast.Call, imported: set[str]) -> bool:
    """Whether a call makes a tensor of torch, on the default device where it names none; or a generator."""
    name = call.func
    if isinstance(name, ast.Attribute):
        return isinstance(name.value, ast.Name) and name.value.id == "torch" and name.attr in FACTORIES
    return isinstance(name, ast.Name) and name.id in imported


def factories_without_a_device(code: str) -> list[int]:
    """The lines of such calls, but for a module's parameters and buffers, which follow the device it is built on:
    `nn.Parameter(torch.empty(...))` and `register_buffer(name, torch.zeros(...))`.
    """
    tree = ast.parse(code)
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "torch"
        for alias in node.names
        if alias.name in FACTORIES
    }
    free = {inner for node in ast.walk(tree) if is_part(node) for inner in ast.walk(node)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and is_factory(node, imported)
        and node not in free
        and not any(keyword.arg == "device" for keyword in node.keywords)
    ]


def is_part(node: ast.AST) -> bool:
    """Whether a node makes a parameter or a buffer."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] in ("Parameter", "register_buffer")


def float64_off_the_cpu(code: str) -> list[int]:
    """The lines that make float64 of torch without saying that it lies on the CPU.

    Allowed are `x.cpu().double()`, `dtype=torch.float64` beside `device="cpu"`, and comparisons with a dtype, which
    ask whether the run itself computes in float64.
    """
    found: list[int] = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in ("double", "to", "type"):
            makes_wide = called.attr == "double" or any(map(_is_wide, node.args + [k.value for k in node.keywords]))
            receiver = called.value
            on_cpu = isinstance(receiver, ast.Call) and ast.unparse(receiver.func).endswith(".cpu")
            found += [node.lineno] if makes_wide and not on_cpu else []
            continue
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        if "dtype" in named and _is_wide(named["dtype"]):
            device = named.get("device")
            is_cpu = isinstance(device, ast.Constant) and device.value == "cpu"
            found += [] if is_cpu else [node.lineno]
    return found


def _is_wide(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "torch"
        and node.attr in WIDE
    )


def files() -> Iterator[str]:
    for room in ROOMS:
        yield from (str(path.relative_to(ROOT)) for path in sorted((ROOT / room).rglob("*.py")))


def test_every_factory_names_its_device() -> None:
    found = {file: factories_without_a_device((ROOT / file).read_text(encoding="utf-8")) for file in files()}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_float64_lies_on_the_cpu() -> None:
    found = {file: float64_off_the_cpu((ROOT / file).read_text(encoding="utf-8")) for file in files()}
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("torch.zeros(3)", [1]),
        ("torch.zeros(3, device=states.device)", []),
        ("torch.Generator()", [1]),
        ("torch.Generator(device='cpu')", []),
        ("from torch import arange as count\ncount(3)", [2]),
        ("np.zeros(3)", []),
        ("torch.from_numpy(array)", []),  # the CPU's, whatever the default device
        ("class A(nn.Module):\n def __init__(self):\n  self.a = nn.Parameter(torch.empty(3))", []),
        ("class A(nn.Module):\n def __init__(self):\n  self.a = torch.empty(3)", [3]),
        ("class A(nn.Module):\n def __init__(self):\n  self.register_buffer('a', torch.ones(3))", []),
        ("class A(nn.Module):\n def forward(self):\n  return torch.ones(3)", [3]),
    ],
)
def test_the_law_of_devices_sees(code: str, lines: list[int]) -> None:
    assert factories_without_a_device(code) == lines


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("x.double()", [1]),
        ("x.cpu().double()", []),
        ("x.to(torch.float64)", [1]),
        ("x.to(dtype=torch.float64)", [1]),
        ("torch.zeros(3, dtype=torch.float64, device=x.device)", [1]),
        ("torch.zeros(3, dtype=torch.float64, device='cpu')", []),
        ("x.dtype == torch.float64", []),
        ("np.zeros(3, dtype=np.float64)", []),
    ],
)
def test_the_law_of_float64_sees(code: str, lines: list[int]) -> None:
    assert float64_off_the_cpu(code) == lines
