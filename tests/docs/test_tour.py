"""The notebooks of docs/: they run from top to bottom, and what is committed is what came out."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

import show
from tests.evaluation.execution.conftest import train_here
from tests.helpers import ROOT, UNMEASURED, made_up_documents, make_cli, write_jsonl

ENGLISH, KOREAN = (ROOT / "docs" / name for name in ("tour.ipynb", "tour.ko.ipynb"))
SMALL = {"body.width": 32, "body.num_heads": 2, "data.vocab_size": 480, "data.window": 32, "data.batch_size": 8}


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_of(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def with_parameters(notebook: Any, parameters: dict[str, Any]) -> Any:
    """The notebook with other values in its cell of parameters."""
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    for name, value in parameters.items():
        cell.source, found = re.subn(rf"(?m)^{name} = .*$", lambda _, line=f"{name} = {value!r}": line, cell.source)
        assert found == 1, name
    return notebook


def small(path: Path, folder: Path) -> Any:
    """The notebook with runs of seconds, which leaves everything in a folder."""
    write_jsonl(folder / "made_up.jsonl", made_up_documents())
    places = {"CORPUS": str(folder / "made_up.jsonl"), "FOLDER": str(folder / "tour")}
    few = {"data.validation_windows": 8, "optimizer.warmup": 1, "trainer.precision": "32-true"}
    return with_parameters(read(path), places | {"TOKENS": "2k", "SEEDS": [0], "SHAPE": SMALL | few})


def test_the_cells_of_a_notebook_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, the runs of its study as well."""
    monkeypatch.setattr("evaluation.execution.runner.train_all", train_here)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(ENGLISH.parent)
    plt.close("all")
    cells: dict[str, Any] = {}
    for source in code_of(small(ENGLISH, tmp_path)):
        exec(source, cells)
    assert len(plt.get_fignums()) == 1
    assert (tmp_path / "tour/study/figures/evaluations.png").is_file()
    assert (tmp_path / "tour/study/report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("path", [ENGLISH, KOREAN], ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    notebook = small(path, tmp_path)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert (tmp_path / "tour/study/report.html").is_file()


@pytest.mark.parametrize("path", [ENGLISH, KOREAN], ids=lambda path: path.name)
def test_what_is_committed_was_run_in_order_and_names_no_place_of_the_machine(path: Path) -> None:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users|opt)/", path.read_text(encoding="utf-8"))


def test_both_notebooks_run_the_same_code() -> None:
    english, korean = (code_of(read(path)) for path in (ENGLISH, KOREAN))
    assert len(english) == len(korean)
    settings = re.compile(r'^(?:CORPUS|TOKENS|SEEDS|SENTENCE|WITH_GAP|BEGINNING|FOLDER) = .*$|"question": .*$', re.M)
    assert [settings.sub("", text) for text in english] == [settings.sub("", text) for text in korean]


@pytest.mark.parametrize("path", [ENGLISH, KOREAN], ids=lambda path: path.name)
def test_every_command_of_a_notebook_is_one(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    commands = {words[0]: words[1:] for words in map(shlex.split, re.findall(r"`python ([^`]*)`", prose))}
    assert commands.keys() == {"show.py", "train.py", "finetune.py"}
    assert (ROOT / commands["finetune.py"][1]).is_file()
    assert show.parse(commands["show.py"])[0].html == Path("page.html")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / commands["train.py"][-1]).write_text("", encoding="utf-8")
    assert make_cli([*commands["train.py"], *UNMEASURED]).objective_name == "causal_lm"
