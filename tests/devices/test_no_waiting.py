"""No step waits for its device: nothing on its path asks the device for a number."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import torch

from data.datamodule import DataModule
from data.stream.loader import CorruptedWindows
from objectives.core.pretraining import Pretraining
from tests.helpers import ROOT, make_cli
from training.optimizers.optim import make_optimizer

Command = Callable[..., list[str]]
METHODS = {"item", "tolist", "cpu", "numpy", "nonzero", "synchronize", "masked_select", "unique", "is_nonzero"}
BUILT_INS = {"bool", "int", "float"}
STEP = sorted(
    path
    for folder in ("models/attention", "models/transformer", "models/recurrent", "training/step")
    for path in (ROOT / folder).glob("*.py")
)
OBJECTIVES = sorted(path for room in (".", "core", "mixtures") for path in (ROOT / "objectives" / room).glob("*.py"))
ON_DEVICE = {"Tensor", "Batch", "Labels", "Network", "Prediction", "MixedBatch"}  # what a forward pass is given

# Why a function may do so all the same.
EXCEPTIONS = {
    "training/step/module.py: configure_gradient_clipping": "the one wait of a step: whether there is an update at all",
    "training/step/module.py: _agree": "of a request, which is no tensor",
    "training/step/module.py: on_load_checkpoint": "before the first step; of numbers of a checkpoint",
    "training/step/micro.py: of": "before the first step; of numbers of run.json",
    "training/step/repeated.py: _lacks_memory": "of a message, which is no tensor",
    "training/step/repeated.py: _of_all": "with micro_batch_size auto on several devices: whether any lacked memory",
    "training/step/terms.py: _take": "where sums are logged, or once in MOST_UNREAD micro-batches",
    "training/step/terms.py: restore": "before the first step",
    "training/step/terms.py: totals": "where sums are logged",
    "training/step/terms.py: read": "where sums are logged",
    "training/step/budget.py: quantity": "of a setting",
    "models/attention/choice.py: _seconds": "before the first step: it measures kernels",
    "models/recurrent/cells.py: read_both_ways": "torch packs sequences by lengths that lie on the CPU",
    "objectives/mixtures/by_member.py: generate": "generation, of a text",
    "objectives/mixtures/distillation.py: _has_teacher": "of a setting",
    "objectives/mixtures/dual.py: predictions": "of a share, which numpy keeps",
    "objectives/mixtures/mixture.py: _of_member": "of a validation, which shows each member's loss",
}


def takes_tensors(function: ast.FunctionDef) -> bool:
    """Whether an argument is annotated by what lies on a device."""
    annotations = [one.annotation for one in [*function.args.args, *function.args.kwonlyargs] if one.annotation]
    names = {node.id for one in annotations for node in ast.walk(one) if isinstance(node, ast.Name)}
    return bool(names & ON_DEVICE)


def waits_in(tree: ast.AST, *, everywhere: bool) -> Iterator[tuple[str, str]]:
    """The functions that ask a device for a number, or might, with the call."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        if not everywhere and not takes_tensors(function):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            is_method = isinstance(call.func, ast.Attribute) and call.func.attr in METHODS
            if is_method or (isinstance(call.func, ast.Name) and call.func.id in BUILT_INS):
                yield function.name, ast.unparse(call)


def found_in(path: Path) -> dict[str, str]:
    where = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {f"{where}: {name}": call for name, call in waits_in(tree, everywhere=path in STEP)}


@pytest.mark.parametrize("path", [*STEP, *OBJECTIVES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_in_a_step_waits_for_the_device(path: Path) -> None:
    assert {where: call for where, call in found_in(path).items() if where not in EXCEPTIONS} == {}


def test_every_exception_is_one() -> None:
    found = {where for path in [*STEP, *OBJECTIVES] for where in found_in(path)}
    assert set(EXCEPTIONS) - found == set()


@pytest.mark.parametrize("call", ["loss.item()", "bool(mask.any())", "ids.cpu()", "norms.tolist()", "hidden.nonzero()"])
def test_the_law_sees_what_waits(call: str) -> None:
    tree = ast.parse(f"def predictions(network: Network, ids: Tensor | None):\n    return {call}\n")
    assert list(waits_in(tree, everywhere=False))
    assert not list(waits_in(ast.parse(f"def corrupt(window: Window):\n    return {call}\n"), everywhere=False))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks a GPU")
@pytest.mark.parametrize("objective", ["masked_lm", "causal_lm", "denoising", "span_corruption"])
def test_a_step_on_a_gpu_synchronises_nothing(tiny_run: Command, objective: str) -> None:
    cli = make_cli(tiny_run(objective, "gpu", "--trainer.precision", "32-true"))
    module, data = cast(Pretraining, cli.model), cast(DataModule, cli.datamodule)
    data.prepare_data()
    data.open()
    module.build(vocab_size=data.vocabulary.size, window=data.window)
    module.cuda().train()
    examples = CorruptedWindows(data.training_windows, module.objective.corruption(data.vocabulary), seed=0)
    batch = data._collator(8, module.objective)(examples.__getitems__(list(range(8))))[0].pin_memory()
    optimizer = make_optimizer(module, module.optimizer_config)
    for mode in ("default", "error"):  # the first step fills caches of libraries
        torch.cuda.set_sync_debug_mode(mode)
        try:
            terms = module.terms(batch.to(torch.device("cuda"), non_blocking=True), count_correct=False)
            torch.stack([term.minimised_sum / (term.divisor or 1.0) for term in terms.values()]).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode("default")
