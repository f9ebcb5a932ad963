"""What `--compile true` compiles, and when."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.fx import GraphModule

from tests.helpers import train_in_process
from training.step.module import ExactModule

Command = Callable[..., list[str]]
STEPS = ("--budget.steps", "8", "--trainer.precision", "32-true", "--validation.every_steps", "3")
SLOW = pytest.mark.slow
RUNS = [
    ("masked_lm", ()),
    ("causal_lm", ()),
    ("denoising", ()),
    ("span_corruption", ()),
    ("replaced_token_detection", ()),
    *(
        pytest.param(objective, (), marks=SLOW)
        for objective in ("prefix_lm", "masked_diffusion", "fill_in_the_middle", "dual")
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
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    torch._dynamo.reset()
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
