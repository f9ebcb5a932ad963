"""Scores a run by evaluations that are valid for every objective: python score.py runs/NAME.

    python score.py runs/causal_lm-s0
    python score.py runs/causal_lm-s0 --continuation corpus/test.jsonl --passages 1000
    python score.py runs/masked_lm-s0 --minimal_pairs blimp/data --scorer pll chain
    python score.py runs/denoising-s0 --last_word lambada.jsonl --json

Where none is named, the continuation of the text that the run was validated on. Minimal pairs are judged by the
objective's primary scorer, and by those named behind --scorer (all: by all that it has). What costs time is remembered
in the run's folder, so that an interrupted command goes on where it was.
"""

import common.startup  # noqa: F401 - Ctrl-C is quiet while all else is loaded

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console

import training.setup.command_line  # noqa: F401 - before what takes seconds to import
from common.errors import UserError
from data.files.encodings import AUTO, checked_encoding
from evaluation.scoring.evaluate import make_evaluation
from evaluation.scoring.loaded import keeping_runs
from evaluation.scoring.publish import publish_scores
from evaluation.scoring.results import EvaluationResult
from evaluation.study.study import VALIDATION_LOSS
from training.machine.threads import set_threads
from training.monitoring.next_command import print_next
from training.monitoring.tables import plain_table, print_whole
from training.script.script import script
from training.setup.parsing import OneLineErrors
from training.setup.settings import WandbMode
from training.storage.run_dir import RunFolder

# Settings of a study's evaluations, which messages name, and the options that give them here.
_SETTING = re.compile(
    r"(?<![\w./'])(continuation|minimal_pairs|last_word)\.(files|passages|bytes|scorers|precision|cache)\b"
)


def _option(setting: re.Match[str]) -> str:
    evaluation, name = setting.groups()
    return "--" + {"files": evaluation, "scorers": "scorer"}.get(name, name)


@contextmanager
def naming_options() -> Iterator[None]:
    """Messages of users' mistakes name an evaluation's settings by the options of this command."""
    try:
        yield
    except UserError as error:
        message = str(error).removeprefix("evaluations: ")  # where they stand in a study
        raise UserError(_SETTING.sub(_option, message)) from error


def parse(arguments: list[str]) -> Namespace:
    """The command line."""
    parser = OneLineErrors(description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--continuation", nargs="*", help="files of held-out text; by default the run's own")
    parser.add_argument("--minimal_pairs", nargs="+", help="files, folders or globs of pairs in BLiMP's form")
    parser.add_argument("--last_word", nargs="+", help="files of passages in LAMBADA's form")
    parser.add_argument("--scorer", nargs="+", help="scorers of minimal pairs beside the primary one, or all")
    parser.add_argument("--encoding", type=str, default=AUTO, help="of the files, such as cp949, where it is not UTF-8")
    parser.add_argument("--skip_long", action="store_true", help="leaves out pairs that are longer than the run reads")
    parser.add_argument("--passages", type=int | None, default=256, help="of the continuation; null reads all the text")
    parser.add_argument("--bytes", type=int, default=256, help="of a passage, of which half is given")
    parser.add_argument("--precision", type=str, default="float32", help="float32, bfloat16, or auto: the faster")
    parser.add_argument("--cache", type=Path | None, default=None, help="folder that remembers; by default the run's")
    parser.add_argument(
        "--wandb",
        type=WandbMode | None,
        default=None,
        help="where a table of predictions goes; as the run's numbers",
    )
    parser.add_argument("--json", action="store_true", help="prints one JSON object")
    return parser.parse_args(arguments)


def declared(parsed: Namespace) -> dict[str, dict[str, Any]]:
    """The evaluations and their settings, as a study declares them.

    Raises:
        UserError: where settings are given to an evaluation that is not chosen.
    """
    chosen: dict[str, dict[str, Any]] = {}
    if parsed.continuation is not None or not (parsed.minimal_pairs or parsed.last_word):
        files = parsed.continuation or []
        chosen["continuation"] = {"files": files, "passages": parsed.passages, "bytes": parsed.bytes}
    if parsed.minimal_pairs:
        scorers = parsed.scorer or []
        chosen["minimal_pairs"] = {"files": parsed.minimal_pairs, "scorers": "all" if scorers == ["all"] else scorers,
                                   "skip_long": parsed.skip_long}  # fmt: skip
    elif parsed.scorer:
        raise UserError(f"--scorer {' '.join(parsed.scorer)} needs --minimal_pairs")
    if parsed.last_word:
        chosen["last_word"] = {"files": parsed.last_word}
    encoding = checked_encoding(parsed.encoding, "--encoding")
    chosen = {name: {**settings, "encoding": encoding} for name, settings in chosen.items()}
    common = {"precision": parsed.precision, "cache": None if parsed.cache is None else str(parsed.cache)}
    return {name: {**settings, **common} for name, settings in chosen.items()}


def with_unit(value: float, unit: str) -> str:
    """A number with its unit."""
    return f"{value:.1%}" if unit == "%" else f"{value:.3f} {unit}" if unit else f"{value:.4g}"


def show(console: Console, results: list[EvaluationResult]) -> None:
    """Prints means with what stands beside them, and the phenomena of what has several."""
    table = plain_table("metric", "score")
    for result in results:
        table.add_row(result.metric, "≤ " * result.is_bound + with_unit(result.mean, result.unit))
    print_whole(console, table)
    phenomena: dict[str, dict[str, list[float]]] = {}
    for result in results:
        for stratum, mean in result.strata_means.items():
            means = phenomena.setdefault(stratum.split("/")[0], {})
            means.setdefault(result.metric, []).append(mean)
    if phenomena:
        metrics = list(dict.fromkeys(metric for means in phenomena.values() for metric in means))
        table = plain_table("phenomenon", *metrics)
        for name, means in sorted(phenomena.items()):
            table.add_row(name, *(f"{sum(means[metric]) / len(means[metric]):.1%}" for metric in metrics))
        print_whole(console, table)
    for result in results:
        is_share = result.unit == "%"
        beside = [f"{name} {with_unit(value, '%' if is_share else '')}" for name, value in result.beside.items()]
        if result.chance is not None:
            beside.insert(0, f"chance {with_unit(result.chance, result.unit)}")
        notes = [*beside, *[result.caveat] * bool(result.caveat)]
        notes += ["not to be ranked across objectives"] * (not result.rankable)
        console.print(f"{result.metric}: {', '.join(notes)}", style="dim", soft_wrap=True, markup=False)


def as_json(folder: Path, results: list[EvaluationResult]) -> dict[str, Any]:
    """All of it but the items."""
    names = ("mean", "unit", "higher_is_better", "rankable", "beside", "chance", "caveat", "is_bound")
    metrics = {
        result.metric: {**{name: getattr(result, name) for name in names}, "strata": result.strata_means}
        for result in results
    }
    return {"run": str(folder), "metrics": metrics}


def results_of(parsed: Namespace) -> list[EvaluationResult]:
    """What the evaluations that are declared find of a run, and what it was validated with.

    Raises:
        UserError: where settings, files or the run are not what an evaluation needs.
    """
    evaluations = {name: make_evaluation(name, settings) for name, settings in declared(parsed).items()}
    run = RunFolder(parsed.run)
    run.checkpoint()  # refused here where there is none
    if "model" not in run.read_config():
        raise UserError(
            f"'{parsed.run}' was fine-tuned: its scores are in its summary.json, and summarize.py shows them; score.py "
            f"takes a pretraining run"
        )
    if run.read_summary() is not None:
        evaluations[VALIDATION_LOSS] = make_evaluation(VALIDATION_LOSS, {})
    with keeping_runs():
        return [result for evaluation in evaluations.values() for result in evaluation(parsed.run)]


@script(interrupted="")
def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parsed, console = parse(arguments), Console(highlight=False)
    set_threads(None, processes=1)
    with naming_options():
        results = results_of(parsed)
    publish_scores(RunFolder(parsed.run), results, parsed.wandb)
    if parsed.json:
        print(json.dumps(as_json(parsed.run, results), ensure_ascii=False, indent=2))
    else:
        show(console, results)
        print_next("summarize.py", parsed.run.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
