"""Measures how fast text becomes tokens beside datasets and tokenizers: python -m benchmarks.preparing.

    python -m benchmarks.preparing --corpus "books/*.txt"
    python -m benchmarks.preparing --corpus "books/*.txt" --paragraphs 1 --megabytes 50 --turns 1

The text is the corpus, over and over up to that size, in documents of some paragraphs; behind the first time each
begins with a number, so that none stands twice. It is prepared in turns by `prepare.py`, with a tokenizer trained on it
and with that one given, sentence boundaries included, and by datasets with the same one, without boundaries: load,
tokenise in `map`, by transformers as its examples do or by the fastest call of tokenizers, and group into windows. Each
is a command of its own: seconds are by the clock, from its start to its end.
"""

import argparse
import glob
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.shared.limited import run_limited
from benchmarks.shared.record import add, add_out, file_of, machine, today
from common.processors import usable
from training.monitoring.tables import plain_table, print_whole

LIMIT = 1800.0  # seconds of one preparation


def grown(paragraphs: Sequence[str], size: int, *, together: int) -> Iterator[str]:
    """Documents of so many of these paragraphs, over and over, until they have so many bytes."""
    documents = ["\n\n".join(paragraphs[first : first + together]) for first in range(0, len(paragraphs), together)]
    written = 0
    for turn in itertools.count():
        for document in documents:
            text = f"{turn} {document}" if turn else document
            written += len(text.encode())
            yield text
            if written >= size:
                return


def paragraphs_of(files: Sequence[str]) -> list[str]:
    """Those of text files, each in one line."""
    texts = [Path(name).read_text(encoding="utf-8") for name in files]
    return [" ".join(part.split()) for text in texts for part in text.split("\n\n") if part.strip()]


def _run(command: Sequence[str]) -> None:
    ended = run_limited(command, LIMIT)
    assert ended.status == 0, ended.errors or f"cut off after {LIMIT:.0f} s"


def ours(text: Path, tokenizer: str, cache: Path) -> None:
    """A token store by prepare.py, in a cache of its own."""
    settings = {"corpus": text, "tokenizer": tokenizer, "cache": cache}
    _run([sys.executable, "prepare.py", *(f"--data.{name}={value}" for name, value in settings.items())])


def by_datasets(text: Path, tokenizer: Path, way: str, cache: Path, processes: int) -> None:
    """Windows by datasets, in a cache of their own."""
    arguments = map(str, (text, tokenizer, way, cache, processes))
    _run([sys.executable, "-m", "benchmarks.shared.by_datasets", *arguments])


def measure(text: Path, folder: Path, *, turns: int, processes: int) -> dict[str, float]:
    """Seconds of each way, the median of some turns."""
    trained = folder / "first"
    ours(text, "byte_bpe", trained)  # which also warms the file up
    tokenizer = next(trained.rglob("tokenizer.json"))
    ways: dict[str, Callable[[Path], Any]] = {
        "prepare.py, tokenizer given": lambda cache: ours(text, str(tokenizer), cache),
        "prepare.py, tokenizer trained": lambda cache: ours(text, "byte_bpe", cache),
        "datasets, by transformers": lambda cache: by_datasets(text, tokenizer, "transformers", cache, processes),
        "datasets, by tokenizers": lambda cache: by_datasets(text, tokenizer, "tokenizers", cache, processes),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, prepare in ways.items():
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                before = time.perf_counter()
                prepare(Path(cache))
                seconds[name].append(time.perf_counter() - before)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def rows_of(found: dict[str, Any]) -> list[list[str]]:
    """A row for each way: seconds, and megabytes a second."""
    return [
        [name, f"{seconds:.1f}", f"{found['megabytes'] / seconds:.1f}"] for name, seconds in found["seconds"].items()
    ]


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="text files in UTF-8, as a path or a pattern")
    parser.add_argument("--megabytes", type=float, default=200.0)
    parser.add_argument("--paragraphs", type=int, default=10, help="of a document")
    parser.add_argument("--turns", type=int, default=3, help="of which the median counts")
    add_out(parser)
    options = parser.parse_args(arguments)
    files = sorted(glob.glob(options.corpus, recursive=True))
    if not files:
        parser.error(f"--corpus {options.corpus}: there is no such file")
    if options.paragraphs < 1:
        parser.error(f"--paragraphs {options.paragraphs} is less than 1")
    described, console, processes = machine(), Console(highlight=False), len(usable())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text.jsonl"
        with text.open("w", encoding="utf-8") as file:
            size = int(1e6 * options.megabytes)
            documents = grown(paragraphs_of(files), size, together=options.paragraphs)
            file.writelines(json.dumps({"text": document}, ensure_ascii=False) + "\n" for document in documents)
        found = {
            "date": today(),
            "megabytes": options.megabytes,
            "processors": processes,
            "seconds": measure(text, folder, turns=options.turns, processes=processes),
        }
    table = plain_table("", "seconds", "MB a second")
    for row in rows_of(found):
        table.add_row(*row)
    print_whole(console, table)
    part = "a paragraph" if options.paragraphs == 1 else f"{options.paragraphs} paragraphs"
    key = f"{options.megabytes:g} MB of text in documents of {part} on {processes} processors"
    add(options.out or file_of(described), described, {"preparing": {key: found}})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
