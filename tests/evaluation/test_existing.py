"""A report on runs that exist: arms by their settings, what is unequal named, nothing decided."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

import compare
import show
from evaluation.existing import arms_of
from evaluation.record.files import read_record
from evaluation.scoring import loaded
from objectives.weights.load import load_run
from tests.evaluation.report.pages import undrawn
from tests.helpers import ROOT, TINY, train_in_process


@pytest.fixture(scope="module")
def runs(corpus_file: Path, cache: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of causal_lm with two seeds, of masked_lm with one, and of a causal_lm that learns faster."""
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "causal_lm-s0": ("causal_lm",),
        "causal_lm-s1": ("causal_lm", "--seed", "1"),
        "masked_lm-s0": ("masked_lm",),
        "faster": ("causal_lm", "--optimizer.learning_rate", "1e-2"),
    }
    where = ("--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(folder))
    for name, (objective, *more) in made.items():
        config = ("--config", str(ROOT / f"configs/{objective}.yaml"), "--name", name, *TINY, *where)
        assert train_in_process([*config, "--budget.steps", "4", *more]) == 0
    return folder


def test_a_run_is_loaded_once_for_all_evaluations_and_the_report_while_it_fits_into_memory(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passages.txt").write_text("the cat sees the dog\nthe dog sees the cat\n", encoding="utf-8")
    settings = {"continuation": {"bytes": 64, "passages": 4}, "last_word": {"files": str(tmp_path / "passages.txt")}}
    found: list[Path] = []
    monkeypatch.setattr(loaded, "load_run", lambda folder: found.append(folder) or load_run(folder))
    folders = [str(runs / name) for name in ("causal_lm-s0", "causal_lm-s1")]
    command = [*folders, "--studies", str(tmp_path / "studies"), "--name", "two"]
    with undrawn():
        assert compare.main([*command, "--evaluations", json.dumps(settings)]) == 0
    one, other = runs / "causal_lm-s0", runs / "causal_lm-s1"
    assert found == [one, other]  # for two evaluations and the report, which loaded each three times
    monkeypatch.setattr(loaded, "KEPT_BYTES", 0)
    with loaded.keeping_runs():
        for folder in (one, one, other, one):
            loaded.loaded(folder)
    assert found[2:] == [one, other, one]  # the last one is kept
    metrics = {metric.name.split("/")[0] for metric in read_record(tmp_path / "studies/two/results.json").metrics}
    assert {"continuation", "last_word"} <= metrics


def test_runs_that_exist_are_reported_beside_each_other(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("causal_lm-s0", "causal_lm-s1", "masked_lm-s0")
    command = [*(str(runs / name) for name in names), "--studies", str(tmp_path / "studies"), "--name", "beside"]
    found: list[Path] = []
    monkeypatch.setattr(loaded, "load_run", lambda folder: found.append(folder) or load_run(folder))
    assert compare.main(command) == 0
    assert found == [runs / name for name in names]  # each once
    record = read_record(tmp_path / "studies/beside/results.json")
    assert [(run.arm, run.seed, run.status) for run in record.runs] == [
        ("causal_lm", 0, "finished"),
        ("causal_lm", 1, "finished"),
        ("masked_lm-s0", 0, "finished"),
    ]
    summary = json.loads((runs / "causal_lm-s0/summary.json").read_text(encoding="utf-8"))
    assert record.runs[0].scores["validation_loss"].mean == summary["validation/loss"]
    assert record.runs[0].curve
    assert record.verdicts == ()
    assert "The arms differ in seeds: causal_lm [0, 1], masked_lm-s0 [0]." in record.deviations
    assert not any("token store" in deviation for deviation in record.deviations)
    page = (tmp_path / "studies/beside/report.html").read_text(encoding="utf-8")
    assert "no difference below is more than an observation" in page
    printed = capsys.readouterr()
    assert "report.html" in printed.out
    (last,) = [line for line in printed.err.splitlines() if line.startswith("next: ")]
    assert printed.err.splitlines()[-1] == last
    words = shlex.split(last)
    assert words[2].endswith("show.py")
    assert words[3] == "--html"
    assert [Path(word).name for word in words[words.index("--runs") + 1 :]] == list(names)
    show.check_runs(show.parse(words[3:])[0])

    # The same run twice, a folder that is no run, and a run that has not come to its end are refused in one line.
    shutil.copytree(runs / "masked_lm-s0", tmp_path / "unfinished")
    (tmp_path / "unfinished/summary.json").unlink()
    for folders, message in (
        ([runs / "causal_lm-s0"] * 2, "is a second run of seed 0 with the same settings"),
        ([runs / "causal_lm-s0", runs / "nowhere"], "is no run: name folders that train.py made"),
        ([runs / "causal_lm-s0", tmp_path / "unfinished"], "not come to its end"),
    ):
        with pytest.raises(SystemExit) as ended:
            compare.main([*map(str, folders), "--studies", str(tmp_path / "studies")])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1


def test_runs_that_differ_in_more_than_their_seed_are_arms_of_their_own(runs: Path) -> None:
    assert [*arms_of([runs / "causal_lm-s0", runs / "faster"])] == ["causal_lm-s0", "faster"]
