"""Writes the tables of docs/benchmarks.md and README from benchmarks/results/: python -m benchmarks.tables.

Everything between the two marks of a page is made from the files; the rest is written by hand.
"""

import re
from pathlib import Path
from typing import Any

from benchmarks import busy, preparing
from benchmarks.shared.record import RESULTS, chip, read
from benchmarks.speed import BEST, PRODUCTS, Found, rows_of
from common.files import write_whole
from common.repository import REPOSITORY

PAGE = REPOSITORY / "docs/benchmarks.md"
RATIOS_OF_PAGES = {  # with what each calls them
    REPOSITORY / "README.md": "training speed as a multiple of the fastest of transformers",
    REPOSITORY / "README.ko.md": "학습 속도(transformers에서 가장 빠른 쪽의 몇 배인지)",
}
BEGIN, END = "<!-- tables: python -m benchmarks.tables -->", "<!-- end of tables -->"
NAMES = {"ours": "ours, the objective's family", "lab": "ours, `lab`", "theirs": "transformers' class of the family"}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def named(variant: str) -> str:
    """A variant, or a ratio, in words."""
    if " / " in variant:
        one, other = variant.split(" / ")
        return f"**{named(one) if other == PRODUCTS else one} / {other}**"
    side, *how = variant.split()
    words = ["documents kept apart" if one == "documents" else one for one in how]
    return ", ".join([NAMES.get(side, side), *words])


def machine_line(machine: dict[str, Any]) -> str:
    """What a machine is, in a line."""
    title = ", ".join(machine["gpus"]) or f"{chip(machine)}, {machine['threads']} threads"
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("torch", "transformers")
                         if name in machine["versions"])  # fmt: skip
    return f"{title}; {versions}"


def speed_of(found: Found) -> str:
    """Raw tokens a second of the steps at one shape."""
    rows = [[named(name), *cells] for name, *cells in rows_of(found)]
    return table(["raw tokens a second (MFU)", *found], rows)


def generation_of(found: dict[str, Any]) -> str:
    """Tokens a second of generation at one shape."""
    parts = []
    by_length = {name: result["tokens_per_second"] for name, result in found.items() if "at once" not in name}
    if by_length:
        lengths = list(next(iter(next(iter(by_length.values())).values())))
        rows = [
            [f"`{preset}`, {way}", *(f"{rates[length]:,.0f}" if length in rates else "" for length in lengths)]
            for preset, ways in by_length.items()
            for way, rates in ways.items()
        ]
        parts.append(table(["tokens a second, one text at a time, by its length", *lengths], rows))
    batches = {name: result["tokens_per_second"] for name, result in found.items() if "at once" in name}
    if batches:
        ways = list(next(iter(batches.values())))
        rows = [[name, *(f"{rates[way]:,.0f}" for way in ways)] for name, rates in batches.items()]
        parts.append(table(["tokens a second", *ways], rows))
    return "\n\n".join(parts)


def loader_of(found: dict[str, Any]) -> str:
    """Raw tokens a second of the loader at one shape."""
    workers = [name for name in next(iter(found.values())) if name != "date"]
    rows = [
        [objective, *(f"{rates[name]['tokens_per_second']:,.0f}" for name in workers)]
        for objective, rates in found.items()
    ]
    return table(["loader, raw tokens a second", *workers], rows)


def busy_of(found: dict[str, Any]) -> str:
    """Raw tokens a second beside busy loops at one shape."""
    return table(busy.header(), busy.rows_of({load: rates for load, rates in found.items() if load != "date"}))


def preparing_of(found: dict[str, Any]) -> str:
    """Seconds and megabytes a second of each way to prepare text."""
    return table(["", "seconds", "MB a second"], preparing.rows_of(found))


def checks_of(checks: dict[str, Any]) -> str:
    """What `benchmarks.machine` found, in a line."""
    statuses = [one["status"] for one in checks.values() if isinstance(one, dict)]
    counts = [f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)]
    return f"`python -m benchmarks.machine`, {checks['date']}: {', '.join(counts)}."


def tables() -> str:
    """The tables of every machine."""
    parts = []
    makers = {
        "speed": speed_of,
        "loader": loader_of,
        "generation": generation_of,
        "busy": busy_of,
        "preparing": preparing_of,
    }
    for path in sorted(RESULTS.glob("*.json")):
        held = read(path)
        parts.append(f"## {machine_line(held['machine'])}")
        if "checks" in held:
            parts.append(checks_of(held["checks"]))
        for part, make in makers.items():
            for key, found in held.get(part, {}).items():
                dates, precisions = (
                    sorted(set(re.findall(rf"'{name}': '([\w-]+)'", str(found)))) for name in ("date", "precision")
                )
                threads = ["one thread"] if part == "speed" and "'threads': 1," in str(found) else []
                parts.append(f"### {part}: {', '.join([key, *threads, *precisions, dates[-1]])}")
                parts.append(make(found))
    return "\n\n".join(parts)


def ratios(title: str) -> str:
    """How many times the training steps of the fastest other side ours are, at each shape on every machine."""
    found_of = dict[str, Found]()
    for path in sorted(RESULTS.glob("*.json")):
        held = read(path)
        found_of |= {f"{chip(held['machine'])}, {key}": found for key, found in held.get("speed", {}).items()}
    objectives = list(dict.fromkeys(objective for found in found_of.values() for objective in found))
    rows = [
        [name, *cells]
        for name, found in found_of.items()
        for variant, *cells in rows_of({objective: found.get(objective, {}) for objective in objectives})
        if variant == BEST
    ]
    return table([title, *objectives], rows)


def filled(text: str, made: str) -> str:
    """A page with other tables between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{behind}"


def pages() -> dict[Path, str]:
    """The text of every page with tables, which are made anew."""
    made = {PAGE: tables(), **{path: ratios(title) for path, title in RATIOS_OF_PAGES.items()}}
    return {path: filled(path.read_text(encoding="utf-8"), of_page) for path, of_page in made.items()}


if __name__ == "__main__":
    for page, text in pages().items():
        write_whole(page, text)
