"""Prints a table of runs: python summarize.py runs.

    python summarize.py runs                     every run in a folder
    python summarize.py runs/a runs/b            those that are named
    python summarize.py studies/demo             the runs of a study
    python summarize.py runs --csv > runs.csv    all numbers, whole; --json: as a list of objects

Runs that go on or were stopped have their last numbers. Losses of different objectives stand beside each other here,
each with its own two landmarks; they are not to be ranked, since each objective has prediction targets of its own.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from training.monitoring.display import duration, short
from training.monitoring.next_command import print_next
from training.monitoring.tables import plain_table, print_whole
from training.script.script import script
from training.setup.parsing import OneLineErrors
from training.storage.overview import RunRow, rows_of, runs_in

COLUMNS = (
    *("run", "objective", "state", "size", "tokens", "tokens/s", "time"),
    *("loss", "accuracy", "bits/byte", "unigram", "ln V", "score"),
)
ALWAYS = COLUMNS[:10]  # the others are lines where a run has them
MISSING = "-"
WIDTH = 400  # where there is no terminal, nothing is cut


def parse(arguments: list[str]) -> Namespace:
    """The command line."""
    parser = OneLineErrors(description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", nargs="*", type=Path, help="runs, or folders of runs; by default runs")
    parser.add_argument("--csv", action="store_true", help="prints comma-separated values, every number whole")
    parser.add_argument("--json", action="store_true", help="prints a list of JSON objects")
    return parser.parse_args(arguments)


def _number(value: float | None, form: str) -> str:
    return MISSING if value is None else format(value, form)


def _short(value: float | None) -> str:
    return MISSING if value is None else short(value)


def cells(row: RunRow) -> tuple[str, ...]:
    """A run's row as the table shows it."""
    return (
        *(row.run, row.objective, row.state),
        *(_short(row.parameters), _short(row.raw_tokens), _short(row.tokens_per_second)),
        MISSING if row.seconds is None else duration(row.seconds),
        *(_number(row.loss, ".3f"), _number(row.accuracy, ".1%"), _number(row.bits_per_byte, ".3f")),
        *(_number(row.unigram_entropy, ".3f"), _number(row.ln_vocabulary, ".3f")),
        MISSING if row.score is None else f"{row.metric} {row.score:.4f}",
    )


def show(rows: Sequence[RunRow]) -> None:
    """Prints the table, without columns in which nothing stands."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    lines = [cells(row) for row in rows]
    places = [
        place for place, name in enumerate(COLUMNS) if name in ALWAYS or any(line[place] != MISSING for line in lines)
    ]
    table = plain_table(*(COLUMNS[place] for place in places))
    for line in lines:
        table.add_row(*(line[place] for place in places))
    print_whole(console, table)
    console.print(
        "loss: nats a label on held-out text, of each objective's own targets: compare each with its ln V (knows "
        "nothing) and unigram entropy (knows how frequent tokens are), not with the others; bits/byte and score may be "
        "compared",
        style="dim",
        soft_wrap=True,
    )


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parsed = parse(arguments)
    rows: list[RunRow] = []
    for folder, row in rows_of(runs_in(parsed.runs or [Path("runs")])):
        if isinstance(row, RunRow):
            rows.append(row)
        else:
            print(f"{folder.path} is left out: {row}", file=sys.stderr)
    if parsed.json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2))
    elif parsed.csv:
        writer = csv.DictWriter(sys.stdout, [field.name for field in fields(RunRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    elif rows:
        show(rows)
        pretrained = next((row for row in rows if row.metric is None), None)
        if pretrained is None:
            print_next("export.py", Path(rows[0].folder), "--to", Path("exported") / rows[0].run)
        else:
            print_next("score.py", Path(pretrained.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
