"""Fine-tuning on a device that is not the CPU, pretended."""

from collections.abc import Callable

import pytest

from finetuning.grid import fine_tune
from tests.devices.pretended import apple_gpu, on_apple_gpu

Command = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("task", "objective"),
    [
        pytest.param("regression", "masked_lm", marks=pytest.mark.slow),
        pytest.param("entities", "denoising", marks=pytest.mark.slow),
        pytest.param("questions", "masked_lm", marks=pytest.mark.slow),
        ("text_to_text", "span_corruption"),
    ],
)
def test_a_task_is_learnt_there(tiny_task: Command, task: str, objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tiny_task(task, objective, "--budget.steps", "2")
    with apple_gpu(monkeypatch) as device:
        assert fine_tune(on_apple_gpu(command)).scores
        assert device.made > 0
