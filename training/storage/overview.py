"""The folders of runs as rows of a table: of finished runs, of those that go on, of those that stopped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaml import YAMLError

from common.errors import UserError
from training.machine.lock import is_locked
from training.storage.run_dir import RunFolder
from training.storage.scores import read_scores


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run as a row of a table; None stands for what it does not have (yet).

    Attributes:
        run: name of its folder.
        objective: file of its objective, or name of its task.
        state: `finished`, or how far it has come and whether a process works on it, such as `41%, running`.
        parameters: number of weights.
        raw_tokens: consumed so far.
        tokens_per_second: raw tokens, over the last logged interval, or else over the whole run.
        seconds: of computing, over all sessions.
        term: the loss term that `loss` is: the first one, which is that of the tokens.
        loss: nats a label of the last validation.
        accuracy: share of the labels of that term.
        bits_per_byte: of held-out text, where the objective gives the text a likelihood.
        unigram_entropy, ln_vocabulary: nats a token, to read the loss by.
        metric, score: of a fine-tuned run, the reported metric with its split, and its value.
        seed: of the run.
        folder: where it lies.
    """

    run: str
    objective: str
    state: str
    parameters: int | None
    raw_tokens: int | None
    tokens_per_second: float | None
    seconds: float | None
    term: str | None
    loss: float | None
    accuracy: float | None
    bits_per_byte: float | None
    unigram_entropy: float | None
    ln_vocabulary: float | None
    metric: str | None
    score: float | None
    seed: int | None
    folder: str


def runs_in(paths: Sequence[Path]) -> list[RunFolder]:
    """The runs that paths name: each itself, or those in it, or in its `runs/` (a study's), by name.

    Raises:
        UserError: where there is none.
    """
    found: list[RunFolder] = []
    for path in paths:
        places = ([path], sorted(path.glob("*")), sorted(path.glob("runs/*")))
        named = ([run for one in place if (run := RunFolder(one)).is_run] for place in places)
        found += next(filter(None, named), [])
    if not found:
        raise UserError(f"no run in {', '.join(map(str, paths))}: name runs, or a folder of runs, such as runs")
    return found


def _last(folder: RunFolder) -> dict[str, float]:
    """The last number under every name in metrics.csv, of a run that has no summary yet."""
    latest: dict[str, float] = {}
    for row in folder.read_metrics():
        latest |= {name: float(value) for name, value in row.items() if name and value}
    named = {"reference/unigram_entropy": "unigram_entropy", "reference/ln_vocabulary": "ln_vocabulary"}
    return {named.get(name, name): value for name, value in latest.items()}


def _state(folder: RunFolder, info: dict[str, Any], step: float | None) -> str:
    total = info.get("total_steps")
    if step is None:
        how_far = "not begun" if "data" not in info else "step 0"
    else:
        how_far = f"{step / total:.0%}" if total else f"step {step:,.0f}"
    return f"{how_far}, {'running' if is_locked(folder.path) else 'stopped'}"


def _objective(folder: RunFolder, config: dict[str, Any]) -> str:
    try:
        if "task" in config:
            return str(config["task"]["init_args"]["name"])
        return str(config["model"]["class_path"]).rsplit(".", 2)[-2]
    except (KeyError, TypeError, IndexError):
        raise UserError(
            f"{folder.path / 'config.yaml'} names neither an objective nor a task: it is no run's"
        ) from None


def row_of(folder: RunFolder) -> RunRow:
    """The row of a run, whatever it has come to.

    Raises:
        UserError: where one of its files is damaged.
    """
    config, info, summary = folder.read_config(), folder.read_info(), folder.read_summary()
    found: dict[str, Any] = _last(folder) if summary is None else summary
    terms = [name for name in found if name.startswith("validation/") and name != "validation/loss"]
    term = next(iter(terms), None)
    tokens, seconds = found.get("raw_tokens"), found.get("seconds")
    result = read_scores(folder)
    split, metric = ("", "") if result is None else result.reported
    return RunRow(
        run=folder.path.name,
        objective=_objective(folder, config),
        state="finished" if summary is not None else _state(folder, info, found.get("step")),
        parameters=info.get("parameters"),
        raw_tokens=None if tokens is None else int(tokens),
        tokens_per_second=found.get("speed/raw_tokens_per_second")
        or (tokens / seconds if tokens and seconds else None),
        seconds=seconds,
        term=term.removeprefix("validation/") if term else None,
        loss=found.get(term) if term else None,
        accuracy=found.get(f"{term}_accuracy"),
        bits_per_byte=found.get("validation/bits_per_byte"),
        unigram_entropy=found.get("unigram_entropy"),
        ln_vocabulary=found.get("ln_vocabulary"),
        metric=f"{split}/{metric}" if result else None,
        score=result.scores[f"{split}/{metric}"] if result else None,
        seed=config.get("seed"),
        folder=str(folder.path),
    )


def rows_of(folders: Sequence[RunFolder]) -> Iterator[tuple[RunFolder, RunRow | str]]:
    """The row of each run, or, of one whose files cannot be read, the reason: it never costs the others theirs."""
    for folder in folders:
        try:
            yield folder, row_of(folder)
        except (OSError, ValueError, YAMLError) as error:
            yield folder, str(error)
