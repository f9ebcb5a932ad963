"""summarize.py: one row a run, whatever it has come to, and no run costs another its row."""

import csv
import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

import summarize
from data.store.store import TokenStore, read_tokenizer
from tests.helpers import ROOT, TINY, train_in_process
from training.machine.lock import lock_folder
from training.storage.overview import runs_in
from training.storage.run_dir import RunFolder

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(corpus_file: Path, cache: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of fewer steps than there are between two logs, and one of another objective."""
    folder = tmp_path_factory.mktemp("made")
    where = ("--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(folder))
    for name, (objective, *more) in {
        "short": ("causal_lm", "--budget.steps", "3", "--logging.every_steps", "10"),
        "other": ("masked_lm", "--budget.steps", "4"),
    }.items():
        config = ("--config", str(ROOT / f"configs/{objective}.yaml"), "--name", name)
        assert train_in_process([*config, *TINY, *where, *more]) == 0
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """The folder of both, to be changed."""
    return shutil.copytree(made, tmp_path / "runs")


def rows(capture: Capture, *arguments: str) -> list[dict[str, Any]]:
    capture.readouterr()
    assert summarize.main([*arguments, "--json"]) == 0
    return json.loads(capture.readouterr().out)


def unfinished(run: Path) -> None:
    """As a run is that has not come to its end."""
    (run / "summary.json").unlink()


def test_a_run_shorter_than_a_log_interval_has_a_row_with_its_speed(runs: Path, capsys: Capture) -> None:
    other, short = rows(capsys, str(runs))
    assert (short["run"], short["objective"], short["state"]) == ("short", "causal_lm", "finished")
    assert (other["run"], other["objective"], other["term"]) == ("other", "masked_lm", "masked")
    assert short["tokens_per_second"] > 0
    assert summarize.main([str(runs / "short"), str(runs / "other")]) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in printed[1:3]] == [
        ["short", "causal_lm", "finished"],
        ["other", "masked_lm", "finished"],
    ]


def test_a_summary_without_a_speed_is_that_of_the_whole_run(runs: Path, capsys: Capture) -> None:
    """As runs of earlier versions left it."""
    folder = RunFolder(runs / "short")
    summary = folder.read_summary() or {}
    kept = {name: value for name, value in summary.items() if not name.startswith("speed/")}
    folder.write_summary({**kept, "seconds": 2.0})
    (row,) = rows(capsys, str(runs / "short"))
    assert row["tokens_per_second"] == summary["raw_tokens"] / 2


def test_bits_per_byte_are_those_of_the_held_out_text_for_whom_gives_it_a_likelihood(
    runs: Path, store: Path, capsys: Capture
) -> None:
    other, short = rows(capsys, str(runs))
    assert other["bits_per_byte"] is None
    held_out, (tokenizer, vocabulary) = TokenStore(store, "validation"), read_tokenizer(store)
    words = [index for index in held_out.tokens.tolist() if index != vocabulary.eos]
    num_bytes = len(tokenizer.decode(words).encode())
    nats = short["loss"] * len(held_out.tokens)
    assert short["bits_per_byte"] == pytest.approx(nats / math.log(2) / num_bytes)


def test_a_folder_of_runs_a_study_and_a_run_are_found_by_their_paths(runs: Path) -> None:
    everything = [RunFolder(runs / "other"), RunFolder(runs / "short")]
    assert runs_in([runs]) == runs_in([runs.parent]) == everything
    assert runs_in([runs / "short", runs / "other"]) == everything[::-1]


def test_a_run_that_goes_on_has_its_last_numbers_and_says_so(runs: Path, capsys: Capture) -> None:
    unfinished(runs / "other")
    lock = lock_folder(runs / "other", "run")
    try:
        (running,) = rows(capsys, str(runs / "other"))
    finally:
        lock.release()
    (stopped,) = rows(capsys, str(runs / "other"))
    assert (running["state"], stopped["state"]) == ("100%, running", "100%, stopped")
    assert running["loss"] is not None
    assert running["loss"] == stopped["loss"]
    assert running["raw_tokens"] == 4 * 8 * 32


def test_a_run_that_has_not_begun_or_is_damaged_does_not_cost_the_others_their_rows(
    runs: Path, capsys: Capture
) -> None:
    unfinished(runs / "other")
    for name in ("metrics.csv", "run.json"):
        (runs / "other" / name).unlink()
    (runs / "short.1").mkdir()
    (runs / "short.1/config.yaml").write_text("model: 3\n", encoding="utf-8")
    assert [(row["run"], row["state"]) for row in rows(capsys, str(runs))] == [
        ("other", "not begun, stopped"),
        ("short", "finished"),
    ]
    assert summarize.main([str(runs)]) == 0
    assert f"{runs / 'short.1'} is left out: " in capsys.readouterr().err


def test_csv_and_json_hold_the_same_numbers(runs: Path, capsys: Capture) -> None:
    as_json = rows(capsys, str(runs))
    assert summarize.main([str(runs), "--csv"]) == 0
    as_csv = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert as_csv == [{name: "" if value is None else str(value) for name, value in row.items()} for row in as_json]


def test_where_there_is_no_run_the_message_names_what_would_be(tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        summarize.main([str(tmp_path)])
    assert f"no run in {tmp_path}: name runs, or a folder of runs" in capsys.readouterr().err
