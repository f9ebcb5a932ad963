"""The sections of a report on what was done: on what text, with what networks, at what cost, how to do it again."""

import math
import statistics

from evaluation.record.record import ArmRecord, RunRecord, StudyRecord
from evaluation.report.blocks import (
    Code,
    Folded,
    Points,
    Prose,
    Section,
    Table,
    TableCell,
)
from evaluation.report.tables import arm_cells
from evaluation.report.text import sentences
from evaluation.report.text.formatting import NONE, memory, number
from training.monitoring.display import duration, short


def ground(record: StudyRecord) -> Section:
    """What was compared, on what text, with how many parameters and FLOPs."""
    text, first = record.text, record.arms[0].flops_per_window
    labels = arm_cells(record)

    def parameters(arm: ArmRecord) -> TableCell:
        beside = tuple(f"{short(count)} of them the {role}'s" for role, count in arm.beside.items())
        return TableCell(short(arm.parameters), below=beside)

    def row(arm: ArmRecord) -> list[str | TableCell]:
        encoder, decoder = arm.layers
        rate = f"{arm.learning_rate:g}" if arm.learning_rate else "by seed"
        return [
            labels[arm.label], arm.objective, f"{encoder} + {decoder}", parameters(arm), short(arm.non_embedding),
            short(arm.active), short(arm.flops_per_window), f"{arm.flops_per_window / first:.2f}",
            f"{arm.targets_per_raw_token:.2f}", rate,
        ]  # fmt: skip

    arms = Table(
        f"Arms. FLOPs are those of training (three forward passes), head and cross-attention included, for a window of "
        f"{text.window} raw tokens; relative to {record.arms[0].label}.",
        ["arm", "objective", "layers (enc + dec)", "parameters", "non-embedding", "active a token", "FLOPs a window",
         "relative", "targets a raw token", "learning rate"],
        [row(arm) for arm in record.arms],
        frozenset({1}),
    )  # fmt: skip
    pairing, sound = sentences.pairing(record)
    corpus = (
        f"{text.corpus}: {text.documents:,} documents, {short(text.train_tokens)} training tokens "
        f"({short(text.train_bytes)} bytes), {short(text.validation_tokens)} held out. {text.tokenizer} tokenizer of "
        f"{text.vocab_size:,} tokens for all arms. A model that knows nothing has {number(text.ln_vocabulary)} nats a "
        f"token (perplexity {math.exp(text.ln_vocabulary):,.0f}), one that knows how frequent tokens are "
        f"{number(text.unigram_entropy)} (perplexity {math.exp(text.unigram_entropy):,.0f})."
    )
    configs = [
        " ".join(
            [f"{arm.label}:", *(arm.config or [NONE]), *(f"--{key} {value}" for key, value in arm.settings.items())]
        )
        for arm in record.arms
    ]
    return Section("ground", "What was compared, and on what", [
        Prose(corpus), arms, Prose(pairing, "note" if sound else "warning"),
        *([Points("Deviations from the protocol", record.deviations)] if record.deviations else []),
        Folded("Configurations of the arms", [Code("\n".join(configs))]),
    ])  # fmt: skip


def cost(record: StudyRecord) -> Section:
    """Time, speed and memory, the mean of each arm's runs."""
    labels, rows = arm_cells(record), []
    for arm in record.arms:
        costs = [run.cost for run in record.runs_of(arm.label) if run.cost is not None and run.status == "finished"]
        if not costs:
            rows.append([labels[arm.label], *[NONE] * 4])
            continue
        speeds = [cost.tokens_per_second for cost in costs if cost.tokens_per_second is not None]
        peaks = [cost.peak_memory for cost in costs if cost.peak_memory is not None]
        rows.append([
            labels[arm.label], duration(statistics.fmean(cost.seconds for cost in costs)),
            duration(sum(cost.seconds for cost in costs)), short(statistics.fmean(speeds)) if speeds else NONE,
            memory(max(peaks) if peaks else None),
        ])  # fmt: skip
    caption = f"Cost of the finished runs{' on ' + record.hardware if record.hardware else ''}."
    header = ["arm", "time a run", "time in all", "raw tokens a second", "peak memory"]
    return Section("cost", "Cost", [Table(caption, header, rows)])


def all_runs(record: StudyRecord) -> Section:
    """Every run, whatever became of it."""
    labels = arm_cells(record)

    def row(run: RunRecord) -> list[str | TableCell]:
        spent = sentences.totals(run)
        budget = [short(run.budget) if run.budget is not None else "whole"] if branched else []
        return [
            labels[run.arm], str(run.seed), *budget, TableCell(run.status, tone=f"status {run.status}"),
            spent["raw_tokens"], spent["flops"], spent["target_tokens"], spent["loss"],
            duration(run.cost.seconds) if run.cost else NONE,
            (run.windows_sha256 or NONE)[:12], *([run.reason or NONE] if has_reasons else []),
        ]  # fmt: skip

    branched, has_reasons = any(run.budget is not None for run in record.runs), any(run.reason for run in record.runs)
    header = ["arm", "seed", *(["budget"] if branched else []), "status", "raw tokens", "FLOPs", "targets",
              "its own loss", "time", "windows", *(["reason"] if has_reasons else [])]  # fmt: skip
    finished = sum(run.status == "finished" for run in record.runs)
    caption = (
        f"All {len(record.runs)} runs, {finished} of them finished. Losses of different arms are not to be ranked."
    )
    table = Table(
        caption, header, [row(run) for run in record.runs], frozenset(range(header.index("windows"), len(header)))
    )
    return Section("runs", "All runs", [table])


def reproduce(record: StudyRecord) -> Section:
    """The command and the versions."""
    versions = Table(
        "Versions.", ["of", "version"], [[name, version] for name, version in record.versions.items()], frozenset({1})
    )
    ended = [Prose(f"Finished {record.finished}.")] if record.finished else []
    return Section("reproduce", "Reproducing this", [Code(record.command), *ended, versions])
