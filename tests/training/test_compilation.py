"""What `--compile true` compiles, and when."""

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import default_cache_dir
from torch.fx import GraphModule

from common.errors import MachineError
from tests.helpers import make_cli, run_script, train_in_process
from training.step.budget import Budget
from training.step.compilation import (
    CACHE,
    CompiledLayers,
    begin_compiling,
    compile_headers_ahead,
    compiling_pays,
    tokens_of,
    without_torn_kernels,
    worth_of,
)
from training.step.module import ExactModule

Command = Callable[..., list[str]]
STEPS = ("--budget.steps", "8", "--trainer.precision", "32-true", "--validation.every_steps", "3")
SLOW = pytest.mark.slow
RUNS = [
    ("masked_lm", ()),
    ("span_corruption", ()),
    ("replaced_token_detection", ()),
    *(
        pytest.param(objective, (), marks=SLOW)
        for objective in ("causal_lm", "denoising", "prefix_lm", "masked_diffusion", "fill_in_the_middle", "dual")
    ),
    pytest.param("causal_lm", ("--body.document_masking", "true"), marks=SLOW),
    pytest.param("causal_lm", ("--data.windows", "within_document"), marks=SLOW),
    pytest.param("span_corruption", ("--body.preset", "t5", "--gradient_checkpointing", "true"), marks=SLOW),
    pytest.param("denoising", ("--data.micro_batch_size", "1"), marks=SLOW),
]


class Counted:
    """Counts what torch.compile compiles, without compiling it, by optimizer step."""

    def __init__(self) -> None:
        self.graphs, self.after_step = 0, [0]

    def __call__(self, graph: GraphModule, _inputs: list[Any]) -> Callable[..., Any]:
        self.graphs += 1
        return graph


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counted:
    torch._dynamo.reset()
    monkeypatch.setenv(CACHE, str(tmp_path / "compiled"))
    counted, compile_function, clip = Counted(), torch.compile, ExactModule.configure_gradient_clipping

    def after_backward(module: ExactModule, *args: Any, **kwargs: Any) -> None:
        counted.after_step.append(counted.graphs)
        clip(module, *args, **kwargs)

    monkeypatch.setattr(
        torch, "compile", lambda function, **options: compile_function(function, backend=counted, **options)
    )
    monkeypatch.setattr(ExactModule, "configure_gradient_clipping", after_backward)
    return counted


@pytest.mark.parametrize(("objective", "options"), RUNS)
def test_nothing_is_compiled_after_the_second_step(
    tiny_run: Command, counted: Counted, objective: str, options: tuple[str, ...]
) -> None:
    """Whatever the number of labels and the lengths; validations, shown examples and the last one included."""
    assert train_in_process(tiny_run(objective, "compiled", *STEPS, *options, "--compile", "true")) == 0
    assert counted.after_step[2] > 0
    assert len(counted.after_step) == 9
    assert counted.graphs == counted.after_step[2]


def test_compiling_is_reported_once_with_its_seconds_and_the_folder(
    tiny_run: Command, counted: Counted, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert train_in_process(tiny_run("causal_lm", "compiled", "--budget.steps", "3", "--compile", "true")) == 0
    printed = caplog.text + capsys.readouterr().err
    assert len(re.findall(r"compiling took \d+\.\d s with the first step; kept in \S*compiled", printed)) == 1


@pytest.mark.parametrize(
    ("named", "kept_in"),
    [(None, "cache/compiled"), (default_cache_dir(), "cache/compiled"), ("/elsewhere", "/elsewhere")],
)
def test_kernels_are_kept_in_the_cache_unless_the_user_names_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None, kept_in: str
) -> None:
    """Where torch's compiler is imported, it names its default by that variable, as if a user had."""
    monkeypatch.setenv(CACHE, named or "")
    if named is None:
        monkeypatch.delenv(CACHE)
    begin_compiling(tmp_path / "cache")
    assert os.environ[CACHE] == str(tmp_path / kept_in)


class InductorError(RuntimeError):
    """As torch's compiler raises it."""

    __module__ = "torch._inductor.exc"


def test_a_torn_kernel_is_named_and_removed_with_those_that_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))
    torn, empty, whole = (tmp_path / name for name in ("ab/torn.main.so", "cd/empty.so", "cd/whole.so"))
    for kernel, content in ((torn, b"\x7fELF"), (empty, b""), (whole, b"\x7fELF")):
        kernel.parent.mkdir(exist_ok=True)
        kernel.write_bytes(content)
    message = f"ImportError: {torn}: file too short\n\nSet TORCHDYNAMO_VERBOSE=1"
    with pytest.raises(MachineError, match="the same command compiles it anew"), without_torn_kernels():
        raise InductorError(message)
    assert [kernel.exists() for kernel in (torn, empty, whole)] == [False, False, True]
    with pytest.raises(InductorError, match="other"), without_torn_kernels():
        raise InductorError("some other failure")


@pytest.mark.parametrize(
    "error",
    [
        "cc1plus: error: while reading precompiled header: No such file",
        "fatal error: cannot read PCH file: No such file",
    ],
)
def test_torn_headers_are_named_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """What torch keeps beside its own kernels, for all of them."""
    monkeypatch.setenv(CACHE, str(tmp_path / "kernels"))
    header, compiled = tmp_path / "one.h", tmp_path / "one.h.gch"
    for file in (header, compiled):
        file.write_text("torn")
    message = f"C++ compile error\n\nCommand:\ng++ x.cpp -include {header} -I/usr/include -o x.so\n\nOutput:\n{error}"
    with pytest.raises(MachineError, match=f"{compiled}: .* the same command compiles it anew"), without_torn_kernels():
        raise InductorError(message)
    assert (header.exists(), compiled.exists()) == (True, False)
    compiled.write_text("whole")
    with pytest.raises(InductorError), without_torn_kernels():
        raise InductorError(message.replace(error, "x.cpp:3: error: expected ';'"))
    assert compiled.exists()


@pytest.mark.parametrize("fails", [False, True])
def test_headers_are_compiled_ahead_as_kernels_have_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: bool
) -> None:
    """In a thread by the settings of this one, which spare the trial of instructions; in silence where it fails."""
    from torch._inductor import codecache, config
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    found: list[Any] = []

    def precompile(*_: Any, **settings: Any) -> str:
        found.append((settings["vec_isa"], config.cpp.use_decompose_tanh))
        if fails:
            raise OSError
        return "one.h"

    monkeypatch.setenv(CACHE, str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(codecache.CppPythonBindingsCodeCache, "cache", {})
    monkeypatch.setattr(codecache, "_precompile_header", precompile)
    begin_compiling(tmp_path)
    thread = compile_headers_ahead()
    assert thread is not None
    thread.join()
    assert found == [(pick_vec_isa(), True)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert compile_headers_ahead() is None


@pytest.mark.slow
def test_a_run_that_finds_torn_kernels_ends_in_one_line_and_the_same_command_compiles_them(
    tiny_run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "compiled"))
    command = [*tiny_run("causal_lm", "torn", "--compile", "true"), "--budget.steps", "2"]
    assert run_script("train.py", *command).returncode == 0
    kernels = list((tmp_path / "compiled").glob("*/*.main.so"))  # others probe what the processor can do
    assert kernels
    for kernel in kernels:
        kernel.write_bytes(b"")
    torn = run_script("train.py", *command, "--resume", "never")
    assert (torn.returncode, "Traceback" in torn.stderr) == (4, False), torn.stderr
    assert "the same command compiles it anew" in torn.stderr
    again = run_script("train.py", *command)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("steps", "preset", "pays", "why"),
    [
        ("3", "lab", False, "of about "),
        ("100M", "lab", True, "of about "),
        ("100M", "bert", False, "it was not measured to save anything with body.preset bert in "),
    ],
)
def test_auto_compiles_a_run_that_is_long_enough_and_says_why(
    tiny_run: Command,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    steps: str,
    preset: str,
    pays: bool,
    why: str,
) -> None:
    options = ("--budget.steps", steps, "--body.preset", preset, "--trainer.accelerator", "cpu")
    cli = make_cli(tiny_run("causal_lm", "auto", *options, "--compile", "auto"))
    assert cli.compiles is pays
    assert cli.resolved_config()["compile"] is pays
    printed = caplog.text + capsys.readouterr().err
    assert f"[machine] compile {str(pays).lower()}: {why}" in printed


@pytest.mark.parametrize(("objective", "kinds"), [("causal_lm", 1), ("denoising", 2), ("replaced_token_detection", 2)])
def test_a_stack_of_each_body_is_a_kind_of_layer(tiny_run: Command, objective: str, kinds: int) -> None:
    assert make_cli(tiny_run(objective, "kinds")).model.compiled_layers == CompiledLayers(kinds, preset="lab")


@pytest.mark.parametrize(
    ("accelerator", "precision"), [("cpu", "32-true"), ("cpu", "bf16-mixed"), ("cuda", "bf16-true")]
)
def test_compiling_pays_where_it_saves_more_than_it_takes(accelerator: str, precision: str) -> None:
    """Two kinds of layers take twice as long; nothing is decided where nobody knows how long the run is."""
    worth = worth_of(accelerator, precision)
    assert worth is not None
    for kinds in (1, 2):
        layers = CompiledLayers(kinds, "lab")
        enough = kinds * worth.seconds / worth.saved.get("lab", worth.others)
        assert compiling_pays(1.01 * enough, accelerator, precision, layers)
        assert not compiling_pays(0.99 * enough, accelerator, precision, layers)
        assert not compiling_pays(math.nan, accelerator, precision, layers)
        assert not compiling_pays(1e9, "mps", precision, layers)
    for preset in ("bert", None):
        saves = accelerator == "cuda"
        assert compiling_pays(1e9, accelerator, precision, CompiledLayers(1, preset)) is saves, "measured to save none"


def test_a_run_that_goes_on_keeps_what_auto_chose(tiny_run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tiny_run("causal_lm", "kept", "--budget.steps", "3")
    assert train_in_process([*command, "--compile", "auto"]) == 0
    monkeypatch.setattr("training.setup.precision.compiling_pays", lambda *_: True)
    assert make_cli([*command, "--compile", "auto"]).compiles is False
    assert make_cli([*command, "--compile", "auto", "--resume", "never"]).compiles is True
    assert make_cli([*command, "--compile", "true"]).compiles is True


@pytest.mark.parametrize(
    ("budget", "tokens"),
    [
        ({"raw_tokens": "1M"}, 1e6),
        ({"steps": 10}, 40_960),
        ({"flops": 1e9}, 1e6),
        ({"target_tokens": 150}, 1000),
        ({"minutes": 1}, None),
        ({"epochs": 1}, None),
    ],
)
def test_the_length_of_a_run_follows_from_its_budget(budget: dict[str, Any], tokens: float | None) -> None:
    found = tokens_of(Budget(**budget), tokens_per_step=4096, flops_per_token=1e3, targets_per_token=0.15)
    assert math.isnan(found) if tokens is None else found == pytest.approx(tokens)
