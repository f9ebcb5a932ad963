"""Every number that can be set has a range: what lies outside is refused with key, value and bound, in one line."""

import inspect
import math
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from common.errors import UserError
from data.datamodule import DataModule
from finetuning.body.tuning import Tuning
from finetuning.datamodule import ReadingSettings
from finetuning.tasks.classification import ClassificationTask
from finetuning.tasks.question_answering import QuestionTask
from finetuning.tasks.text_generation import GenerationTask
from finetuning.tasks.text_to_text import TextToTextTask
from models.generation.decoding import Decoding
from models.presets import TransformerConfig
from objectives import (
    causal_lm,
    denoising,
    fill_in_the_middle,
    masked_diffusion,
    masked_lm,
    prefix_lm,
    replaced_token_detection,
    span_corruption,
)
from objectives.core.base import Objective
from tests.helpers import train_in_process
from training.setup.settings import GROUPS
from training.step.budget import Budget
from training.step.micro import dropout_seed

Command = Callable[..., list[str]]


def objectives_of(module: ModuleType) -> list[type[Objective]]:
    """The objective that a file of objectives/ holds."""
    classes = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
    return [cls for cls in classes if issubclass(cls, Objective)]


TASK = {"name": "task", "train": "rows.jsonl"}
SETTINGS: dict[type, dict[str, Any]] = {
    **{settings: {} for name, settings in GROUPS.items() if name != "budget"},
    **{cls: {} for cls in (DataModule, TransformerConfig, Decoding, Tuning, ReadingSettings)},
    **{
        cls: {}
        for module in (
            *(masked_lm, causal_lm, denoising, span_corruption),
            *(replaced_token_detection, masked_diffusion, prefix_lm, fill_in_the_middle),
        )
        for cls in objectives_of(module)
    },
    **dict.fromkeys((ClassificationTask, QuestionTask, TextToTextTask, GenerationTask), TASK),
}
ALWAYS: dict[str, float] = {"nan": math.nan, "huge": 1e30, "infinite": math.inf, "far below zero": -1e30}


def numbers_of(cls: type) -> Iterator[tuple[str, type]]:
    """The settings of a class that take a number or several, with the kind of number."""
    for parent in cls.__mro__:
        if "__init__" not in vars(parent):
            continue
        for name, hint in typing.get_type_hints(parent.__init__).items():
            kinds = {hint, *typing.get_args(hint)}
            kinds |= {inner for kind in kinds for inner in typing.get_args(kind)}
            if name != "return" and kinds & {int, float}:
                yield name, tuple if any(typing.get_origin(kind) is tuple for kind in kinds) else float


CASES = [
    (cls, name, kind, value)
    for cls in SETTINGS
    for name, kind in dict(numbers_of(cls)).items()
    for value in ALWAYS.values()
]


@pytest.mark.parametrize(
    ("cls", "name", "kind", "value"), CASES, ids=[f"{cls.__name__}.{name}={value}" for cls, name, _, value in CASES]
)
def test_no_number_is_taken_that_no_run_could_use(cls: type, name: str, kind: type, value: float) -> None:
    given = (value, value) if kind is tuple else value
    with pytest.raises(UserError, match=rf"{name} = .*must (be|lie) ") as refused:
        cls(**{**SETTINGS[cls], name: given})
    assert "\n" not in str(refused.value)


def test_the_cases_are_the_settings_that_there_are() -> None:
    assert len(CASES) > 4 * 60
    assert {("OptimizerConfig", "weight_decay"), ("CheckpointSettings", "at_steps"), ("DataModule", "workers")} < {
        (cls.__name__, name) for cls, name, _, _ in CASES
    }


@pytest.mark.parametrize("measure", inspect.signature(Budget).parameters)
@pytest.mark.parametrize("amount", [math.nan, math.inf, -1, 0, 1e40, "1e40", "", "\0", "x", "-3M"])
def test_no_budget_is_taken_that_is_none(measure: str, amount: str | float) -> None:
    with pytest.raises(UserError, match=rf"budget\.{measure} = .* must be a number above 0 and at most 1e30"):
        Budget(**{measure: amount})


OUTSIDE: dict[str, tuple[tuple[str, ...], str]] = {
    "a checkpoint before the first step": (("--checkpoints.at_steps", "[-5]"), "checkpoints.at_steps = [-5] must be"),
    "an interval that is no number": (("--checkpoints.every_minutes", ".nan"), "every_minutes = nan must be above 0"),
    "fewer than no examples": (("--logging.examples", "-1"), "logging.examples = -1 must be at least 0"),
    "an empty name": (("--name", ""), "name = '' must be a plain name"),
    "a name of blanks": (("--name", " "), "name = ' ' must be a plain name"),
    "a name of 300 letters": (("--name", "x" * 300), "must be a plain name of at most 200 bytes"),
    "a name with an escape": (("--name", "a\x1b[2J"), r"name = 'a\x1b[2J' must be a plain name"),
    "spans longer than a window": (
        ("--model", "objectives.span_corruption.SpanCorruption", "--model.mean_span_length", "1000"),
        "mean_span_length = 1000 must be at most data.window = 32",
    ),
    "infilled spans longer than a window": (
        ("--model", "objectives.denoising.Denoising", "--model.mean_span_length", "1000"),
        "mean_span_length = 1000 must be at most data.window = 32",
    ),
    "a million layers": (("--body.layers", "1000000"), "body.layers = 1000000 must be at least 1 and at most"),
    "neither a number nor auto": (("--data.micro_batch_size", "half"), "data.micro_batch_size: 'half' is neither a"),
    "a number of rows that is none": (("--data.micro_batch_size", "1.5"), "'1.5' is neither a whole number nor auto"),
    "no micro-batch": (("--data.micro_batch_size", "0"), "data.micro_batch_size = 0 must be at least 1 and at most"),
    "neither true nor auto": (("--compile", "maybe"), "compile: 'maybe' is neither true, false nor auto"),
    "two words for one": (("--logging.attention", "yes please"), "logging.attention: 'yes please' is not true or"),
    "no share at all": (("--optimizer.ema_decay", "x"), "optimizer.ema_decay: 'x' is not a number"),
    "a batch for two devices": (
        ("--data.batch_size", "7", "--data.micro_batch_size", "auto", "--trainer.devices", "2"),
        "data.batch_size = 7 windows do not split over 2 device(s): choose a multiple of 2",
    ),
    "a vocabulary of 100 billion": (("--data.vocab_size", "100000000000"), "data.vocab_size = 100000000000 must be"),
    "a hundred thousand workers": (("--data.workers", "100000"), "data.workers = 100000 must be at least 0 and"),
    "a seed of 30 digits": (("--seed", "1" * 30), "seed = " + "1" * 30 + " must be"),
    "a negative seed": (("--seed", "-1"), "seed = -1 must be at least 0"),
    "a number of 5000 digits": (("--seed", "1" * 5000), "seed"),
    "a group that is a number": (("--budget", "3"), "budget"),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_it_is_refused_before_anything_is_read(
    tiny_run: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    arguments, expected = OUTSIDE[kind]
    assert train_in_process(tiny_run("masked_lm", "impossible", "--budget.steps", "3", *arguments)) == 2
    written = capsys.readouterr().err
    assert expected in written
    assert written.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("budget: 3", "budget = 3 must be settings by name: budget.raw_tokens"),
        ("data: [1]", "data = [1] must be settings by name: data.corpus"),
        ("trainer: null", "trainer = None must be settings by name"),
        ("data: {window: 32, window: 64}", "'window' stands twice in the block that begins in line 1"),
        ('data: {corpus: "a\\0b"}', "line 1 holds a NUL character"),
        ("seed: " + "9" * 5000, "4300 digits"),
    ],
)
def test_a_config_is_refused_by_its_name(
    tiny_run: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    assert train_in_process(tiny_run("masked_lm", "impossible", "--config", str(path))) == 2
    written = capsys.readouterr().err
    assert expected in written
    assert f"{path}: " in written
    assert written.count("\n") == 1


def test_any_seed_that_is_taken_gives_a_seed_that_torch_takes() -> None:
    for seed in (0, 1 << 24, (1 << 32) - 1):
        assert 0 <= dropout_seed(seed, step=10**9, micro=7, accumulated=8, rank=3, world=4) < 1 << 64
    assert dropout_seed(3, step=5, micro=1, accumulated=2, rank=0, world=1) == (3 << 40) + 11
