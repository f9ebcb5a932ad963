"""Tables on a terminal."""

from rich.table import Table


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table as all of this project's: no lines, names to the left and numbers to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    return table
