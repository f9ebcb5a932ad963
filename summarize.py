"""Prints a table of runs: python summarize.py runs/*.

Losses of different objectives stand beside each other here, each with its own two landmarks; they are not to be
ranked, since each objective has prediction targets of its own.
"""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.errors import UserError
from training.monitoring.display import duration, short
from training.setup.script import script
from training.storage.run_dir import RunFolder

COLUMNS = ("run", "size", "tokens", "tokens/s", "time", "loss", "accuracy", "unigram", "ln V")


def token_term(summary: dict[str, Any]) -> str:
    """The first loss term, which is the one of the tokens."""
    names = [name for name in summary if name.startswith("validation/") and name != "validation/loss"]
    return names[0]


def _cell(summary: dict[str, Any], name: str, form: str) -> str:
    """A number, or a dash: a fine-tuned run has no unigram entropy."""
    return format(summary[name], form) if name in summary else "-"


def row(folder: RunFolder) -> list[str]:
    """A run's row; one that has not come to its end has dashes."""
    summary, info = folder.read_summary(), folder.read_info()
    if summary is None:
        return [folder.path.name, short(info.get("parameters", 0)), *["-"] * (len(COLUMNS) - 2)]
    term = token_term(summary)
    return [
        folder.path.name,
        short(info["parameters"]),
        short(summary["raw_tokens"]),
        short(summary["speed/raw_tokens_per_second"]),
        duration(summary["seconds"]),
        f"{summary[term]:.3f}",
        *(_cell(summary, f"{term}_accuracy", ".1%"), _cell(summary, "unigram_entropy", ".3f")),
        _cell(summary, "ln_vocabulary", ".3f"),
    ]


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    folders = [RunFolder(Path(argument)) for argument in arguments]
    runs = [folder for folder in folders if folder.is_run]
    if not runs:
        raise UserError(
            f"no run in {', '.join(arguments)}" if arguments else "name the folders of runs, such as runs/*"
        )
    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
    for folder in runs:
        table.add_row(*row(folder))
    console.print(table)
    console.print(
        "loss: nats a token on held-out text, of each objective's own targets: compare each with its ln V (knows "
        "nothing) and unigram entropy (knows how frequent tokens are), not with the others",
        style="dim",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
