"""Fine-tuned tasks as a evaluation: which runs of the grid count, what is reported, and what is remembered."""

import io
import json
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import yaml

import finetune
from common.errors import MachineError, UserError
from evaluation.scoring.tasks.fine_tuned import FINETUNE, FineTuned, best_of, nested, results_of, tuned_in
from tests.evaluation.scorers import write_run
from tests.finetuning.made_tasks import TASKS, write_tasks
from training.storage.scores import FineTuningResult

SMALL = {  # steps of milliseconds
    "budget.steps": "4",
    "budget.epochs": "null",
    "data.batch_size": "8",
    "trainer.precision": "32-true",
    "tuning.dropout": "0",
}


def made(
    folder: Path, rate: float, seed: int, scores: dict[str, float], rows: dict[str, list[float]]
) -> FineTuningResult:
    """A fine-tuning run as it lies in its folder."""
    home = folder / f"sst2-s{seed}-lr{rate:g}"
    home.mkdir(parents=True)
    summary = {"steps": 4, "metric": "accuracy", "lower_is_better": ["bits_per_byte"], "scores": scores}
    (home / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    settings = {"optimizer": {"learning_rate": rate}, "seed": seed}
    (home / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    number = len(next(iter(rows.values()), []))
    lines = [{"scores": {name: values[row] for name, values in rows.items()}} for row in range(number)]
    (home / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return next(tuned for tuned in tuned_in(folder) if tuned.folder == home)


def grid(folder: Path, development: dict[float, list[float]]) -> list[FineTuningResult]:
    """Runs by learning rate, with one seed for each score of the development split."""
    for rate, scores in development.items():
        for seed, score in enumerate(scores):
            made(folder, rate, seed, {"development/accuracy": score, "test/accuracy": 1 - score}, {"accuracy": [1.0]})
    return tuned_in(folder)


def test_the_development_split_chooses_the_learning_rate_and_the_test_split_is_reported(tmp_path: Path) -> None:
    runs = grid(tmp_path, {1e-3: [0.5, 0.6], 3e-3: [0.7, 0.5], 1e-2: [0.1, 0.9]})
    best = best_of(runs)
    assert [run.learning_rate for run in best] == [3e-3, 3e-3]
    assert best[0].reported == ("test", "accuracy")


def test_where_less_is_better_the_least_is_chosen(tmp_path: Path) -> None:
    def run(rate: float, bits: float) -> FineTuningResult:
        scores = {"development/loss": bits, "test/bits_per_byte": bits}
        return FineTuningResult(
            folder=tmp_path,
            learning_rate=rate,
            seed=0,
            metric="loss",
            lower_is_better=("loss", "bits_per_byte"),
            scores=scores,
        )

    (best,) = best_of([run(1e-3, 2.5), run(3e-3, 2.0)])
    assert best.learning_rate == 3e-3
    assert best.reported == ("test", "bits_per_byte")  # a loss chooses weights, and ranks nothing


def test_items_are_rows_meaned_over_the_fine_tuning_seeds(tmp_path: Path) -> None:
    first = made(tmp_path, 1e-3, 0, {"development/accuracy": 1.0, "test/accuracy": 0.5}, {"accuracy": [1.0, 0.0]})
    other = made(tmp_path, 1e-3, 1, {"development/accuracy": 1.0, "test/accuracy": 1.0}, {"accuracy": [1.0, 1.0]})
    (result,) = results_of("sst2", [first, other])
    assert result.metric == "fine_tuned/sst2"
    assert result.scores.tolist() == [1.0, 0.5]
    assert (result.mean, result.unit, result.higher_is_better, result.rankable) == (0.75, "%", True, True)
    assert result.beside["deviation over fine-tuning seeds"] == pytest.approx(np.std([0.5, 1.0], ddof=1))


def test_of_a_metric_that_is_no_mean_of_rows_the_items_are_the_fine_tuning_seeds(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, 1e-3, seed, {"development/accuracy": 1.0, "test/f1": value}, {})
        for seed, value in enumerate((0.25, 0.75))
    ]
    assert results_of("ner", runs)[0].scores.tolist() == [0.25, 0.75]


def test_without_a_test_split_the_development_split_is_reported(tmp_path: Path) -> None:
    run = made(tmp_path, 1e-3, 0, {"development/accuracy": 0.5}, {"accuracy": [1.0, 0.0]})
    assert run.reported == ("development", "accuracy")
    assert "development split" in results_of("sst2", [run])[0].description


def test_parts_of_the_rows_are_metrics_of_their_own_with_the_same_unit_and_way(tmp_path: Path) -> None:
    scores = [
        {"development/loss": 1.0, "test/chrf": whole, "test/chrf/source over 20": part, "test/bleu": 0.1}
        for whole, part in ((0.5, 0.25), (0.7, 0.35))
    ]
    runs = [made(tmp_path, 1e-3, seed, found, {}) for seed, found in enumerate(scores)]
    whole, part = results_of("translation", runs)
    assert (whole.metric, whole.part_of, whole.mean) == ("fine_tuned/translation", "", pytest.approx(0.6))
    assert (part.metric, part.part_of) == ("fine_tuned/translation/source over 20", "fine_tuned/translation")
    assert part.scores.tolist() == [0.25, 0.35]
    assert (part.unit, part.higher_is_better, part.rankable) == ("%", True, True)
    assert "source over 20" in part.description


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    """A tiny classification, as a study declares it."""
    (tmp_path / "rows").mkdir()
    write_tasks(tmp_path / "rows")
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps({"task": TASKS["classification"](tmp_path / "rows")}), encoding="utf-8")
    return {"config": str(config), "settings": SMALL}


def test_no_pretraining_seed_has_another_ones_fine_tuning_seeds() -> None:
    """Else random weights, of which the fine-tuning seed is all, would be one run counted once a pretraining seed."""
    found = [seed for pretraining in range(5) for seed in nested((0, 3, 1), pretraining)]
    assert len(set(found)) == 15
    assert found[:3] == [0, 3, 1]


class FinetuneHere:
    """finetune.py in this process, as `subprocess.Popen` runs it in one of its own."""

    def __init__(self, command: Sequence[str], *, stdout: IO[bytes], **_: Any) -> None:
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed), suppress(SystemExit):
            finetune.main([*command[2:]])
        stdout.write(printed.getvalue().encode())

    def send_signal(self, number: int) -> None:
        raise AssertionError(number)

    def wait(self) -> None:
        """It has ended."""


@pytest.fixture(params=["here", pytest.param("a process of its own", marks=pytest.mark.slow)])
def finetune_anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default finetune.py runs without the seconds of its start."""
    if request.param == "here":
        popen = subprocess.Popen

        def start(command: Sequence[str], **more: Any) -> Any:
            return FinetuneHere(command, **more) if str(FINETUNE) in command else popen(command, **more)

        monkeypatch.setattr("subprocess.Popen", start)


@pytest.mark.usefixtures("finetune_anywhere")
def test_a_run_is_taken_through_a_task_once_with_every_seed(
    task: dict[str, Any], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", "denoising", store, "--logging.wandb", "off")
    evaluation = FineTuned(tasks={"tiny": task}, seeds=(0, 1))
    (result,) = evaluation(run)
    runs = tuned_in(next((run / "fine_tuned").iterdir()))
    assert len(runs) == 2
    assert result.mean == pytest.approx(np.mean([tuned.scores["test/accuracy"] for tuned in runs]))
    assert len(result.scores) == 24  # rows of the test split
    monkeypatch.setattr("subprocess.Popen", None)  # nothing is trained again
    (again,) = evaluation(run)
    assert np.array_equal(again.scores, result.scores)
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "seed": 1}), encoding="utf-8")
    with pytest.raises(TypeError):  # another pretraining seed has other fine-tuning seeds, which have yet to be trained
        evaluation(run)


@pytest.mark.usefixtures("finetune_anywhere")
def test_a_task_that_a_run_cannot_learn_is_named_with_the_reason(
    task: dict[str, Any], store: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", "causal_lm", store, "--logging.wandb", "off")
    wrong = {**task, "settings": {**SMALL, "task.label": "lable"}}
    with pytest.raises(ValueError, match=r"^tiny: .*did you mean 'label'"):
        FineTuned(tasks={"tiny": wrong})(run)


@pytest.mark.slow
def test_what_every_run_would_be_refused_for_is_refused_before_there_is_one(task: dict[str, Any]) -> None:
    wrong = {**task, "settings": {**SMALL, "task.label": "lable"}}
    with pytest.raises(UserError, match=r"^fine_tuned\.tasks\.other: task\.train: .*did you mean 'label'"):
        FineTuned(tasks={"other": wrong}).check(["fine_tuned/other", "fine_tuned/other/source over 20"])


@pytest.mark.parametrize(("status", "kind"), [(2, UserError), (4, MachineError), (1, RuntimeError), (0, None)])
def test_a_dry_run_is_refused_as_finetune_refuses_it(
    status: int, kind: type[Exception] | None, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"print('finetune.py: error: the reason'); raise SystemExit({status})", encoding="utf-8")
    monkeypatch.setattr("evaluation.scoring.tasks.fine_tuned.FINETUNE", script)
    with nullcontext() if kind is None else pytest.raises(kind, match="the reason"):
        FineTuned(tasks={"tiny": task, "again": task}).check([])


@pytest.mark.parametrize("metric", ["fine_tuned", "fine_tuned/tiney", "fine_tuned/tiny2"])
def test_a_metric_of_no_task_is_refused(metric: str, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", None)  # nothing is read for it
    with pytest.raises(
        UserError, match=f"hypotheses: '{metric}' is of no task of fine_tuned; they are fine_tuned/tiny"
    ):
        FineTuned(tasks={"tiny": task}).check([metric])


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no task": ({"tasks": {}}, r"fine_tuned.tasks: name at least one"),
    "a config that is not there": ({"tasks": {"sst2": "no.yaml"}}, r"fine_tuned.tasks.sst2: no config at 'no.yaml'"),
    "no seed": ({"tasks": {"sst2": "configs/tasks/sst2.yaml"}, "seeds": ()}, r"fine_tuned.seeds = \[\] must be"),
    "a rate twice": (
        {"tasks": {"sst2": "configs/tasks/sst2.yaml"}, "learning_rates": (1e-3, 1e-3)},
        r"fine_tuned.learning_rates = \[0.001, 0.001\] must be different",
    ),
    "a seed of a task's own": (
        {"tasks": {"sst2": {"config": "configs/tasks/sst2.yaml", "settings": {"seed": 3}}}},
        r"fine_tuned.tasks.sst2 sets seed, which is the evaluation's",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_before_anything_is_trained(mistake: str) -> None:
    settings, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        FineTuned(**settings)
