"""Tables on a terminal."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 1 << 16  # characters


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table as all of this project's: no lines, names to the left and numbers to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    return table


def print_whole(console: Console, table: Table) -> None:
    """Prints a table of which nothing is cut where no terminal bounds it, as in a log: it is as wide as it needs."""
    if console.is_terminal:
        console.print(table)
        return
    before = console.width
    console.width = max(before, Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum)
    console.print(table)
    console.width = before
