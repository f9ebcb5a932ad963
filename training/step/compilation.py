"""How torch.compile is used: what it compiles follows from the code and the shapes, and is kept for later runs."""

import contextvars
import math
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch._inductor.config
import torch.fx.experimental._config
from lightning.pytorch.utilities import rank_zero_info

from common.errors import MachineError
from training.step.budget import Budget, quantity

CACHE = "TORCHINDUCTOR_CACHE_DIR"
FOLDER = "compiled"  # within the cache of token stores
KINDS = 32  # that one function is compiled for: Blocks of encoders and decoders of several bodies, kinds of masks


def begin_compiling(cache: Path) -> None:
    """Sets torch.compile up, before anything is compiled.

    Kernels are kept in `cache`, unless the user names a folder in TORCHINDUCTOR_CACHE_DIR. Which lengths vary is
    declared and never guessed from those that came before: a run that goes on in the middle would guess otherwise, and
    compute other last bits. Numbers such as a scale are compiled in, since as symbols they have a Block traced twice.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    if os.environ.get(CACHE) in (None, default_cache_dir()):  # torch sets its default where its compiler is imported
        os.environ[CACHE] = str((cache / FOLDER).absolute())
    dynamo, shapes = cast(Any, torch._dynamo.config), cast(Any, torch.fx.experimental._config)
    dynamo.specialize_float = True
    dynamo.automatic_dynamic_shapes = dynamo.automatic_dynamic_local_pgo = False
    dynamo.recompile_limit = max(dynamo.recompile_limit, KINDS)
    shapes.use_duck_shape = False  # two lengths that happen to be equal at first are still two
    inductor = cast(Any, torch._inductor.config)
    inductor.cpp.use_decompose_tanh = True  # by exp, to 1e-7: all that GELU's 1 + tanh needs, at 0.4 of its time
    if inductor.cpp.vec_isa_ok is None and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        # torch itself computes with them here, and a compiler that can read its headers knows them: 9 s of trials less
        inductor.cpp.vec_isa_ok = True


def compile_headers_ahead() -> threading.Thread | None:
    """Has torch compile the headers of all its kernels for a CPU in a thread, while a run does what is before them.

    That takes as long as seven kernels, once a machine. What fails there fails at the first kernel again, and is
    reported then. None where there is a GPU, whose kernels have no such headers.
    """
    if torch.cuda.is_available():
        return None
    from torch._inductor.codecache import CppPythonBindingsCodeCache

    def compile_headers() -> None:
        with suppress(Exception):
            CppPythonBindingsCodeCache.load_pybinding_async([], "// at::vec::")  # compiled where called, so never

    # In this context: what `begin_compiling` sets holds in no other thread.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(compile_headers,), daemon=True)
    thread.start()
    return thread


_UNLOADED = re.compile(r"ImportError: (?P<file>/.+?\.so): ")
_UNREADABLE = re.compile(r"while reading precompiled header|cannot read PCH file")
_HEADER = re.compile(r"-include (?P<file>/\S+\.h)\b")


def _torn_files(message: str) -> list[Path]:
    """What torch's message cannot load, a kernel or the compiled headers of all, and all kernels that are empty: one of
    these probes what the processor can do, and another fails to compile for want of it.
    """
    named = [Path(found["file"]) for found in _UNLOADED.finditer(message)]
    if _UNREADABLE.search(message):
        named += {Path(f"{found['file']}.gch") for found in _HEADER.finditer(message)}
    kept = Path(os.environ[CACHE]).glob("*/*.so") if CACHE in os.environ else []
    return [*named, *(kernel for kernel in kept if not kernel.stat().st_size and kernel not in named)]


@contextmanager
def without_torn_kernels() -> Iterator[None]:
    """Removes kernels and their headers that an earlier process left torn, which torch takes for whole.

    Raises:
        MachineError: in place of torch's error; the same command compiles it anew.
    """
    try:
        yield
    except Exception as error:
        is_compilers = type(error).__module__.startswith(("torch._inductor", "torch._dynamo"))
        torn = _torn_files(str(error)) if is_compilers else []
        if not torn:
            raise
        for file in torn:
            file.unlink(missing_ok=True)
        raise MachineError(
            f"{torn[0]}: a process that was killed while it compiled left it unfinished; it is removed, and the "
            f"same command compiles it anew"
        ) from error


HELP = "compiles the step (torch.compile); `auto` where the run is long enough for that to pay"


class CompiledLayers(NamedTuple):
    """What is compiled of a model.

    Attributes:
        kinds: of layers, each of which is compiled by itself.
        preset: of these layers; None where they have none.
    """

    kinds: int
    preset: str | None


class Worth(NamedTuple):
    """What compiling was measured to be worth on a kind of device in a precision.

    Attributes:
        saved: the share of a step that it saves, by the preset of the layers.
        others: that with layers of other presets; 0 where it was no faster.
        seconds: that each kind of layer takes the first time, the loss and all else with it.
    """

    saved: Mapping[str | None, float]
    others: float
    seconds: float


# On a CPU at the shape nano on one thread, the least that was measured (docs/benchmarks.md): layers of lab are of many
# small operations, which are fused, and those of the families have kernels of torch's own, which in bf16 leave more to
# save. On an H200, roughly, of GPT-2's of 110 M parameters in bf16.
_ON_CUDA = Worth({}, others=0.28, seconds=45.0)
WORTH = {
    ("cpu", "fp32"): Worth({"lab": 0.03, "t5": 0.05}, others=0.0, seconds=15.0),
    ("cpu", "bf16"): Worth({"lab": 0.12, "gpt2": 0.05, "bart": 0.03, "t5": 0.1}, others=0.0, seconds=22.0),
    ("cuda", "fp32"): _ON_CUDA,
    ("cuda", "bf16"): _ON_CUDA,
}


def worth_of(accelerator: str, precision: str) -> Worth | None:
    """What compiling is worth there, in a precision as `trainer.precision` has it; None where nobody measured it."""
    return WORTH.get((accelerator, "bf16" if "16" in precision else "fp32"))


PRODUCTS = 0.75  # the share of a step that its matrix products take: 0.70 to 0.79 of four objectives at the shape nano


def tokens_of(budget: Budget, *, tokens_per_step: float, flops_per_token: float, targets_per_token: float) -> float:
    """The raw tokens of a run, about; NaN where a clock or the length of its text decides."""
    per_token = {
        "raw_tokens": 1.0,
        "steps": 1 / tokens_per_step,
        "flops": flops_per_token,
        "target_tokens": targets_per_token,
    }
    amounts = {name: getattr(budget, name) for name in per_token}
    found = [quantity(value, name) / per_token[name] for name, value in amounts.items() if value is not None]
    return found[0] if found else math.nan


def compiling_pays(seconds: float, accelerator: str, precision: str, layers: CompiledLayers) -> bool:
    """What `--compile auto` decides for a run of so many seconds, which is printed.

    Args:
        seconds: of the steps, uncompiled; NaN where nobody knows.
        accelerator: the kind of device.
        precision: as `trainer.precision` has it.
        layers: that are compiled.
    """
    worth, all_the_same = worth_of(accelerator, precision), "--compile true compiles all the same"
    share = 0.0 if worth is None else worth.saved.get(layers.preset, worth.others)
    cost = 0.0 if worth is None else layers.kinds * worth.seconds
    pays = seconds * share > cost
    if worth is None:
        why = f"what it saves on {accelerator} was never measured; {all_the_same}"
    elif not share:
        what = "this body" if layers.preset is None else f"body.preset {layers.preset}"
        why = f"it was not measured to save anything with {what} in {precision} on {accelerator}; {all_the_same}"
    elif math.isnan(seconds):
        why = f"how long the run takes is known once its text is read; {all_the_same}"
    else:
        why = (
            f"of about {seconds:,.0f} s that the steps take, it saves {share * seconds:,.0f}, and compiling takes "
            f"about {cost:,.0f} the first time"
        )
    rank_zero_info(f"[machine] compile {str(pays).lower()}: {why}")
    return pays
