"""Folders of the first edition, made by tests/old_runs/make.sh, are gone on with, used and taken up as its own were."""

import shlex
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evaluation.execution.jobs import Job, StudyDir
from evaluation.execution.runner import Jobs, declare, jobs_of, plan_of
from evaluation.networks import look
from evaluation.record.files import read_record
from evaluation.study.parse import parse
from finetuning.grid import fine_tune
from finetuning.load import load_fine_tuned
from objectives.weights.load import load_run
from tests.helpers import ROOT, metrics_of, train_in_process, weights_of
from training.storage.old_names import renamed_metrics, renamed_parameter
from training.storage.run_dir import RunFolder

ARCHIVE = ROOT / "tests/old_runs/first_edition.tar.xz"


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    (folder / "studies/finished/report.html").touch()  # left out of the archive, as its runs' weights are
    return folder


@pytest.fixture
def home(extracted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders, in the current directory: all that they name is relative to it."""
    shutil.copytree(extracted, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights_in(path: Path) -> dict[str, Tensor]:
    """Weights that the first edition came to, by today's names."""
    file = max(path.rglob("weights.safetensors"))  # of the newest checkpoint
    return {renamed_parameter(name): tensor for name, tensor in load_file(file).items()}


def assert_same_weights(run: Path, expected: Path) -> None:
    torch.testing.assert_close(weights_of(run), weights_in(expected), rtol=1e-4, atol=1e-6)


def study_of(name: str) -> tuple[StudyDir, Jobs, list[dict[str, object]]]:
    """A study as compare.py takes it up: its folder, its runs, its declarations."""
    study, options = parse(["--config", "study.yaml", "--name", name])
    place, defaults = StudyDir(folder=options.studies / name), ROOT / "configs/base.yaml"
    fingerprint = study.fingerprint(defaults)
    jobs = jobs_of(study, plan_of(study, fingerprint, defaults, place), place)
    return place, jobs, declare(study, fingerprint, place)


@pytest.mark.parametrize("objective", ["masked_lm", "causal_lm", "schedule"])
def test_a_stopped_run_ends_as_it_would_have_ended_there(home: Path, objective: str) -> None:
    run, expected = home / f"runs/{objective}-stopped", home / f"runs/{objective}"
    assert not (run / "summary.json").exists()
    assert train_in_process(["--config", f"settings/{objective}.yaml", "--name", run.name]) == 0
    assert_same_weights(run, expected)
    for row, there in zip(metrics_of(run), metrics_of(expected), strict=True):
        logged = {name: float(value) for name, value in renamed_metrics(there).items() if value}
        assert {name: float(row[name] or "nan") for name in logged} == pytest.approx(logged, rel=1e-4)


def test_a_finished_run_is_not_trained_again_and_another_one_is_not_taken_for_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--config", "settings/masked_lm.yaml", "--name", "masked_lm"]
    assert train_in_process(command) == 0
    assert not (home / "runs/masked_lm/config-2.yaml").exists()
    assert len(metrics_of(home / "runs/masked_lm")) == 6
    assert train_in_process([*command, "--optimizer.max_grad_norm", "1"]) == 2
    assert "optimizer.max_grad_norm: 0.5 -> 1.0" in capsys.readouterr().err


def test_its_own_config_trains_the_same_again(home: Path) -> None:
    assert train_in_process(["--config", "runs/causal_lm/config.yaml", "--name", "again"]) == 0
    assert_same_weights(home / "runs/again", home / "runs/causal_lm")


@pytest.mark.parametrize("objective", ["masked_lm", "causal_lm", "schedule"])
def test_a_run_is_loaded_with_every_weight(home: Path, objective: str) -> None:
    run = load_run(home / "runs" / objective)
    torch.testing.assert_close(run.network.state_dict(), weights_in(run.folder), rtol=0, atol=0)


def test_a_run_generates_is_scored_shown_and_exported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import export
    import generate
    import score
    import show
    import summarize

    assert generate.main(["runs/masked_lm", "the [MASK] cat"]) == 0
    assert generate.main(["runs/causal_lm", "the cat", "--max_new_tokens", "4"]) == 0
    assert score.main(["runs/causal_lm", "--passages", "4", "--bytes", "32"]) == 0
    assert show.main(["--config", "runs/schedule/config.yaml", "the cat sees"]) == 0
    assert export.main(["runs/causal_lm", "--to", "exported"]) == 0
    assert summarize.main(["runs/masked_lm", "runs/tuned"]) == 0
    assert "LlamaForCausalLM" in capsys.readouterr().out


def test_a_run_is_fine_tuned_as_it_was_there(home: Path) -> None:
    command = ["--config", "settings/task.yaml", "--checkpoint", "runs/causal_lm", "--name"]
    there = RunFolder(home / "runs/tuned").read_summary() or {}
    for name in ("again", "tuned-stopped"):
        assert fine_tune([*command, name]).scores == pytest.approx(there["scores"])
        assert_same_weights(home / "runs" / name, home / "runs/tuned")


def test_a_fine_tuned_run_predicts_and_is_exported(home: Path) -> None:
    import export

    tuned = load_fine_tuned(home / "runs/tuned")
    ((_, fields),) = tuned.predict(["the old cat"])
    assert fields["label"] in ("cat", "none")
    assert export.main(["runs/tuned", "--to", "exported"]) == 0


def test_a_finished_study_has_nothing_to_do(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import compare

    results = home / "studies/finished/results.json"
    before = results.stat().st_mtime_ns
    for _ in range(2):
        assert compare.main(["--config", "study.yaml", "--name", "finished"]) == 0
        assert "nothing to do: 8 runs are over" in capsys.readouterr().out
    assert results.stat().st_mtime_ns == before
    assert read_record(results).deviations


def test_a_report_passes_over_runs_whose_weights_are_gone(home: Path) -> None:
    _, jobs, _ = study_of("finished")
    assert jobs.runs
    found = look(jobs.runs, ["masked"])
    assert not found.losses
    assert not found.excerpts


def test_a_stopped_study_is_gone_on_with_as_declared(home: Path) -> None:
    place, jobs, declarations = study_of("stopped")
    of_name: dict[str, Job] = {job.name: job for job in jobs.all}
    assert {name: job.outcome() for name, job in of_name.items()} == {
        "masked-s0": ("finished", ""),
        "masked-deeper-s0": ("unfinished", "interrupted"),
        "masked-s1": ("unfinished", "not begun"),
        "masked-deeper-s1": ("unfinished", "not begun"),
        "masked-s0-to-256": ("unfinished", "not begun"),
    }
    assert len(declarations) == 1
    for name in ("masked-deeper-s0", "masked-s0-to-256"):
        assert train_in_process(list(of_name[name].arguments)) == 0, shlex.join(of_name[name].arguments)
        assert_same_weights(place.folder / "runs" / name, home / "expected" / name)


def test_an_old_study_that_was_declared_otherwise_is_declared_anew(home: Path) -> None:
    study = Path("study.yaml")
    study.write_text(study.read_text(encoding="utf-8").replace("depth", "width"), encoding="utf-8")
    _, _, declarations = study_of("finished")
    assert [entry["declaration"]["question"] for entry in declarations] == [  # pyright: ignore[reportIndexIssue]
        "Does depth help here?",
        "Does width help here?",
    ]


def test_the_manifest_of_an_old_store_is_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import prepare

    assert prepare.main(["--config", "settings/masked_lm.yaml"]) == 0
    assert "damaged" not in capsys.readouterr().out
