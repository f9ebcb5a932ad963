"""The tables of the documents are those of the results."""

from pathlib import Path

import pytest

from benchmarks import speed, tables


def test_only_steps_on_one_thread_are_headed_so() -> None:
    heads = [line for line in tables.tables().splitlines() if line.startswith("### ") and "one thread" in line]
    assert heads
    assert all(head.startswith("### speed: ") for head in heads)


@pytest.mark.parametrize("page", [tables.PAGE, *tables.RATIOS_OF_PAGES], ids=lambda path: path.name)
def test_the_tables_of_a_page_are_made_from_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert tables.pages()[page] == text, "python -m benchmarks.tables writes them anew"
    assert text.count(tables.BEGIN) == text.count(tables.END) == 1


def test_every_ratio_of_the_readme_stands_in_the_table_of_its_shape() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    _, _, *rows = tables.ratios("").splitlines()
    assert rows
    for row in rows:
        _, *ratios = row.strip("| ").split(" | ")
        assert f"| **{speed.BEST}** | {' | '.join(ratios)} |" in page
