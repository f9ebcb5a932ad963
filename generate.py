"""Generates text with a checkpoint, as it was trained to: python generate.py runs/NAME "Thank you for [MASK] me .".

    python generate.py runs/masked_lm-s0 "Thank you for [MASK] me to your [MASK] last week ." --candidates 3
    python generate.py runs/causal_lm-s0 "Thank you for" --temperature 0.8 --top_p 0.9 --samples 3
    python generate.py runs/denoising-s0 "Thank you [MASK] your party last week ." --beams 4
    python generate.py runs/span_corruption-s0 --file texts.txt --json

Masked LM: the likeliest tokens of every [MASK], and the text filled. Causal LM: the text continued, as the beginning of
a document. Denoising: the text restored, every [MASK] standing for any number of tokens. Span corruption: text of any
length for every [MASK] or <extra_id_0>, <extra_id_1> and so on. Where a terminal reads it, a single text is printed
while it is being generated.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import inspect
import json
import sys
from pathlib import Path

from jsonargparse import Namespace

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from common.errors import UserError
from common.terminal import visible
from data.files.formats import lines_of, lines_of_input
from models.generation.decoding import Decoding
from objectives.core.prompts import Generation, Prompts
from objectives.weights.load import load_run
from training.machine.threads import set_threads
from training.monitoring.next_command import print_next
from training.script.script import script
from training.setup.parsing import OneLineErrors
from training.step.compilation import begin_compiling, compile_headers_ahead, without_torn_kernels

STANDARD_INPUT = "-"
TEMPERATURE = 0.8  # of several samples: nearer to what is likely than the model's own distribution (1.0)
FLAGS = ("--json", "--compile", "--help", "-h")


def options_first(arguments: list[str]) -> list[str]:
    """The command line with its words behind its options: argparse wants them in one place, people do not."""
    options, words, rest = [], [], iter(arguments)
    for argument in rest:
        if argument == "--":
            words += rest
        elif argument.startswith("-") and argument != STANDARD_INPUT:
            options.append(argument)
            if "=" not in argument and argument not in FLAGS:
                options += [value for value in [next(rest, None)] if value is not None]
        else:
            words.append(argument)
    return [*options, "--", *words] if words else options


def parse(arguments: list[str]) -> Namespace:
    """The command line."""
    parser = OneLineErrors(description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("texts", nargs="*", help="texts; - reads standard input, one a line")
    parser.add_argument("--file", type=Path, help="a file of texts, one a line")
    parser.add_argument("--json", action="store_true", help="prints one JSON object for each answer")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compiles a decoder's step: for a GPU and long texts, since the first step then takes most of a minute",
    )
    parser.add_argument("--step", type=int | None, default=None, help="checkpoint to load; the newest by default")
    parser.add_argument(
        "--samples",
        type=int,
        default=1,
        help=f"generations for each text, drawn at --temperature, or at {TEMPERATURE} where none is given",
    )
    parser.add_argument(
        "--candidates", type=int | None, default=None, help="tokens named for each mask of a masked LM; 5 by default"
    )
    parser.add_class_arguments(Decoding)
    return parser.parse_args(options_first(arguments))


def texts_of(parsed: Namespace) -> list[str]:
    """The prompts.

    Raises:
        UserError: where there is no text, or two sources of texts.
        OSError: where a file cannot be read.
    """
    if parsed.texts and parsed.file:
        raise UserError(f"--file {parsed.file} and texts on the command line: give one of them")
    if not parsed.texts and not parsed.file:
        raise UserError('give a text, such as "Thank you for inviting me", or --file, or - for standard input')
    if parsed.texts == [STANDARD_INPUT] or str(parsed.file) == STANDARD_INPUT:
        return lines_of_input(sys.stdin.buffer.read()) or [""]
    if parsed.file:
        parsed.file.open("rb").close()  # which names what the system refuses
        return [line for _, line in lines_of(parsed.file)] or [""]
    return parsed.texts


def decoding_of(parsed: Namespace) -> Decoding:
    """How tokens are chosen; several samples are drawn, whether a temperature is given or not.

    Raises:
        UserError: where a value is impossible, or values contradict each other.
    """
    settings = {name: parsed[name] for name in inspect.signature(Decoding).parameters}
    if parsed.samples > 1 and not settings["temperature"] and settings["beams"] == 1:
        settings["temperature"] = TEMPERATURE
        print(f"{parsed.samples} samples are drawn at --temperature {TEMPERATURE}", file=sys.stderr)
    return Decoding(**settings)


def show(generation: Generation, *, as_json: bool, printed: str) -> None:
    """Prints a generation, without the beginning of its text that is printed already."""
    if as_json:
        found = {"prompt": generation.prompt, "text": generation.text, **generation.details}
        print(visible(json.dumps(found, ensure_ascii=False)))
        return
    print(visible(generation.text.removeprefix(printed)))
    for note in generation.notes:
        print(visible(note))


@script(interrupted="\n")
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parsed = parse(arguments)
    printed: list[str] = []

    def print_piece(piece: str) -> None:
        printed.append(piece)
        print(visible(piece), end="", flush=True)

    decoding = decoding_of(parsed)
    set_threads(None, processes=1)
    texts, run = texts_of(parsed), load_run(parsed.run, step=parsed.step)
    if parsed.compile:
        import torch  # what is slow to import stands behind the answer to --help

        run.network.to("cuda" if torch.cuda.is_available() else "cpu")
        begin_compiling(Path("cache"))
        compile_headers_ahead()
        run.network.body.compile_generation()
    prompts = Prompts(
        texts=texts,
        tokenizer=run.tokenizer,
        vocabulary=run.vocabulary,
        max_positions=run.max_positions,
        decoding=decoding,
        samples=parsed.samples,
        candidates=parsed.candidates,
        on_text=print_piece if sys.stdout.isatty() and not parsed.json else None,
    )
    with without_torn_kernels():
        for number, generation in enumerate(run.generate(prompts)):
            if number and not parsed.json:
                print()
            if parsed.samples > 1 and not parsed.json:
                of_text = f"text {number // parsed.samples + 1}, " if len(texts) > 1 else ""
                print(f"--- {of_text}sample {number % parsed.samples + 1} of {parsed.samples} ---")
            show(generation, as_json=parsed.json, printed="".join(printed))
    if not parsed.json:
        print_next("score.py", parsed.run)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
