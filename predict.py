"""Predicts with a fine-tuned run.

    python predict.py runs/sst2-masked_lm-s0 "It was a pleasure to watch ."
    python predict.py runs/NAME "One text ." "Another ." --json
    python predict.py runs/NAME --file texts.txt             a text a line
    python predict.py runs/NAME --file questions.jsonl       an object a line, with the task's columns
    cat texts.txt | python predict.py runs/NAME -            standard input, a text a line

Two texts of one input are parted by a tab. A prediction is a line; with --json, an object a line, with
its input.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import json
import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console
from rich.progress import Progress

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from common.errors import UserError
from common.ranges import check_ranges, count
from common.terminal import visible
from finetuning.load import ROWS_AT_ONCE, load_fine_tuned
from training.monitoring.next_command import print_next
from training.setup.parsing import OneLineErrors
from training.setup.script import script
from training.setup.threads import set_threads


def parse(arguments: list[str]) -> Namespace:
    """The command line."""
    parser = OneLineErrors(description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, help="folder of a fine-tuned run")
    parser.add_argument("texts", nargs="*", help="the texts; - reads standard input, a text a line")
    parser.add_argument("--file", type=Path | None, default=None, help="a text a line, or, in a .jsonl, an object")
    parser.add_argument("--jsonl", action="store_true", help="reads every line as JSON, whatever the file is called")
    parser.add_argument("--json", action="store_true", help="prints an object a line")
    parser.add_argument("--batch_size", type=int, default=ROWS_AT_ONCE, help="texts that are read at once")
    return parser.parse_args(arguments)


def _lines(raw: bytes, origin: str) -> list[str]:
    text = raw.decode("utf-8", errors="replace").removeprefix("\ufeff")
    if "\ufffd" in text:
        print(f"{origin}: bytes that are not UTF-8 are read as \ufffd", file=sys.stderr)
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _parsed(line: str, origin: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{origin}: not JSON on one line ({error})") from None


def inputs_of(parsed: Namespace) -> list[Any]:
    """The texts and objects of the command line, of a file, or of standard input.

    Raises:
        UserError: where there are none, or a line is no JSON.
    """
    if parsed.file is not None and parsed.texts:
        raise UserError("give texts or --file, not both")
    is_json = parsed.jsonl or (parsed.file is not None and parsed.file.suffix in (".jsonl", ".ndjson"))
    if parsed.file is not None:
        origin, lines = str(parsed.file), _lines(parsed.file.read_bytes(), str(parsed.file))
    elif parsed.texts == ["-"]:
        origin, lines = "standard input", _lines(sys.stdin.buffer.read(), "standard input")
    else:
        origin, lines = "text", list(parsed.texts)
    if not lines:
        raise UserError('there is nothing to predict: give a text, such as "It was a pleasure .", or --file, or -')
    if not is_json:
        return lines
    return [_parsed(line, f"{origin}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parsed = parse(arguments)
    check_ranges("--", {"batch_size": count(1 << 16)}, vars(parsed))
    inputs = inputs_of(parsed)
    set_threads(None, processes=1)
    tuned = load_fine_tuned(parsed.run)
    is_watched = len(inputs) > 1 and sys.stderr.isatty()
    with Progress(console=Console(file=sys.stderr), transient=True, disable=not is_watched) as bar:
        found = bar.track(tuned.predict(inputs, batch_size=parsed.batch_size), total=len(inputs))
        for given, (row, fields) in zip(inputs, found, strict=True):
            as_json = json.dumps({"input": given, **fields}, ensure_ascii=False) if parsed.json else ""
            print(visible(as_json or tuned.module.format(row, fields)))
    if not parsed.json:
        print_next("export.py", parsed.run, "--to", Path("exported") / parsed.run.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
