"""A made-up study, of which nothing was trained: arms, seeds, branches, failures and text in two scripts."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.record.record import (
    ArmRecord,
    ContinuationRecord,
    CostRecord,
    MetricRecord,
    PointRecord,
    RunRecord,
    ScoreRecord,
    StudyRecord,
    SummaryRecord,
    TextRecord,
    TuningRecord,
)
from evaluation.record.verdict import VerdictRecord
from tests.evaluation.report.made_up_samples import make_samples

HOSTILE = '<script>alert("text")</script> & <img src=x onerror=alert(1)> | `code` [MASK]'
KOREAN = "어린이집 앞 도로에 신호등을 설치해 주시기 바랍니다."
ARMS = (  # label, objective, encoder and decoder layers, final loss, accuracy on minimal pairs, labels a token
    ("masked_lm", "MaskedLM", (4, 0), 3.61, 0.662, 0.15),
    ("causal_lm", "CausalLM", (0, 4), 4.12, 0.704, 1.0),
    ("denoising", "Denoising", (2, 2), 2.36, 0.641, 1.0),
    ("span_corruption", "SpanCorruption", (2, 2), 3.98, 0.633, 0.2),
)
PHENOMENA = {
    "anaphor_agreement": 2,
    "argument_structure": 9,
    "binding": 7,
    "control_raising": 5,
    "determiner_noun_agreement": 8,
    "ellipsis": 2,
    "filler_gap_dependency": 7,
    "irregular_forms": 2,
    "island_effects": 8,
    "npi_licensing": 7,
    "quantifiers": 4,
    "subject_verb_agreement": 6,
}
METRICS = (
    MetricRecord(
        name="minimal_pairs", unit="%", description="Pairs of which the better sentence is likelier.", chance=0.5
    ),
    MetricRecord(name="continuation", unit="bits a byte", description="Of held-out text.", higher_is_better=False),
    MetricRecord(
        name="validation_loss", unit="nats", description="Of its own question.", higher_is_better=False, rankable=False
    ),
)


def _curve(
    random: np.random.Generator, last_loss: float, density: float, flops: float, points: int
) -> tuple[PointRecord, ...]:
    shift = random.normal(0, 0.03)
    return tuple(
        PointRecord(
            step=150 * index,
            raw_tokens=150 * index * 4096,
            flops=150 * index * 4096 / 128 * flops,
            target_tokens=round(150 * index * 4096 * density),
            loss=last_loss + (9 - last_loss) * math.exp(-index / 2) + shift + random.normal(0, 0.01),
        )
        for index in range(1, points + 1)
    )


def _run(random: np.random.Generator, place: int, seed: int, status: str) -> RunRecord:
    label, _, _, last_loss, accuracy, density = ARMS[place]
    whole = status == "finished"
    shift, strata = random.normal(0, 0.006), {}
    for phenomenon, count in PHENOMENA.items():
        hard = random.normal(0, 0.01) + 0.14 * math.sin(len(phenomenon) * 1.7 + place / 2)
        for number in range(count):
            value = float(np.clip(accuracy + shift + hard + random.normal(0, 0.03), 0.02, 0.99))
            strata[f"{phenomenon}/{phenomenon}_{number + 1}"] = value
    scores = {
        "minimal_pairs": ScoreRecord(
            mean=float(np.mean(list(strata.values()))), strata=strata, beside={"length only": 0.512}
        ),
        "continuation": ScoreRecord(mean=1.93 - accuracy / 3 + random.normal(0, 0.004)),
        "validation_loss": ScoreRecord(mean=last_loss + random.normal(0, 0.03)),
    }
    return RunRecord(
        arm=label,
        seed=seed,
        status=status,  # pyright: ignore[reportArgumentType]
        reason="" if whole else "loss is not finite at step 412 (nan): " + HOSTILE,
        folder=f"studies/made_up/runs/{label}-s{seed}",
        windows_sha256=f"{seed:02x}" * 32 if whole else None,
        curve=_curve(random, last_loss, density, (1.2 + 0.2 * place) * 1e9, 8 if whole else 3),
        cost=CostRecord(seconds=600 + 60 * place + seed, tokens_per_second=8000.0 - 900 * place, peak_memory=1.3e9),
        scores=scores if whole else {},
    )


def _summaries(runs: list[RunRecord]) -> list[SummaryRecord]:
    found = []
    for label, *_ in ARMS:
        for metric in METRICS:
            values = [r.scores[metric.name].mean for r in runs if r.arm == label and metric.name in r.scores]
            values = [value for value in values if value is not None]
            if values:
                half = 2.6 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None
                mean = float(np.mean(values))
                low, high = (mean - half, mean + half) if half is not None else (None, None)
                found.append(
                    SummaryRecord(arm=label, metric=metric.name, seeds=len(values), mean=mean, low=low, high=high)
                )
    return found


def _verdicts(seeds: int) -> tuple[VerdictRecord, ...]:
    if seeds == 1:
        return (
            VerdictRecord(
                arm="causal_lm",
                against="masked_lm",
                metric="minimal_pairs",
                direction="greater",
                seeds=1,
                outcome="one seed shows no difference",
                estimate=0.042,
            ),
        )
    return (
        VerdictRecord(
            arm="causal_lm",
            against="masked_lm",
            metric="minimal_pairs",
            direction="greater",
            seeds=seeds,
            outcome="supported",
            estimate=0.042,
            low=0.029,
            high=0.055,
            p=0.0004,
            p_holm=0.0012,
            p_sign_flip=0.03125,
            minimum_detectable=0.018,
        ),
        VerdictRecord(
            arm="denoising",
            against="span_corruption",
            metric="continuation",
            direction="less",
            seeds=seeds,
            outcome="not shown",
            estimate=-0.003,
            low=-0.012,
            high=0.006,
            p=0.41,
            p_holm=0.41,
            p_sign_flip=0.44,
            minimum_detectable=0.014,
        ),
        VerdictRecord(
            arm="denoising",
            against="span_corruption",
            metric="minimal_pairs",
            direction="equivalent",
            margin=0.02,
            seeds=seeds,
            outcome="equivalent within the margin",
            estimate=0.006,
            low=-0.004,
            high=0.016,
            equivalence_low=-0.002,
            equivalence_high=0.0141,
            standard_deviation=0.0083,
            p=0.008,
            p_holm=0.016,
            minimum_detectable=0.017,
            confirmable_margin=0.0152,
        ),
    )


def make_record(*, seeds: int = 5, failed: int = 0, tuned: bool = True) -> StudyRecord:
    """The study with that many seeds, of which the first `failed` runs of the last arm failed."""
    random = np.random.default_rng(7)
    runs = [
        _run(random, place, seed, "failed" if place == 3 and seed < failed else "finished")
        for place in range(len(ARMS))
        for seed in range(seeds)
    ]
    rates = (5e-4, 1e-3, 2e-3, 4e-3)
    tuning = [
        TuningRecord(
            arm=label,
            learning_rate=rate,
            seed=seed,
            loss=None
            if (place, rate) == (2, 4e-3)
            else last_loss + 0.4 + 0.3 * (math.log2(rate / 2e-3) + place / 2) ** 2 + random.normal(0, 0.02),
        )
        for place, (label, _, _, last_loss, *_) in enumerate(ARMS)
        for rate in rates
        for seed in (100, 101)
    ]
    english = f"Robert Boulter is an English film actor {HOSTILE}"
    return StudyRecord(
        name="four_objectives",
        question="Do the four pretraining objectives differ on grammar when they read the same text?",
        command="python compare.py --config configs/comparisons/four_objectives.yaml",
        text=TextRecord(
            corpus="wikitext2",
            train_tokens=2_689_752,
            validation_tokens=282_891,
            train_bytes=10_707_301,
            documents=629,
            tokenizer="byte_bpe",
            vocab_size=8192,
            window=128,
            ln_vocabulary=9.0109,
            unigram_entropy=6.5818,
        ),
        measure="raw_tokens",
        budget=4_915_200,
        seeds=tuple(range(seeds)),
        deviations=("One learning rate grid of four values, not five.", f"A departure with {HOSTILE}"),
        arms=tuple(
            ArmRecord(
                label=label,
                objective=objective,
                config=(f"configs/{label}.yaml",),
                parameters=5_310_720 + 262_144 * place,
                non_embedding=3_213_568,
                active=5_310_720,
                layers=layers,
                flops_per_window=(1.2 + 0.2 * place) * 1e9,
                targets_per_raw_token=density,
                learning_rate=(1e-3, 2e-3, 1e-3, 5e-4)[place] if tuned else 1e-3,
                settings={"body.layers": list(layers)},
            )
            for place, (label, objective, layers, _, _, density) in enumerate(ARMS)
        ),
        runs=tuple(runs),
        metrics=METRICS,
        summaries=tuple(_summaries(runs)),
        verdicts=_verdicts(seeds),
        tuning=tuple(tuning) if tuned else (),
        windows=(english, KOREAN),
        samples=(*make_samples(0, english.split()), *make_samples(1, KOREAN.split())),
        continuations=tuple(
            ContinuationRecord(arm=label, seed=0, prompt=prompt, text=text)
            for prompt, text in (("The film was", f" released in 2004 {HOSTILE}"), ("어린이집 앞", f" {KOREAN}"))
            for label, *_ in ARMS
        ),
        hardware="2 CPU cores",
        versions={"python": "3.11.7", "torch": "2.13.0", "commit": "8ba116a9ccde"},
        finished="2026-11-21T09:00:00+00:00",
    )


def with_many_arms(record: StudyRecord, times: int) -> StudyRecord:
    """The study with every arm several times, under labels of their own."""

    def again(label: str, time: int) -> str:
        return f"{label} {time}" if time else label

    def copies(records: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(replace(one, arm=again(one.arm, time)) for time in range(times) for one in records)

    return replace(
        record,
        arms=tuple(replace(arm, label=again(arm.label, time)) for time in range(times) for arm in record.arms),
        runs=copies(record.runs),
        summaries=copies(record.summaries),
        tuning=copies(record.tuning),
    )
