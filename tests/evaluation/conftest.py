"""What tests of studies share."""

from pathlib import Path

import pytest

from evaluation.execution.jobs import StudyDir


@pytest.fixture
def study_dir(tmp_path: Path) -> StudyDir:
    """The folder of a study, which is not there yet."""
    return StudyDir(folder=tmp_path / "study")
