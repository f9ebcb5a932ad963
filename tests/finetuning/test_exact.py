"""The laws of pretraining hold in fine-tuning: the same step, the same resume, the same rows."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import finetuning.grid
from data.stream.batch import Batch
from finetuning.cli import FineTuningCLI
from finetuning.core.base import FineTuning
from finetuning.grid import fine_tune
from finetuning.load import load_fine_tuned
from finetuning.tasks.token_classification import TokenClassification
from tests.finetuning.opened import opened, terms_of
from tests.helpers import metrics_of, run_script, weights_of
from tests.training.lacking import lacking
from tests.training.stopped import At
from training.session import train
from training.step.stops import Interrupted
from training.storage.checkpoint import checkpoints_in, read_checkpoint
from training.storage.run_dir import RunFolder

Command = Callable[..., list[str]]
ALL = ("classification", "entities", "questions", "text_to_text", "generation", "several labels", "regression")


def family_of(task: str) -> str:
    return {"text_to_text": "denoising", "generation": "causal_lm"}.get(task, "masked_lm")


@pytest.mark.parametrize("task", ALL)
def test_the_loss_of_a_batch_is_the_sum_of_its_rows(tiny_task: Command, task: str) -> None:
    module, data = opened(tiny_task(task, family_of(task)))
    module = module.double()
    numbers = range(8)
    together = terms_of(module, data, numbers)
    apart = [terms_of(module, data, [number]) for number in numbers]
    for name, term in together.items():
        assert term.divisor == sum(one[name].divisor for one in apart)
        for part in ("loss_sum", "minimised_sum", "correct"):
            found = getattr(term, part)
            if found is not None:
                expected = sum(float(getattr(one[name], part)) for one in apart)
                assert float(found) == pytest.approx(expected, rel=1e-10, nan_ok=True)


@pytest.mark.parametrize("task", [pytest.param("classification", marks=pytest.mark.slow), "entities"])
def test_the_step_does_not_depend_on_how_its_rows_are_shared_out(tiny_task: Command, tmp_path: Path, task: str) -> None:
    """Sentences of unequal lengths have unequal numbers of labels: a mean of means would not be the mean."""
    exact = ("--trainer.precision", "64-true", "--budget.steps", "2")
    weights = []
    for micro in (8, 2):
        name = f"micro{micro}"
        fine_tune(tiny_task(task, "masked_lm", *exact, "--data.micro_batch_size", str(micro), "--name", name))
        weights.append(weights_of(tmp_path / "runs" / name))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-9, atol=1e-12)


def test_a_step_and_a_validation_that_do_not_fit_are_those_of_rows_that_do(
    tiny_task: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, runs = ("--budget.steps", "2", "--tuning.dropout", "0.1"), tmp_path / "runs"
    fine_tune(tiny_task("entities", "masked_lm", *steps, "--data.micro_batch_size", "2", "--name", "fixed"))
    start, outputs = FineTuning.on_train_start, TokenClassification.outputs

    def on_train_start(self: FineTuning) -> None:
        start(self)
        lacking(self, [(0, 8, 0), (0, 4, 1)], backward=True)

    def outputs_of_few(self: TokenClassification, scores: torch.Tensor, batch: Batch) -> list[Any]:
        if len(batch.indices) > 1 and self.trainer.validating:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return outputs(self, scores, batch)

    monkeypatch.setattr(FineTuning, "on_train_start", on_train_start)
    monkeypatch.setattr(TokenClassification, "outputs", outputs_of_few)
    fine_tune(tiny_task("entities", "masked_lm", *steps, "--data.micro_batch_size", "auto", "--name", "auto"))
    fixed, auto = weights_of(runs / "fixed"), weights_of(runs / "auto")
    assert all(torch.equal(tensor, auto[name]) for name, tensor in fixed.items())


@pytest.mark.slow
def test_compiled_steps_differ_from_plain_ones_in_their_last_digits_alone(tiny_task: Command, tmp_path: Path) -> None:
    """Of both stacks, whatever the lengths of a batch."""
    steps = ("--trainer.precision", "32-true", "--budget.steps", "6")
    fine_tune(tiny_task("text_to_text", "denoising", *steps, "--name", "plain"))
    command = tiny_task("text_to_text", "denoising", *steps, "--name", "compiled", "--compile", "true")
    done = run_script("finetune.py", *command)
    assert done.returncode == 0, done.stderr
    plain, compiled = (weights_of(tmp_path / "runs" / name) for name in ("plain", "compiled"))
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, rtol=1e-3, atol=1e-5)


EVENTFUL = (
    *("--budget.steps", "12", "--validation.every_steps", "5", "--checkpoints.keep", "3", "--tuning.dropout", "0.1"),
    *(
        "--tuning.unfreeze_every",
        "0.5",
        "--optimizer.schedule",
        "slanted_triangular",
        "--optimizer.min_lr_ratio",
        "0.03",
    ),
)


def test_a_stopped_run_goes_on_bit_by_bit(tiny_task: Command, tmp_path: Path) -> None:
    whole = fine_tune(tiny_task("classification", "causal_lm", *EVENTFUL, "--name", "whole"))
    command = tiny_task("classification", "causal_lm", *EVENTFUL, "--name", "stopped")
    for step in (3, 7):
        with pytest.raises(Interrupted):
            train(FineTuningCLI(command), [At(step, lambda: signal.raise_signal(signal.SIGTERM))])
    stopped = fine_tune(command)
    assert stopped.scores == whole.scores
    runs = [tmp_path / "runs" / name for name in ("whole", "stopped")]
    newest = [read_checkpoint(checkpoints_in(run / "checkpoints")[0]) for run in runs]
    for name, tensor in newest[0]["state_dict"].items():
        assert torch.equal(tensor, newest[1]["state_dict"][name])
    assert newest[0]["tuning"] == newest[1]["tuning"]
    assert metrics_of(runs[0]) == metrics_of(runs[1])
    assert fine_tune(command).scores == whole.scores  # a run that has come to its end is only read


@pytest.mark.parametrize("at", ["load_weights", "write_predictions", "write_scores"])
def test_a_run_that_ended_before_its_scores_is_scored_and_logged_as_one_that_was_not(
    tiny_task: Command, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*args: object, **kwargs: object) -> None:
        raise Killed

    whole = fine_tune(tiny_task("classification", "masked_lm", "--name", "whole"))
    command = tiny_task("classification", "masked_lm", "--name", "killed")
    with monkeypatch.context() as patched:
        patched.setattr(finetuning.grid, at, killed)
        with pytest.raises(Killed):
            fine_tune(command)
    tuned = fine_tune(command)
    assert tuned.scores == whole.scores
    assert {"development/accuracy", "test/accuracy"} <= tuned.scores.keys()
    assert metrics_of(tuned.folder) == metrics_of(whole.folder)
    assert (tuned.folder / "predictions.jsonl").read_bytes() == (whole.folder / "predictions.jsonl").read_bytes()
    RunFolder(tuned.folder).check()


def test_the_best_weights_are_those_of_the_best_validation(tiny_task: Command) -> None:
    """A learning rate far too high, so that the last validation is not the best."""
    wild = ("--budget.steps", "24", "--validation.every_steps", "4", "--optimizer.learning_rate", "0.05")
    tuned = fine_tune(tiny_task("classification", "masked_lm", *wild))
    found = [float(row["validation/accuracy"]) for row in metrics_of(tuned.folder) if row.get("validation/accuracy")]
    assert tuned.scores["development/accuracy"] == pytest.approx(max(found))
    best_step = int(load_fine_tuned(tuned.folder).checkpoint.name.removeprefix("step-"))
    assert best_step == 4 * (1 + int(np.argmax(found)))


def test_training_stops_when_patience_is_at_its_end(tiny_task: Command) -> None:
    still = ("--budget.steps", "40", "--validation.every_steps", "2", "--optimizer.learning_rate", "1e-12")
    tuned = fine_tune(tiny_task("classification", "masked_lm", *still, "--tuning.patience", "3"))
    rows = [row for row in metrics_of(tuned.folder) if row.get("validation/accuracy")]
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8]


def test_from_scratch_begins_with_the_seeds_weights_and_not_the_pretrained_ones(tiny_task: Command) -> None:
    def weights(*more: str) -> dict[str, torch.Tensor]:
        module, _ = opened(tiny_task("classification", "masked_lm", *more))
        return module.state_dict()

    pretrained, scratch = weights(), weights("--tuning.from_scratch", "true")
    other = weights("--tuning.from_scratch", "true", "--seed", "1")
    body = [name for name in pretrained if name.startswith("body.") and pretrained[name].dim() > 1]
    assert body
    assert not any(torch.equal(pretrained[name], scratch[name]) for name in body)
    assert not any(torch.equal(other[name], scratch[name]) for name in body)
    assert torch.equal(pretrained["head.classifier.weight"], scratch["head.classifier.weight"])
