"""Predicts with a fine-tuned run.

    python predict.py runs/sst2-masked_lm-s0 "It was a pleasure to watch ."
    python predict.py runs/NAME "One text ." "Another ." --json
    python predict.py runs/NAME --file texts.txt             a text a line
    python predict.py runs/NAME --file questions.jsonl       rows with the task's columns, in any format of a task
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
from data.files.encodings import AUTO, checked_encoding
from data.files.formats import STANDARD_INPUT, lines_of_input
from data.files.json_rows import json_values
from data.text.sources import FormatSetting
from finetuning.core.base import ROWS_AT_ONCE
from finetuning.core.task import Task
from finetuning.data.inputs import inputs_in
from finetuning.data.rows import DataWarnings
from finetuning.load import load_fine_tuned
from training.machine.threads import set_threads
from training.monitoring.next_command import print_next
from training.script.script import script
from training.setup.parsing import OneLineErrors


def parse(arguments: list[str]) -> Namespace:
    """The command line."""
    parser = OneLineErrors(description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, help="folder of a fine-tuned run")
    parser.add_argument("texts", nargs="*", help="the texts; - reads standard input, a text a line")
    parser.add_argument("--file", type=Path | None, default=None, help="a text a line, or rows with the task's columns")
    parser.add_argument("--format", type=FormatSetting, default="auto", help="of --file; auto goes by its suffix")
    parser.add_argument("--encoding", type=str, default=AUTO, help="of --file or standard input, such as cp949")
    parser.add_argument("--jsonl", action="store_true", help="reads every line as JSON, whatever the file is called")
    parser.add_argument("--json", action="store_true", help="prints an object a line")
    parser.add_argument("--batch_size", type=int, default=ROWS_AT_ONCE, help="texts that are read at once")
    return parser.parse_args(arguments)


def refuse_header(line: str, origin: str, task: Task) -> None:
    """Raises UserError where the first line of a text names two of the task's columns, as a table's does."""
    values = [value for value in vars(task).values() if isinstance(value, str | tuple)]
    columns = {name for value in values for name in ((value,) if isinstance(value, str) else value)}
    for kind, mark in (("tsv", "\t"), ("csv", ","), ("csv", ";")):
        named = [field for field in line.split(mark) if field in columns]
        if len(named) > 1:
            raise UserError(f"{origin} begins with names of columns ({', '.join(named)}): read it with --format {kind}")


def inputs_of(parsed: Namespace, task: Task) -> list[Any]:
    """The texts and rows of the command line, of a file, or of standard input.

    Raises:
        UserError: where one cannot be read, or they are a table that is no text.
    """
    encoding = checked_encoding(parsed.encoding, "--encoding")
    if parsed.file is not None:
        origin, kind = str(parsed.file), "jsonl" if parsed.jsonl else parsed.format
        header = task.header.get("test", task.header.get("train", ())) if isinstance(task.header, dict) else task.header
        inputs = inputs_in(parsed.file, named=kind, header=header, encoding=encoding)
    else:
        is_piped = parsed.texts == ["-"]
        origin = str(STANDARD_INPUT) if is_piped else "text"
        inputs = lines_of_input(sys.stdin.buffer.read(), encoding) if is_piped else parsed.texts
        inputs = [value for _, value in json_values(origin, enumerate(inputs, 1))] if parsed.jsonl else inputs
    if origin != "text" and inputs and isinstance(inputs[0], str):
        refuse_header(inputs[0], origin, task)
    return task.together(inputs)


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parsed = parse(arguments)
    check_ranges("--", {"batch_size": count(1 << 16)}, vars(parsed))
    if parsed.file is not None and parsed.texts:
        raise UserError("give texts or --file, not both")
    set_threads(None, processes=1)
    tuned = load_fine_tuned(parsed.run)
    inputs = inputs_of(parsed, tuned.module.task)
    if not inputs:
        raise UserError('there is nothing to predict: give a text, such as "It was a pleasure .", or --file, or -')
    warnings = DataWarnings()
    is_watched = len(inputs) > 1 and sys.stderr.isatty()
    with Progress(console=Console(file=sys.stderr), transient=True, disable=not is_watched) as bar:
        found = tuned.predict(inputs, batch_size=parsed.batch_size, warnings=warnings)
        for given, (row, fields) in zip(inputs, bar.track(found, total=len(inputs)), strict=True):
            as_json = json.dumps({"input": given, **fields}, ensure_ascii=False, default=str) if parsed.json else ""
            print(visible(as_json or tuned.module.format(row, fields)))
    for line in warnings.lines():
        print(f"warning: {line}", file=sys.stderr)
    if not parsed.json:
        print_next("export.py", parsed.run, "--to", Path("exported") / parsed.run.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
