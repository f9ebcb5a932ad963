"""Nothing in a run folder is believed unhashed: what was changed since the run wrote it is named, whoever reads it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.files import read_sealed, write_sealed
from finetuning.body.body import start_from
from objectives.start.pretrained import open_pretrained, tokenizer_of
from objectives.weights.load import load_run
from tests.helpers import TINY, metrics_of, train_in_process
from training.storage import run_dir
from training.storage.branch import ParentRun
from training.storage.run_dir import RunFolder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path, cache: Path) -> tuple[Path, list[str]]:
    """A finished run, and its command."""
    runs = tmp_path_factory.mktemp("runs")
    command = [
        *("--config", "configs/causal_lm.yaml", *TINY, "--data.corpus", str(corpus_file), "--data.cache", str(cache)),
        *("--runs", str(runs), "--name", "run", "--budget.steps", "6", "--checkpoints.every_steps", "4"),
    ]
    assert train_in_process(command) == 0
    return runs / "run", command


@pytest.fixture
def run(trained: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of it, to damage."""
    return Path(shutil.copytree(trained[0], tmp_path / "run"))


def command_of(trained: tuple[Path, list[str]], run: Path) -> list[str]:
    return [*trained[1], "--runs", str(run.parent)]


def exchange_ids(run: Path) -> None:
    tokenizer = json.loads((run / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    one, other = list(vocabulary)[-2:]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (run / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        text = (run / file).read_text(encoding="utf-8")
        assert old in text
        (run / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def tear(file: str, length: int = 0) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        (run / file).write_bytes((run / file).read_bytes()[:length])

    return edit


MEANING = {
    "two ids exchanged": ("tokenizer.json", exchange_ids),
    "other heads": ("config.yaml", replace("config.yaml", "num_heads: 2", "num_heads: 4")),
    "a flag": ("config.yaml", replace("config.yaml", "document_masking: false", "document_masking: true")),
    "a torn config": ("config.yaml", tear("config.yaml", 300)),
    "other hashes": ("run.json", replace("run.json", '"sha256"', '"sha255"')),
    "an empty run.json": ("run.json", tear("run.json")),
    "a torn run.json": ("run.json", tear("run.json", 100)),
    "a foreign run.json": ("run.json", lambda run: (run / "run.json").write_text("[1]")),
}


def begin_with(run: Path) -> None:
    """Reads what `init_from` reads."""
    open_pretrained(str(run))
    tokenizer_of(str(run))


READERS: dict[str, Callable[[Path], Any]] = {
    "generate, score, export, compare": load_run,
    "init_from": begin_with,
    "fine-tuning": lambda run: start_from(str(run)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("change", MEANING)
def test_what_gives_the_weights_their_meaning_is_named_where_it_was_changed(
    run: Path, change: str, reader: str
) -> None:
    name, edit = MEANING[change]
    edit(run)
    with pytest.raises(UserError, match=f"run/{name} .*--resume never"):
        READERS[reader](run)


@pytest.mark.parametrize("change", MEANING)
def test_a_run_does_not_go_on_with_what_was_changed(
    trained: tuple[Path, list[str]], run: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, edit = MEANING[change]
    shutil.rmtree(run / "checkpoints/step-00000006")
    edit(run)
    assert train_in_process(command_of(trained, run)) == 2
    error = capsys.readouterr().err
    assert f"run/{name}" in error
    assert "--resume never" in error


def test_scores_and_numbers_that_were_changed_are_named(run: Path) -> None:
    folder = RunFolder(run)
    summary = folder.read_summary()
    assert summary
    replace("metrics.csv", "\n2,", "\n3,")(run)
    assert folder.read_summary() == summary
    with pytest.raises(UserError, match=r"run/metrics\.csv was changed"):
        folder.read_metrics()
    parent = ParentRun(min((run / "checkpoints").iterdir()))
    with pytest.raises(UserError, match=r"run/metrics\.csv was changed"):
        parent.copy_to(RunFolder(run.parent / "branch"))
    (run / "metrics.csv").unlink()
    with pytest.raises(UserError, match=r"run/metrics\.csv was changed"):
        folder.read_metrics()
    replace("summary.json", '"steps": 6', '"steps": 7')(run)
    with pytest.raises(UserError, match=r"run/summary\.json was changed .* remove it"):
        folder.read_summary()
    tear("summary.json")(run)
    with pytest.raises(UserError, match=r"run/summary\.json is damaged \(it is empty\); remove it"):
        folder.read_summary()


def test_the_summary_of_another_run_is_not_taken_for_this_ones(run: Path) -> None:
    summary, _ = read_sealed(run / "summary.json", remedy="")
    write_sealed(run / "summary.json", {**summary, "run": "another"})
    with pytest.raises(UserError, match="of another run"):
        RunFolder(run).read_summary()


def test_a_removed_summary_is_written_again_by_the_last_steps(trained: tuple[Path, list[str]], run: Path) -> None:
    before = RunFolder(run).read_summary()
    (run / "summary.json").unlink()
    assert train_in_process(command_of(trained, run)) == 0
    after = RunFolder(run).read_summary()
    assert before
    assert after

    def timeless(summary: dict[str, Any]) -> dict[str, Any]:
        clocked = ("seconds", "peak_memory_bytes")
        return {name: value for name, value in summary.items() if name not in clocked and "speed/" not in name}

    assert timeless(after) == timeless(before)
    assert [row["step"] for row in RunFolder(run).read_metrics()] == [
        row["step"] for row in RunFolder(trained[0]).read_metrics()
    ]


def test_a_run_that_was_killed_before_its_only_checkpoint_has_not_come_to_its_end(
    trained: tuple[Path, list[str]], run: Path
) -> None:
    """One whose checkpoints were removed since has."""
    folder, info = RunFolder(run), RunFolder(run).read_info()
    shutil.rmtree(run / "checkpoints")
    assert folder.read_summary()
    write_sealed(run / "run.json", {**info, "complete": False})
    assert folder.read_summary() is None
    assert train_in_process(command_of(trained, run)) == 0
    assert metrics_of(run) == metrics_of(trained[0])
    assert folder.read_info()["complete"]


def test_a_run_from_before_there_were_hashes_is_read_with_one_warning(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_dir, "_warned", set())
    info, _ = read_sealed(run / "run.json", remedy="")
    del info["sha256"]
    (run / "run.json").write_text(json.dumps(info), encoding="utf-8")
    for _ in range(2):
        load_run(run)
    assert capsys.readouterr().err.count("made before hashes were recorded") == 1
    exchange_ids(run)  # of the tokenizer the token store's hash has always been there
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        load_run(run)


def test_a_run_whose_run_json_was_lost_does_not_go_on(
    trained: tuple[Path, list[str]], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "checkpoints/step-00000006")
    (run / "run.json").unlink()
    assert train_in_process(command_of(trained, run)) == 2
    assert "run.json is missing" in capsys.readouterr().err
    assert train_in_process([*command_of(trained, run), "--resume", "never"]) == 0


def test_a_row_that_a_killed_process_left_unfinished_is_none_and_other_damage_is_named(run: Path) -> None:
    (run / "summary.json").unlink()
    folder, rows = RunFolder(run), RunFolder(run).read_metrics()
    content = (run / "metrics.csv").read_bytes()
    (run / "metrics.csv").write_bytes(content[:-5])
    assert folder.read_metrics() == rows[:-1]
    for damaged in (b"\0" * len(content), content[:200] + content[260:], b"a,b\n1,2\n"):
        (run / "metrics.csv").write_bytes(damaged)
        with pytest.raises(UserError, match=r"metrics\.csv is damaged .* remove it"):
            folder.read_metrics()


def test_an_unfinished_run_goes_on_from_the_numbers_that_it_logged_alone(
    trained: tuple[Path, list[str]], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands behind its checkpoint is computed anew, and is none of them."""
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints/step-00000006")
    whole = (run / "metrics.csv").read_bytes()
    replace("metrics.csv", "\n2,", "\n2,1")(run)
    assert train_in_process(command_of(trained, run)) == 2
    assert "metrics.csv is not what the run logged up to step 4" in capsys.readouterr().err
    (run / "metrics.csv").write_bytes(whole)
    replace("metrics.csv", "\n6,", "\n6,1")(run)
    assert train_in_process(command_of(trained, run)) == 0
    assert metrics_of(run) == metrics_of(trained[0])
