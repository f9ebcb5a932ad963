"""A report on runs that exist, which nobody declared as a study: python compare.py runs/a runs/b.

Runs that differ in their seed alone are one arm. Nothing was declared beforehand, so that nothing is decided; what is
unequal between the runs is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from common.errors import UserError
from data.tokens.tokenizer import load_tokenizer, vocabulary_of
from evaluation.excerpts import held_out
from evaluation.execution.jobs import StudyDir
from evaluation.findings import find
from evaluation.networks import look
from evaluation.outcome import hardware, metrics_of, print_means, run_record, versions
from evaluation.plateau import is_on_plateau
from evaluation.record.kinds import Status
from evaluation.record.record import ArmRecord, StudyRecord, TextRecord
from evaluation.report.report import write_report
from evaluation.scoring.loaded import keeping_runs
from evaluation.scoring.results import Evaluation
from evaluation.study.plan import text_record
from evaluation.study.study import slug
from models.transformer.accounting import count_parameters
from objectives.core.network import MAIN
from objectives.weights.load import TrainedRun
from training.machine.lock import lock_folder
from training.storage.config_file import flat
from training.storage.run_dir import RunFolder

_OF_A_RUN = {"name", "runs", "seed", "logging", "checkpoints", "examples", "validation"}  # no difference between arms
_COMPARED = ("body", "optimizer", "budget", "data", "trainer")  # groups whose differences are named


@dataclass(frozen=True, kw_only=True)
class ExistingRun:
    """A run of train.py that a command names; it is measured as a run of a study is."""

    name: str
    arm: str
    seed: int
    run: RunFolder
    branch: bool = False
    amount: float = 0.0

    def outcome(self) -> tuple[Status, str]:
        """What became of it so far, and why it is not finished."""
        is_finished = self.run.read_summary() is not None
        return ("finished", "") if is_finished else ("unfinished", "it has not come to its end")


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """What makes one arm of runs: all but names, seed and what is logged."""
    return {key: value for key, value in flat(config) if key.split(".")[0] not in _OF_A_RUN}


def arms_of(folders: Sequence[Path]) -> dict[str, list[ExistingRun]]:
    """The runs by arm, in the order given; an arm has the name of its first run, without the seed where it has several.

    Raises:
        UserError: where a folder is no run, or two runs of an arm have one seed.
    """
    groups: list[tuple[dict[str, Any], list[tuple[Path, int]]]] = []
    for folder in folders:
        run = RunFolder(folder)
        if not run.is_run:
            raise UserError(f"{folder} is no run: name folders that train.py made, such as runs/causal_lm-s0")
        config = run.read_config()
        same = next((runs for settings, runs in groups if settings == _settings(config)), None)
        if same is None:
            groups.append((_settings(config), same := []))
        if any(seed == config["seed"] for _, seed in same):
            raise UserError(f"{folder} is a second run of seed {config['seed']} with the same settings: name it once")
        same.append((folder, config["seed"]))
    arms: dict[str, list[ExistingRun]] = {}
    for _, runs in groups:
        first, seed = runs[0]
        name = first.name.removesuffix(f"-s{seed}") if len(runs) > 1 else first.name
        label = name if name not in arms else str(first)
        arms[label] = [
            ExistingRun(name=str(folder), arm=label, seed=seed, run=RunFolder(folder)) for folder, seed in runs
        ]
    return arms


def _arm(label: str, run: TrainedRun) -> ArmRecord:
    windows, config = held_out(run), run.config
    main = run.objective.bodies(run.body)[MAIN]
    _, _, targets = run.objective.mean_lengths(windows, run.vocabulary)
    return ArmRecord(
        label=label,
        objective=type(run.objective).__name__,
        settings={},
        parameters=count_parameters(run.network),
        non_embedding=count_parameters(run.network, embeddings=False),
        active=count_parameters(run.network, embeddings=False),
        beside=run.network.parameters_beside(),
        layers=main.num_blocks,
        flops_per_window=RunFolder(run.folder).read_info()["flops_per_step"] / config["data"]["batch_size"],
        targets_per_raw_token=targets / run.window,
        learning_rate=config["optimizer"]["learning_rate"],
    )


def _text(run: RunFolder) -> TextRecord:
    return text_record(
        run.read_info()["data"],
        run.read_config()["data"],
        vocab_size=vocabulary_of(load_tokenizer(run.tokenizer)).size,
        references=run.read_summary() or {},
    )


def unequal(arms: Mapping[str, Sequence[ExistingRun]]) -> list[str]:
    """What is not the same in every arm beside its objective: text, settings, budget, seeds; a sentence each."""
    configs = {label: dict(flat(runs[0].run.read_config())) for label, runs in arms.items()}
    found = []

    def name(key: str, values: Mapping[str, Any]) -> None:
        if any(value != next(iter(values.values())) for value in values.values()):
            found.append(f"The arms differ in {key}: {', '.join(f'{arm} {value}' for arm, value in values.items())}.")

    stores = {arm: runs[0].run.read_info()["data"]["store"] for arm, runs in arms.items()}
    name("the token store, of text and tokenizer", stores)
    name("seeds", {arm: sorted(run.seed for run in runs) for arm, runs in arms.items()})
    spent = {arm: [(run.run.read_summary() or {}).get("raw_tokens") for run in runs] for arm, runs in arms.items()}
    name("raw tokens read", {arm: values[0] for arm, values in spent.items()})
    for key in dict.fromkeys(key for config in configs.values() for key in config if key.split(".")[0] in _COMPARED):
        if key not in ("data.cache", "data.workers"):
            name(key, {arm: config.get(key) for arm, config in configs.items()})
    return found


def compare_runs(
    folders: Sequence[Path],
    study_dir: StudyDir,
    evaluations: Mapping[str, Evaluation],
    *,
    command: str,
    console: Console,
) -> StudyRecord:
    """Measures the runs and writes their report into the folder; returns its record.

    Raises:
        UserError: where a folder is no run, or none has come to its end.
    """
    arms = arms_of(folders)
    runs = [run for of_arm in arms.values() for run in of_arm]
    finished = [run for run in runs if run.outcome()[0] == "finished"]
    if {run.arm for run in finished} != {*arms}:
        missing = ", ".join(run.name for run in runs if run not in finished)
        raise UserError(f"{missing}: not come to its end, and an arm needs a finished run; train.py goes on with it")
    lock = lock_folder(study_dir.folder, "comparison")
    try:
        described: dict[str, ArmRecord] = {}
        with keeping_runs():
            findings = find(runs, evaluations, console)
            seen = look(findings.jobs, [*arms], first=lambda label, run: described.update({label: _arm(label, run)}))
        text = _text(finished[0].run)
        record = StudyRecord(
            name=study_dir.folder.name,
            question="",
            command=f"python compare.py {command}",
            text=text,
            measure="raw_tokens",
            budget=max((run.run.read_summary() or {})["raw_tokens"] for run in finished),
            seeds=tuple(sorted({run.seed for run in runs})),
            deviations=(
                "These runs were not declared as a study: nothing follows from them but observations.",
                *unequal(arms),
                *(
                    f"{arm} has not left the plateau at the unigram entropy: its scores are of token frequencies."
                    for arm, loss in seen.losses.items()
                    if is_on_plateau(loss, text.unigram_entropy)
                ),
                *findings.caveats(),
                *findings.unmeasured,
            ),
            arms=tuple(replace(described[label], ordinary_loss=seen.losses.get(label)) for label in arms),
            runs=tuple(run_record(run, findings.of(run)) for run in runs),
            metrics=metrics_of(findings.results),
            summaries=tuple(findings.summaries()),
            windows=seen.texts,
            samples=seen.samples,
            continuations=seen.continuations,
            hardware=hardware(),
            versions=versions(runs),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_report(record, study_dir.folder)
    finally:
        lock.release()
    print_means(console, record)
    console.print(f"the report: {study_dir.report}", soft_wrap=True)
    return record


def default_name(folders: Sequence[Path]) -> str:
    """The name of a comparison of these runs."""
    return slug("-and-".join(folder.name for folder in folders))[:80]
