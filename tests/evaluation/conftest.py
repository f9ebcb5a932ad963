"""What tests of studies share."""

from pathlib import Path

import pytest

from evaluation.jobs import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The folder of a study, which is not there yet."""
    return Place(folder=tmp_path / "study")
