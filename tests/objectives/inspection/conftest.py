"""Four tiny trained runs, and the viewer's page of them."""

from pathlib import Path
from typing import Any

import pytest

import show
from tests.helpers import ROOT, TINY, train_in_process
from tests.objectives.inspection.viewer.pages import OBJECTIVES, TEXTS, data_of


@pytest.fixture(scope="session")
def folders(corpus_file: Path, cache: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("runs")
    where = ["--data.corpus", str(corpus_file), "--data.cache", str(cache), "--runs", str(home), "--name"]
    saved = ["--checkpoints.every_steps", "1", "--checkpoints.keep", "9"]
    when = ["--budget.steps", "4", "--logging.examples", "1", *saved]
    for name in OBJECTIVES:
        config = str(ROOT / f"configs/{name}.yaml")
        assert train_in_process(["--config", config, *TINY, *when, *where, name]) == 0
    return {name: home / name for name in OBJECTIVES}


@pytest.fixture(scope="session")
def runs_page(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "page.html"
    config = ["--config", str(ROOT / "configs/causal_lm.yaml")]
    assert show.main(["--html", str(path), *config, *TEXTS, "--runs", *map(str, folders.values())]) == 0
    return path


@pytest.fixture(scope="session")
def runs_data(runs_page: Path) -> dict[str, Any]:
    return data_of(runs_page.read_text(encoding="utf-8"))
