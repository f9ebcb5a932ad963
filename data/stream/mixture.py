"""Several objectives in one run: which objective corrupts which window, and their batches side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from torch.utils.data import Dataset

from data.stream.batch import Batch, Corruption, Example
from data.stream.loader import CorruptedWindows, StepCollator, counted
from data.stream.order import Purpose, generator
from data.stream.windows import Window, Windows

Pair = tuple[Window, Example]
MixedPair = dict[str, Pair]  # a window and its example by each objective that has it, by name


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Each name for a run of positions, one after another; the last one without end.

    Attributes:
        names: in their order.
        ends: for each, the position behind its last.
    """

    names: tuple[str, ...]
    ends: tuple[int, ...]

    def __call__(self, position: int) -> str:
        return self.names[min(int(np.searchsorted(self.ends, position, side="right")), len(self.names) - 1)]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """A name for each position, drawn with the probability `shares` by random numbers used for nothing else."""

    names: tuple[str, ...]
    shares: tuple[float, ...]
    seed: int

    def __call__(self, position: int) -> str:
        drawn = generator(self.seed, Purpose.MEMBER, 0, position).random()
        return self.names[min(int(np.searchsorted(np.cumsum(self.shares), drawn, side="right")), len(self.names) - 1)]


Choice = Callable[[int], str]  # a pure function from the position in the run to the name of the objective


class MixedExamples(Dataset[MixedPair]):
    """Windows by position, each with the example of the objective that `choose` names, or, without it, of all.

    An objective makes the same example of a window as in a run of its own.
    """

    def __init__(self, members: Mapping[str, CorruptedWindows], choose: Choice | None = None) -> None:
        self.members, self.choose = dict(members), choose

    def __getitems__(self, positions: list[int]) -> list[MixedPair]:
        pairs_of: list[MixedPair] = [{} for _ in positions]
        chosen = [self.choose(position) if self.choose else None for position in positions]
        for name, examples in self.members.items():
            places = [place for place, other in enumerate(chosen) if other in (name, None)]
            pairs = examples.__getitems__([positions[place] for place in places]) if places else []
            for place, pair in zip(places, pairs, strict=True):
                pairs_of[place][name] = pair
        return pairs_of

    def __getitem__(self, position: int) -> MixedPair:
        return self.__getitems__([position])[0]


def blank_pair(corrupt: Corruption, windows: Windows) -> Pair:
    """One position of an example, without a label: what an objective reads that has no window in a micro-batch.

    So each computes something in every micro-batch, and every weight has a gradient, be it 0, on every device; sharded
    training waits for all of them.
    """
    window = windows[0]
    example = corrupt(window, generator(0, Purpose.DISPLAY, 0, window.index), windows).blank()
    first = {name: value[:1] for name, value in vars(example).items() if isinstance(value, np.ndarray)}
    by_term = {
        name: {term: values[:1] for term, values in getattr(example, name).items()}
        for name in ("labels", "weights", "draws")
    }
    return window, replace(example, **first, **by_term)


@dataclass(kw_only=True)
class MixedBatch:
    """The batches of one micro-batch, by name, each of them with one row at least.

    Attributes:
        parts: the batches.
        indices: numbers of the windows that are no blanks.
        raw_tokens: tokens of these.
        step_divisors, step_target_tokens, step_raw_tokens: as in a `Batch`; terms are named `causal_lm/next_token`.
    """

    parts: dict[str, Batch]
    indices: list[int]
    raw_tokens: int
    step_divisors: dict[str, float] = field(default_factory=dict)
    step_target_tokens: int = 0
    step_raw_tokens: int = 0

    def divisors(self) -> dict[str, float]:
        """Of each term, in this batch alone."""
        return {f"{name}/{term}": n for name, part in self.parts.items() for term, n in part.divisors().items()}

    @property
    def target_tokens(self) -> int:
        """Labels of the token terms of all parts."""
        return sum(part.target_tokens for part in self.parts.values())

    def _map(self, change: Callable[[Batch], Batch]) -> Self:
        parts = {name: change(part) for name, part in self.parts.items()}
        return type(self)(**{**vars(self), "parts": parts})

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The batch on a device."""
        return self._map(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch in memory that a GPU can fetch from by itself."""
        return self._map(lambda part: part.pin_memory())


@dataclass(frozen=True, kw_only=True)
class MixedCollator:
    """Puts one process's part of an optimizer step into micro-batches, as `StepCollator` does.

    Attributes:
        collators: of each objective, by name.
        blanks: of each name, the row that it reads where it has none.
    """

    micro_batch_size: int
    collators: Mapping[str, StepCollator]
    blanks: Mapping[str, Pair]

    def _batch(self, rows: list[MixedPair]) -> MixedBatch:
        own = {name: [row[name] for row in rows if name in row] for name in self.collators}
        windows = [next(iter(row.values()))[0] for row in rows]
        return MixedBatch(
            parts={name: self.collators[name].batch(pairs or [self.blanks[name]]) for name, pairs in own.items()},
            indices=[window.index for window in windows],
            raw_tokens=sum(map(len, windows)),
        )

    def __call__(self, rows: list[MixedPair]) -> list[MixedBatch]:
        starts = range(0, len(rows), self.micro_batch_size)
        return counted([self._batch(rows[start : start + self.micro_batch_size]) for start in starts])
