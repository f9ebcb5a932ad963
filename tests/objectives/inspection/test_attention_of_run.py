"""The attention of a run as its user sees it: a table, a picture in a file, and one while it trains."""

import re
from pathlib import Path

import pytest

import show
from objectives.inspection.attention_of_run import attention_of, attention_tables
from objectives.weights.load import load_run
from tests.helpers import ROOT, TINY, train_in_process
from training.monitoring.next_command import command

TEXT = "The cat sees."
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def run(corpus_file: Path, cache: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has looked at short windows."""
    runs = tmp_path_factory.mktemp("attention")
    where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(runs), "--name", "looks"]
    short = ["--data.window", "12", "--budget.steps", "2", "--logging.attention", "true"]
    config = str(ROOT / "configs/denoising.yaml")
    assert train_in_process(["--config", config, *TINY, *where, *short]) == 0
    return runs / "looks"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        show.main(list(arguments))
    assert left.value.code == 2
    return capsys.readouterr().err


def test_a_runs_attention_is_a_table_and_a_picture(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training has written a picture; a text has one row for each stack's layer and head, and one picture."""
    assert (run / "attention.png").read_bytes().startswith(PNG)
    (run / "attention.png").unlink()
    assert show.main(["--attention", str(run)]) == 0
    printed = capsys.readouterr()
    shown = printed.out
    assert printed.err.splitlines()[-1] == f"next: {command('score.py', run)}"
    assert (run / "attention.png").read_bytes().startswith(PNG)
    assert str(run / "attention.png") in shown.replace("\n", "")
    for heading in ("encoder looks at itself", "decoder looks at itself", "decoder looks at the encoder"):
        assert f"body: {heading}" in shown
    rows = re.findall(r"^ *1 +[12]((?: +\d\.\d{3})+) *$", shown, re.MULTILINE)
    assert [len(row.split()) for row in rows] == [4, 4, 4, 4, 2, 2]

    svg = run.parent / "here.svg"
    assert show.main(["--attention", str(run), TEXT, "--svg", str(svg)]) == 0
    assert "layer 1, head 2" in svg.read_text(encoding="utf-8")
    assert show.main(["--attention", str(run), TEXT, "--svg", str(svg), "--seed", "1"]) == 0

    assert "data.window" in refused(capsys, "--attention", str(run), TEXT * 9)
    assert "--window" in refused(capsys, "--attention", str(run), "--window", "3")
    assert "is not a run" in refused(capsys, "--attention", str(run.parent), TEXT)


def test_a_picture_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--attention" in refused(capsys, "--png", "x.png", TEXT)


def test_the_table_holds_means_that_lie_in_their_ranges(run: Path) -> None:
    """Of a decoder the first query looks at itself alone; shares lie in [0, 1]."""
    maps = attention_of(load_run(run), TEXT, 0)
    assert [len(table.rows) for table in attention_tables(maps)] == [2, 2, 2]
    for table in attention_tables(maps):
        for column in list(table.columns)[3:]:
            assert all(0 <= float(str(cell)) <= 1 for cell in column.cells)
