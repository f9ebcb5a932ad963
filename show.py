"""Shows what every objective does to one text: what is read, the targets, and what became of each token.

    python show.py "Thank you for inviting me to your party last week ."
    python show.py --file essay.txt --seed 3 --denoising.permute_rate 0 --span_corruption.mean_span_length 5
    python show.py --config configs/papers/t5.yaml --window 7
    python show.py --html page.html "Thank you for inviting me ." "초대 해 주셔서 감사 합니다 ."
    python show.py --html page.html "Thank you for inviting me ." --runs runs/a runs/b
    python show.py --config runs/NAME/config.yaml "A text cut by the tokenizer of that run."
    python show.py --attention runs/NAME "Thank you for inviting me ." --svg attention.svg

A text alone is cut into words. With --config it is cut by the tokenizer of that run, and --window shows a window of
its corpus; a token store that is not there yet is built first. --attention shows where every layer and head of a
trained run looks, over the text noised as in training: a table, and a picture in the run's folder or in the file named.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from common.errors import UserError
from common.files import write_whole
from common.terminal import visible
from data.datamodule import DataModule
from data.files.formats import lines_of_input
from data.files.unpacking import decoded_lines
from data.store.store import TokenStore
from data.stream.order import Purpose, generator
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Tokenizer, Vocabulary
from models.bodies.make import BodyConfig, config_from
from objectives.core.base import Objective
from objectives.inspection.picture import Painter, legend, picture
from objectives.inspection.rates import count, measured
from objectives.inspection.text import text_alone, windows_of_text
from training.monitoring.next_command import print_next
from training.monitoring.tables import plain_table, print_whole
from training.script.script import script
from training.setup.cli import RunCLI
from training.setup.parsing import OneLineErrors
from training.storage.old_names import renamed_settings
from training.storage.yaml_text import read_yaml

if TYPE_CHECKING:
    from objectives.inspection.viewer.notes import Note
    from objectives.inspection.viewer.runs import HeldOutLoss
    from objectives.weights.load import TrainedRun

CONFIGS = Path(__file__).parent / "configs"
SHARED: set[str | int] = {"z_loss", "init_from", "keep_documents_apart"}
DRAWS = 300  # of the same text, from which rates are measured


def class_named(path: str) -> type[Objective]:
    """The class that a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def objective_configs(named: list[Path] | None) -> dict[str, dict[str, Any]]:
    """`model` of each config: of those named, by their objectives' files; or of every one there is, by its own name."""
    paths = named or [path for path in sorted(CONFIGS.glob("*.yaml")) if path.name != "base.yaml"]
    models = [(path.stem, renamed_settings(read_yaml(path)).get("model")) for path in paths]
    return {model["class_path"].split(".")[-2] if named else stem: model for stem, model in models if model}


def parse(arguments: list[str]) -> tuple[Namespace, dict[str, Objective]]:
    """The command line, and the objectives with the knobs that it sets."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # the configs decide which knobs there are
    first.add_argument("--config", type=Path, action="append")
    first.add_argument("--attention", type=Path)
    known = first.parse_known_args(arguments)[0]
    named: list[Path] | None = known.config
    parser = OneLineErrors(description=__doc__, allow_abbrev=False)
    parser.describes_script = named is None
    parser.add_argument("text", nargs="*", help="the text; - reads standard input; several with --html")
    parser.add_argument("--html", type=Path, help="writes a page to play with: one file, no server, no network")
    parser.add_argument(
        "--runs", type=Path, nargs="+", default=[], help="trained runs whose predictions the page of --html shows too"
    )
    parser.add_argument("--file", type=Path, help="a file that holds the text")
    parser.add_argument(
        "--config", type=str, action="append", help="a config whose objective and tokenizer are shown; may be repeated"
    )
    parser.add_argument("--window", type=int, help="number of a window of the corpus of --config")
    parser.add_argument("--seed", type=int, default=0, help="decides what is hidden")
    parser.add_argument("--attention", type=Path, help="a run whose attention over the text is shown")
    parser.add_argument("--png", type=Path, help="the picture of --attention, as this file")
    parser.add_argument("--svg", type=Path, help="the same as SVG")
    models = {} if known.attention else objective_configs(named)  # a run has its own objective
    for name, model in models.items():
        parser.add_class_arguments(class_named(model["class_path"]), name, skip=SHARED)
        knobs = {knob: value for knob, value in model.get("init_args", {}).items() if knob not in SHARED}
        parser.set_defaults({f"{name}.{knob}": value for knob, value in knobs.items()})
    parsed = parser.parse_args(arguments)
    return parsed, {name: class_named(model["class_path"])(**vars(parsed[name])) for name, model in models.items()}


def configs_of(parsed: Namespace) -> list[str | Path]:
    """What train.py is given to train what was shown: its configs, or the first objective's."""
    return [word for path in parsed.config or [CONFIGS / "masked_lm.yaml"] for word in ("--config", Path(path))]


def texts_of(parsed: Namespace) -> list[str]:
    """The texts that the command line names.

    Raises:
        UserError: where there are two sources of texts.
    """
    if parsed.text and parsed.file:
        raise UserError(f"--file {parsed.file} and a text on the command line: give one of them")
    named = ["".join(decoded_lines(parsed.file)).removeprefix("\ufeff")] if parsed.file else parsed.text
    return ["\n".join(lines_of_input(sys.stdin.buffer.read())) if text == "-" else text for text in named]


def what_to_show(parsed: Namespace) -> tuple[Windows, Window, Tokenizer, Vocabulary]:
    """The window that is shown among its windows, with what cuts and reads it.

    Raises:
        UserError: where there is no such text or window.
    """
    texts = texts_of(parsed)
    if len(texts) > 1:
        raise UserError(f"{len(texts)} texts: name one, in quotes, or write a page of several with --html FILE")
    text = texts[0] if texts else None
    if parsed.window is None and text is None:
        raise UserError('give a text, such as "Thank you for inviting me .", or --file, or --config with --window')
    if not parsed.config:
        if parsed.window is not None:
            raise UserError("--window needs a --config that names a corpus")
        assert text is not None
        return text_alone(text)
    options = [option for path in parsed.config for option in ("--config", path)]
    defaults = CONFIGS / "base.yaml"
    cli = RunCLI(Objective, DataModule, BodyConfig, defaults=defaults, arguments=options, only_data=True)
    data = cli.datamodule
    data.prepare_data()
    data.open()
    windows = data.training_windows if text is None else windows_of_text(text, data.tokenizer, data.vocabulary)
    number = parsed.window or 0
    if not 0 <= number < len(windows):
        raise UserError(f"--window = {number} must lie in 0 to {len(windows) - 1}")
    return windows, windows[number], data.tokenizer, data.vocabulary


def table_of_rates(objective: Objective, window: Window, windows: Windows, vocabulary: Vocabulary, seed: int) -> Table:
    """Rates in this picture and over many draws of the same text, beside the nominal ones."""
    corrupt = objective.corruption(vocabulary)
    draws = [
        count(window, corrupt(window, generator(seed, Purpose.DISPLAY, draw, window.index), windows), vocabulary)
        for draw in range(DRAWS)
    ]
    here, over_all, nominal = measured(draws[:1]), measured(draws), objective.nominal_rates(len(window))
    table = plain_table("", "here", f"{DRAWS} draws", "nominal")
    for name in over_all:
        if over_all[name] or nominal.get(name):
            table.add_row(name, *(f"{rates[name]:.3f}" if name in rates else "" for rates in (here, over_all, nominal)))
    return table


def held_out_loss(run: "TrainedRun") -> "HeldOutLoss | None":
    """The loss of a run over ordinary tokens of held-out text; None where there is none, or its store is gone."""
    from evaluation.excerpts import held_out
    from evaluation.plateau import is_on_plateau, ordinary_loss
    from objectives.inspection.viewer.runs import HeldOutLoss

    try:
        windows = held_out(run)
    except UserError:
        return None
    loss, store = ordinary_loss(run, windows), windows.store
    assert isinstance(store, TokenStore)
    entropy = store.unigram_entropy
    return None if loss is None else HeldOutLoss(loss, entropy, is_on_plateau(loss, entropy))


def check_runs(parsed: Namespace) -> None:
    """Raises UserError where --runs names what is no folder, or there is no page to show them in."""
    if parsed.runs and not parsed.html:
        raise UserError("--runs needs the page that shows them: add --html page.html")
    for run in parsed.runs:
        if not run.is_dir():
            raise UserError(f"--runs: there is no folder '{run}'; texts stand before --runs")


def viewer_of(parsed: Namespace, objectives: dict[str, Objective]) -> "tuple[str, list[Note]]":
    """The page of the texts under the objectives and runs, and what it leaves out.

    Raises:
        UserError: where there is no text, or a token store is named.
    """
    from objectives.inspection.viewer.draws import Shape
    from objectives.inspection.viewer.html import viewer_html

    texts = texts_of(parsed)
    if not texts or parsed.window is not None:
        raise UserError('--html needs a text: python show.py --html page.html "Thank you for inviting me ."')
    kinds = {name: (type(one), vars(parsed[name])) for name, one in objectives.items()}
    base = read_yaml(CONFIGS / "base.yaml")
    shape = Shape(body=config_from(base["body"]), vocab_size=base["data"]["vocab_size"])
    return viewer_html(kinds, texts, shape, runs=parsed.runs, measure=held_out_loss)


def show_attention(parsed: Namespace, console: Console) -> None:
    """Prints where every layer and head of a run looks, and writes the picture.

    Raises:
        UserError: where the run or the text cannot be shown.
    """
    from objectives.inspection.attention_figure import FileKind, attention_figure
    from objectives.inspection.attention_of_run import FILE, attention_of, attention_tables, example_text, labels_of
    from objectives.weights.load import load_run

    others = [f"--{name}" for name in ("config", "window", "html") if getattr(parsed, name) is not None]
    if others or len(texts_of(parsed)) > 1:
        raise UserError(f"--attention takes a run and one text, and here is {others[0] if others else 'another text'}")
    run = load_run(parsed.attention)
    text = next(iter(texts_of(parsed)), None)
    maps = attention_of(run, example_text(run) if text is None else text, parsed.seed)
    for table in attention_tables(maps):
        print_whole(console, table)
        console.print()
    png = parsed.png or (None if parsed.svg else run.folder / FILE)
    files: dict[FileKind, Path | None] = {"png": png, "svg": parsed.svg}
    for kind, path in files.items():
        if path is not None:
            write_whole(path, attention_figure(maps, labels_of(run.tokenizer, run.vocabulary), kind))
            console.print(f"{path}: a picture of every layer and head", soft_wrap=True, markup=False)


@script()
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    console = Console(highlight=False)
    parsed, objectives = parse(arguments)
    check_runs(parsed)
    if parsed.attention:
        show_attention(parsed, console)
        print_next("score.py", parsed.attention)
        return 0
    if parsed.png or parsed.svg:
        raise UserError("--png and --svg are files of a picture of --attention, which names a run")
    if parsed.html:
        html, notes = viewer_of(parsed, objectives)
        write_whole(parsed.html, html)
        for note in notes:
            console.print(f"left out: {note.en}", soft_wrap=True, markup=False)
        size = len(html.encode()) / 1e6
        console.print(f"{parsed.html}: {size:.2f} MB; open it in a browser", soft_wrap=True, markup=False)
        if parsed.runs:
            print_next("score.py", parsed.runs[0])
        else:
            print_next("train.py", *configs_of(parsed))
        return 0
    windows, window, tokenizer, vocabulary = what_to_show(parsed)
    painter = Painter(vocabulary, lambda ids: visible(tokenizer.decode(list(ids), skip_special_tokens=False)))
    drawn = []
    for name, objective in objectives.items():
        objective.check_vocabulary(vocabulary)
        rng = generator(parsed.seed, Purpose.DISPLAY, 0, window.index)
        panels = painter.panels(window, objective.corruption(vocabulary)(window, rng, windows))
        summary = (sys.modules[type(objective).__module__].__doc__ or "").splitlines()[0]
        console.rule(f"[bold]{name}[/]  {summary}", align="left")
        console.print(picture(panels, console.width))
        print_whole(console, table_of_rates(objective, window, windows, vocabulary, parsed.seed))
        console.print()
        drawn += panels
    console.print(legend(drawn))
    print_next("train.py", *configs_of(parsed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
