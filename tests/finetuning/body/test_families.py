"""Every kind of task works from every family where it makes sense, and is refused with the reason where it does not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.errors import UserError
from finetuning.grid import fine_tune
from finetuning.load import load_fine_tuned, predictions_of
from tests.finetuning.made_tasks import TASKS, WRITTEN
from tests.finetuning.opened import opened
from tests.helpers import OBJECTIVES

Command = Callable[..., list[str]]
SENSELESS = {*((task, "masked_lm") for task in (*WRITTEN, "generation"))}
SENSELESS |= {("generation", objective) for objective in ("denoising", "span_corruption")}
SENSIBLE = [(task, objective) for task in TASKS for objective in OBJECTIVES if (task, objective) not in SENSELESS]
FAST = {
    *(("classification", "masked_lm"), ("entities", "denoising"), ("questions", "causal_lm")),
    *(("generation", "causal_lm"), ("mixture", "span_corruption")),
}


@pytest.mark.parametrize(
    ("task", "objective"),
    [pytest.param(*case, marks=[] if case in FAST else pytest.mark.slow) for case in SENSIBLE],
)
def test_a_run_answers_from_its_folder_alone_as_it_was_scored(
    tiny_task: Command, tmp_path: Path, task: str, objective: str
) -> None:
    tuned = fine_tune(tiny_task(task, objective))
    assert f"development/{tuned.metric}" in tuned.scores
    assert any(name.startswith("test/") for name in tuned.scores)

    config = yaml.safe_load((tuned.folder / "config.yaml").read_text(encoding="utf-8"))
    _, data = opened(tiny_task(task, objective))
    loaded = load_fine_tuned(tuned.folder).module
    scores = loaded.measure_predictions(data.rows["test"], predictions_of(loaded, data.rows["test"], batch_size=5))
    again = {f"test/{name}": score.value for name, score in scores.items()}
    assert again == pytest.approx({name: value for name, value in tuned.scores.items() if name.startswith("test/")})
    assert config["checkpoint"].endswith(objective)

    lines = [json.loads(line) for line in (tuned.folder / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == len(data.rows["test"])
    for name in lines[0]["scores"]:
        assert np.mean([line["scores"][name] for line in lines]) == pytest.approx(tuned.scores[f"test/{name}"])


@pytest.mark.parametrize(("task", "objective"), sorted(SENSELESS))
def test_what_makes_no_sense_is_refused_with_the_reason(tiny_task: Command, task: str, objective: str) -> None:
    with pytest.raises(UserError) as refused:
        opened(tiny_task(task, objective))
    reasons = {"masked_lm": "cannot generate one token after another"}
    assert reasons.get(objective, "needs a source that its encoder reads") in str(refused.value)


@pytest.mark.parametrize(
    ("objective", "arguments", "expected"),
    [
        ("causal_lm", ("--tuning.pooling", "cls"), "has seen nothing but itself; choose last"),
        ("causal_lm", ("--tuning.pooling", "decoder_start"), "needs a decoder that attends to an encoder"),
        ("masked_lm", ("--tuning.pooling", "decoder_start"), "needs a decoder that attends to an encoder"),
        ("masked_lm", ("--tuning.attention", "bidirectional"), "this model's encoder has none"),
    ],
)
def test_pooling_and_attention_that_a_family_has_not_are_refused(
    tiny_task: Command,
    objective: str,
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    with pytest.raises(UserError) as refused:
        opened(tiny_task("classification", objective, *arguments))
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("objective", "pooling", "attention"),
    [
        *(("masked_lm", pooling, "as_trained") for pooling in ("mean", "cls")),
        *(("causal_lm", "last", attention) for attention in ("as_trained", "bidirectional")),
        *(("denoising", pooling, "as_trained") for pooling in ("last", "decoder_start")),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("masked_lm", "last", "as_trained"),
                ("causal_lm", "mean", "as_trained"),
                *(("causal_lm", pooling, "bidirectional") for pooling in ("mean", "cls")),
                *(("denoising", pooling, "as_trained") for pooling in ("mean", "cls")),
                *(("span_corruption", pooling, "as_trained") for pooling in ("mean", "decoder_start")),
            )
        ),
    ],
)
def test_an_answer_does_not_depend_on_the_questions_beside_it(
    tiny_task: Command, objective: str, pooling: str, attention: str
) -> None:
    settings = ("--tuning.pooling", pooling, "--tuning.attention", attention)
    module, data = opened(tiny_task("classification", objective, *settings))
    module = module.double()
    rows = data.rows["development"][:8]
    together = np.stack(predictions_of(module, rows, batch_size=8))
    alone = np.stack([answer for row in rows for answer in predictions_of(module, [row])])
    np.testing.assert_allclose(together, alone, rtol=1e-10)
    assert np.ptp(together[:, 0]) > 1e-6  # and it depends on what is asked
