"""What a script prints about itself: whether its run will export, and, last, the command that comes next."""

import os
import shlex
import sys
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from common.repository import REPOSITORY

FAR = 2  # levels up, above which a whole path is easier to read


def from_here(path: Path) -> str:
    """A path relative to the working directory, or whole where that would climb far."""
    relative = Path(os.path.relpath(path))
    return str(path.absolute() if relative.parts.count("..") > FAR else relative)


def command(script: str, *arguments: str | Path) -> str:
    """`python SCRIPT ARGUMENTS` for a shell; Paths are made relative to the working directory, words are quoted."""
    words = [from_here(one) if isinstance(one, Path) else one for one in arguments]
    return shlex.join(["python", from_here(REPOSITORY / script), *words])


@rank_zero_only
def print_readiness(run: Path, readiness: str) -> None:
    """Prints whether a run will export."""
    print(f"{from_here(run)} {readiness}", file=sys.stderr)


@rank_zero_only
def print_next(script: str, *arguments: str | Path) -> None:
    """Prints the command on standard error, so that what a script was called for is all of its standard output."""
    print(f"next: {command(script, *arguments)}", file=sys.stderr)
