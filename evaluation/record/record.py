"""What a study found, whole: results.json, of which the report is a pure function.

Everything is a plain value; a number that is not finite is None. `files.py` writes and reads it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from evaluation.record.kinds import Measure, Status, Strict
from evaluation.record.verdict import VerdictRecord
from objectives.inspection.picture import Cell

FORMAT = 2  # files.py reads the formats before it


@dataclass(frozen=True, kw_only=True)
class TextRecord(Strict):
    """The text that every arm read.

    Attributes:
        corpus: its name.
        train_tokens, validation_tokens, train_bytes, documents: of the token store.
        tokenizer, vocab_size, window: how it was cut; a window is that many raw tokens.
        ln_vocabulary, unigram_entropy: nats a token of a model that knows nothing, or only how frequent tokens are.
    """

    corpus: str
    train_tokens: int
    validation_tokens: int
    train_bytes: int
    documents: int
    tokenizer: str
    vocab_size: int
    window: int
    ln_vocabulary: float
    unigram_entropy: float


@dataclass(frozen=True, kw_only=True)
class ArmRecord(Strict):
    """What was trained under one label.

    Attributes:
        objective: the name of its class.
        config, settings: as declared.
        parameters, non_embedding, active: all parameters, those beside the token embeddings and the head, and those
            that a token passes through.
        beside: of these, the parameters of each body beside the main one that are its alone, such as a generator's.
        layers: of the encoder and of the decoder.
        flops_per_window: of a training step, divided by its windows.
        targets_per_raw_token: labels that the loss is over.
        learning_rate: that its runs had; None where seeds differ.
        ordinary_loss: nats a target of ordinary tokens, held out; near the unigram entropy nothing else was learned.
    """

    label: str
    objective: str
    config: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    parameters: int
    non_embedding: int
    active: int
    beside: dict[str, int] = field(default_factory=dict)
    layers: tuple[int, int]
    flops_per_window: float
    targets_per_raw_token: float
    learning_rate: float | None = None
    ordinary_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class BoundRecord(Strict):
    """How an upper bound was estimated: draws of the noise a text, and the standard error that these leave."""

    draws: int
    error: float


@dataclass(frozen=True, kw_only=True)
class PointRecord(Strict):
    """A run's loss on held-out text under fixed noise, in nats a label, after `step` optimizer steps."""

    step: int
    raw_tokens: float
    flops: float
    target_tokens: float
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class CostRecord(Strict):
    """What a run cost: seconds of training, raw tokens a second, bytes of memory at the peak (None: not measured)."""

    seconds: float
    tokens_per_second: float | None = None
    peak_memory: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreRecord(Strict):
    """The scores of one run on one metric.

    Attributes:
        mean: the macro mean.
        strata: means by stratum; a name PHENOMENON/PARADIGM is drawn under its phenomenon.
        beside: numbers shown next to the mean, such as those of a baseline.
    """

    mean: float | None
    strata: dict[str, float] = field(default_factory=dict)
    beside: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord(Strict):
    """One run that was started or planned, whatever became of it.

    Attributes:
        budget: of a run that branched off to a smaller one, in the study's measure; None: the whole.
        reason: why it is not finished.
        windows_sha256: of the windows it consumed, in their order.
        curve: its validation losses.
        scores: by metric.
    """

    arm: str
    seed: int
    status: Status
    budget: float | None = None
    reason: str = ""
    folder: str = ""
    windows_sha256: str | None = None
    curve: tuple[PointRecord, ...] = ()
    cost: CostRecord | None = None
    scores: dict[str, ScoreRecord] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MetricRecord(Strict):
    """A metric.

    Attributes:
        name: such as `minimal_pairs/span_pll`.
        unit: such as "%" or "bits a byte"; "%" shows fractions as percentages.
        description: one sentence.
        rankable: whether arms of different objectives may be ranked by it (law 7).
        chance: of a model that knows nothing, where that is known.
        part_of: the metric that this one is of some of the items of; its own name goes on behind that one's.
    """

    name: str
    unit: str = ""
    description: str = ""
    higher_is_better: bool = True
    rankable: bool = True
    chance: float | None = None
    part_of: str = ""

    @property
    def part(self) -> str:
        """Which items these are, of a metric that is part of another."""
        return self.name.removeprefix(f"{self.part_of}/") if self.part_of else ""


@dataclass(frozen=True, kw_only=True)
class SummaryRecord(Strict):
    """An arm on a metric over its seeds: the mean with its 95 % interval (None: one seed has none).

    Where every score is an upper bound, `bound` has the standard error of the mean that the draws leave.
    """

    arm: str
    metric: str
    seeds: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    budget: float | None = None
    bound: BoundRecord | None = None


@dataclass(frozen=True, kw_only=True)
class TuningRecord(Strict):
    """A run of the sweep over learning rates: its validation loss at the end (None: it failed or diverged)."""

    arm: str
    learning_rate: float
    seed: int
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class SampleRecord(Strict):
    """What an arm's objective did to a held-out window: rows of cells, a panel for each stack."""

    arm: str
    window: int
    panels: tuple[dict[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class ContinuationRecord(Strict):
    """What a run generated from a prompt."""

    arm: str
    seed: int
    prompt: str
    text: str
    decoding: str = "greedy"


@dataclass(frozen=True, kw_only=True)
class StudyRecord(Strict):
    """A study: what was declared, what was run, what was found.

    Attributes:
        question: that it is to answer, in a sentence or two.
        measure, budget: the primary measure of the budget, and how much of it every run had.
        deviations: where it departs from the protocol, a sentence each.
        windows: the text of the held-out windows that samples show.
        command: that reproduces it.
        versions: of packages, Python, the commit.
        finished: when it ended, as ISO 8601.
    """

    format: Literal[2] = FORMAT
    name: str
    question: str = ""
    command: str
    text: TextRecord
    measure: Measure
    budget: float
    seeds: tuple[int, ...]
    deviations: tuple[str, ...] = ()
    arms: tuple[ArmRecord, ...]
    runs: tuple[RunRecord, ...]
    metrics: tuple[MetricRecord, ...] = ()
    summaries: tuple[SummaryRecord, ...] = ()
    verdicts: tuple[VerdictRecord, ...] = ()
    tuning: tuple[TuningRecord, ...] = ()
    windows: tuple[str, ...] = ()
    samples: tuple[SampleRecord, ...] = ()
    continuations: tuple[ContinuationRecord, ...] = ()
    hardware: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    finished: str = ""

    def arm(self, label: str) -> ArmRecord:
        """The arm of that label."""
        return next(arm for arm in self.arms if arm.label == label)

    def parts_of(self, metric: str) -> list[MetricRecord]:
        """The metrics that are of some of its items."""
        return [part for part in self.metrics if part.part_of == metric]

    def unit(self, metric: str) -> str:
        """The unit of a metric; empty where no run was measured by it."""
        return next((known.unit for known in self.metrics if known.name == metric), "")

    def runs_of(self, label: str, *, budget: float | None = None) -> Iterator[RunRecord]:
        """The runs of an arm, one a seed; with `budget`, its branches to that one."""
        return (run for run in self.runs if run.arm == label and run.budget == budget)
