"""What is no schedule of objectives, and the words that say so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.presets import TransformerConfig
from objectives.core.pretraining import Pretraining
from tests.helpers import shared, train_in_process
from tests.objectives.mixtures.schedules import CAUSAL, DENOISING, MASKED, config_of, member, schedule
from tests.objectives.texts import SHAPE, module_of
from training.step.budget import Budget
from training.step.terms import Result

Command = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("members", "settings", "expected"),
    [
        ([], {}, "must name one objective at least"),
        ([member(CAUSAL), member(DENOISING)], {}, "causal_lm a decoder, denoising an encoder and a decoder"),
        ([member(CAUSAL, 0.5), member(MASKED, 0.6)], {}, r"\[0.5, 0.6\] must not be negative and make 1 together"),
        ([member(CAUSAL, 1.5), member(MASKED, -0.5)], {}, "must not be negative"),
        ([member(MASKED), member(MASKED)], {}, "several are called masked_lm; give each a `name`"),
        ([member(MASKED, 1.0, init_from="bert")], {}, "masked_lm sets init_from, which is one for all members"),
        ([member("objectives.masked_lm.MaskdLM", 1.0)], {}, "masked_lm: .*no attribute 'MaskdLM'"),
        ([member(MASKED, 1.0, noise_densty=0.2)], {}, "'noise_densty' is not accepted"),
        ([member(MASKED, 1.0, noise_density=2.0)], {}, "noise_density = 2.0 must lie between 0 and 1"),
        (
            [member("objectives.mixtures.schedule.Schedule", 1.0, members=[member(MASKED, 1.0)])],
            {},
            "is a schedule itself",
        ),
        ([member(CAUSAL), member(MASKED)], {"budget": Budget(minutes=1)}, "budget.minutes: the stages"),
        (
            [member(CAUSAL), member(MASKED)],
            {"body": TransformerConfig(preset="t5", width=32, num_heads=2)},
            "t5 one stack cannot be both",
        ),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(
    members: list[dict[str, Any]], settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        Pretraining(schedule(*members), **{**shared(**SHAPE), **settings})


def test_a_stage_without_a_step_is_refused_in_words(
    tiny_run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = config_of(tmp_path / "both.yaml", member(CAUSAL, 0.01), member(MASKED, 0.99))
    assert train_in_process(tiny_run("masked_lm", "short", *both, "--budget.steps", "4")) != 0
    assert "a share of 0.01 of 4 steps leaves causal_lm without any" in capsys.readouterr().err


def test_a_branch_is_refused_where_the_stages_before_it_are_others() -> None:
    stages, mixed = (schedule(member(CAUSAL), member(MASKED), order=order) for order in ("stages", "mixed"))
    stages.check_branch(10, parent_steps=40, total_steps=20)
    mixed.check_branch(15, parent_steps=40, total_steps=20)
    with pytest.raises(ValueError, match="up to step 11 the stages of a run of 20 steps are others"):
        stages.check_branch(11, parent_steps=40, total_steps=20)


def test_the_weights_of_stages_that_are_kept_are_best_by_the_last() -> None:
    results = {"causal_lm/next_token": 5.0, "masked_lm/masked": 3.0}
    costs = []
    for order in ("stages", "mixed"):
        both = module_of(schedule(member(CAUSAL, 0.25), member(MASKED, 0.75), order=order))
        both.validation_results = {name: Result(loss, 0.0, 1) for name, loss in results.items()}
        costs.append(both.validation_cost())
    np.testing.assert_allclose(costs, [3.0, 3.5])
