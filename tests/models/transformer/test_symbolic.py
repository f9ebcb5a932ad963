"""What is compiled takes any length, any number of rows where these vary, and nothing else; numbers are compiled in.

Each kind of Block is one graph.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch._inductor.compile_fx import compile_fx
from torch.fx import GraphModule

from models.body import Inputs
from models.presets import PresetName
from tests.models.transformer.test_transformer import S, T, ids, make
from training.step.compilation import CACHE, begin_compiling

ROWS = 3


class Inspected:
    """The symbols among the sizes of each graph's inputs, by their value when it was compiled; and those numbers."""

    def __init__(self) -> None:
        self.symbols: list[set[int]] = []
        self.numbers = 0

    def __call__(self, graph: GraphModule, _inputs: list[Any]) -> Callable[..., Any]:
        inputs = [node.meta["example_value"] for node in graph.graph.nodes if node.op == "placeholder"]
        tensors = [one for one in inputs if isinstance(one, Tensor)]
        sizes = [size for one in tensors for size in one.shape]
        self.symbols.append({size.node.hint for size in sizes if isinstance(size, torch.SymInt)})
        self.numbers += sum(one.dim() == 0 for one in tensors)
        return graph


def compile_by(backend: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has torch.compile use a backend."""
    compile_function = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **how: compile_function(function, backend=backend, **how))


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Inspected]:
    torch._dynamo.reset()
    monkeypatch.setenv(CACHE, str(tmp_path / "compiled"))
    begin_compiling(tmp_path)
    inspected = Inspected()
    compile_by(inspected, monkeypatch)
    yield inspected
    torch._dynamo.reset()


def inputs_of(stacks: str, *, rows: int = ROWS, more: int = 0) -> Inputs:
    """Padded rows, their lengths longer by `more`."""
    encoder: Any = {"encoder_ids_BS": ids(rows, S + more), "encoder_lengths_B": torch.full((rows,), S - 1)}
    decoder: Any = {"decoder_ids_BT": ids(rows, T + more, seed=1)}
    return Inputs(**(encoder if stacks != "decoder" else {}), **(decoder if stacks != "encoder" else {}))


def as_it_is(graph: GraphModule, _inputs: list[Any], **_settings: Any) -> Any:
    """What a forward or backward graph is compiled to, in place of kernels."""
    return make_boxed_func(graph)


def compute(model: torch.nn.Module, inputs: Inputs) -> None:
    model(inputs)[0].sum().backward()


@pytest.mark.parametrize("preset", ["lab", "t5"])
@pytest.mark.parametrize(
    ("stacks", "fixed", "symbols"),
    [
        ("both", (S, T), [{S}, {S, T}]),  # on a CPU, so that both stacks have their kernels in common
        ("both", (None, T), [{S}, {S, T}]),
        ("both", (None, None), [{ROWS, S}, {ROWS, S, T}]),
        ("encoder", (None, 0), [{S}]),
        ("encoder", (None, None), [{ROWS, S}]),
        ("decoder", (0, T), [set()]),
    ],
)
def test_lengths_are_symbols_and_rows_where_they_vary(
    inspected: Inspected, preset: PresetName, stacks: str, fixed: tuple[int | None, int | None], symbols: list[set[int]]
) -> None:
    model = make(preset, stacks)
    model.compile_layers(encoder=fixed[0], decoder=fixed[1])
    padded = inputs_of(stacks)
    if fixed[0]:
        padded = padded._replace(encoder_lengths_B=None)
    compute(model, padded)
    assert inspected.symbols == symbols
    assert inspected.numbers == 0


def test_numbers_are_compiled_in_where_all_sizes_are_symbols(inspected: Inspected) -> None:
    """As symbols they are tensors at first, and a Block is traced once more to find that they are not."""
    model = make("lab", "both", head_width=16)
    model.requires_grad_(False).use_attention("flex")  # which has no gradient on a CPU
    model.compile_layers(encoder=None, decoder=None)
    model(inputs_of("both"))
    assert len(inspected.symbols) == 2
    assert inspected.numbers == 0


@pytest.mark.parametrize("is_mixed", [False, True])
@pytest.mark.parametrize("preset", get_args(PresetName))
def test_each_kind_of_block_is_one_graph(inspected: Inspected, preset: PresetName, is_mixed: bool) -> None:
    """A call that cannot be traced would have it in pieces, as one of torch.get_num_threads had GPT-2's in six."""
    model = make(preset, "both").float()
    model.compile_layers(encoder=None, decoder=None)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_mixed):
        compute(model, inputs_of("both"))
    assert len(inspected.symbols) == 2


def test_no_signs_are_kept_for_the_gradient_of_a_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    """They follow from its values, which are kept anyway, and a CPU is slow to write them."""
    torch._dynamo.reset()
    kept = list[tuple[torch.dtype, int]]()
    compile_by(partial(compile_fx, inner_compile=as_it_is), monkeypatch)
    model = make("t5", "encoder").float()
    model.compile_layers(encoder=None, decoder=None)

    def keep(tensor: Tensor) -> Tensor:
        kept.append((tensor.dtype, tensor.numel()))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = model(inputs_of("encoder"))[0]
    states.sum().backward()
    inner = ROWS * S * 24  # the width of its feed-forward
    assert (torch.float32, inner) in kept
    assert (torch.bool, inner) not in kept
    torch._dynamo.reset()


@pytest.mark.parametrize("preset", ["lab", "t5"])
@pytest.mark.parametrize("stacks", ["encoder", "decoder", "both"])
def test_other_lengths_and_rows_compile_nothing_anew(inspected: Inspected, preset: PresetName, stacks: str) -> None:
    model = make(preset, stacks)
    model.compile_layers(encoder=None, decoder=None)
    compute(model, inputs_of(stacks))
    number = len(inspected.symbols)
    for rows, more in ((ROWS, 3), (ROWS + 1, 0), (ROWS + 2, 5)):
        compute(model, inputs_of(stacks, rows=rows, more=more))
    assert len(inspected.symbols) == number == (2 if stacks == "both" else 1)
