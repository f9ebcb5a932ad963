"""What an evaluation finds of one run: a score an item, so that items can be resampled as seeds are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from evaluation.record.record import BoundRecord

ROWS_OF_A_TABLE = 200  # items of an evaluation in a table


def sampled_items(columns: Mapping[str, Sequence[Any] | np.ndarray]) -> tuple[dict[str, Any], ...]:
    """Rows of a table of columns that are equally long; of many, some that are evenly spread."""
    number = len(next(iter(columns.values())))
    chosen = np.linspace(0, number - 1, min(number, ROWS_OF_A_TABLE)).round().astype(int)
    plain = {name: values.tolist() if isinstance(values, np.ndarray) else values for name, values in columns.items()}
    return tuple({name: values[place] for name, values in plain.items()} for place in chosen.tolist())


def macro_mean(scores: np.ndarray, strata: Sequence[str]) -> float:
    """The mean of the strata's means."""
    names = np.array(strata)
    return float(np.mean([scores[names == name].mean() for name in dict.fromkeys(strata)]))


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationResult:
    """The scores of one run on one metric.

    Attributes:
        metric: its name, such as `minimal_pairs/span_pll`; one name is one question, put to every arm alike.
        scores: float64[items], in an order that is the same for every run.
        strata: a name for each item, such as its paradigm.
        mean: the macro mean: of the strata's means.
        higher_is_better: which way is up.
        rankable: whether runs of different objectives may be ranked by it (law 7).
        beside: numbers that are shown next to the mean, such as those of a baseline.
        unit: such as "bits a byte"; "%" shows fractions as percentages.
        description: what is measured, in a sentence.
        chance: of a model that knows nothing, where that is known.
        caveat: what to bear in mind of this run's.
        bound: how the mean was estimated, where it is an upper bound of what is measured.
        items: some of the items, by name what each is and what the run made of it.
        part_of: the metric that this is of some of the items of, such as a task's, on long texts alone.
    """

    metric: str
    scores: np.ndarray
    strata: tuple[str, ...]
    mean: float
    higher_is_better: bool
    rankable: bool
    beside: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    description: str = ""
    chance: float | None = None
    caveat: str = ""
    bound: BoundRecord | None = None
    items: tuple[dict[str, Any], ...] = ()
    part_of: str = ""

    def __post_init__(self) -> None:
        assert self.scores.shape == (len(self.strata),)

    @property
    def is_bound(self) -> bool:
        """Whether the mean is an upper bound: only a value below another then proves anything."""
        return self.bound is not None

    @property
    def strata_means(self) -> dict[str, float]:
        """The mean of each stratum's items, where there are several strata."""
        strata, names = np.array(self.strata), dict.fromkeys(self.strata)
        return {name: float(self.scores[strata == name].mean()) for name in names} if len(names) > 1 else {}


class Evaluation(Protocol):
    """An evaluation with its settings: a function of a run's folder, which caches what it costs to find out."""

    def __call__(self, run_folder: Path) -> Sequence[EvaluationResult]: ...


@runtime_checkable
class CheckedEvaluation(Protocol):
    """An evaluation that finds before any run is trained that it would be refused later."""

    def check(self, metrics: Sequence[str]) -> None:
        """Checks what does not follow from its settings alone.

        Args:
            metrics: of it, that hypotheses name.

        Raises:
            UserError, MachineError: naming the setting.
        """
