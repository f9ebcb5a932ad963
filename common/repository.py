"""The files of this project itself: where they lie, which of them compute a run, and a hash of some of them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]  # where the scripts and configs/ lie
_ASIDE = {"tests", "benchmarks"}  # compute no run


def source_files(repository: Path = REPOSITORY) -> list[Path]:
    """All that computes a run: the scripts, and the modules of the packages."""
    packages = [path.parent for path in repository.glob("*/__init__.py") if path.parent.name not in _ASIDE]
    return sorted([*repository.glob("*.py"), *(file for package in packages for file in package.rglob("*.py"))])


def sha256_of_files(files: Iterable[Path], repository: Path = REPOSITORY) -> str:
    """Hash of the names and contents of files of the repository, in the order in which they are given."""
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(repository).as_posix()} {content}\n".encode())
    return digest.hexdigest()
