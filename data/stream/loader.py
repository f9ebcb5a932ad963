"""Loaders addressed by optimizer step: what a step reads follows from its number and from nothing else."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from torch.utils.data import DataLoader, Dataset

from data.stream import workers
from data.stream.batch import Batch, Corruption, Example, MaxLengths
from data.stream.collate import collate
from data.stream.order import Purpose, generator, windows_at
from data.stream.windows import Window, Windows

GRACE_SECONDS = 60  # for the step that a run ends with
ENDLESS = 1 << 40  # micro-batches; it is the budget that ends a run, not the data


class CorruptedWindows(Dataset[tuple[Window, Example]]):
    """Windows as an objective sees them, by position in an endless concatenation of shuffled epochs."""

    def __init__(self, windows: Windows, corrupt: Corruption, *, seed: int) -> None:
        self.windows, self.corrupt, self.seed = windows, corrupt, seed

    def _example(self, epoch: int, index: int, purpose: Purpose) -> tuple[Window, Example]:
        window = self.windows[index]
        return window, self.corrupt(window, generator(self.seed, purpose, epoch, index), self.windows)

    def __getitems__(self, positions: list[int]) -> list[tuple[Window, Example]]:
        found = windows_at(np.asarray(positions), len(self.windows), seed=self.seed)
        return [self._example(epoch, index, Purpose.NOISE) for epoch, index in found]

    def __getitem__(self, position: int) -> tuple[Window, Example]:
        return self.__getitems__([position])[0]


class HeldOutWindows(CorruptedWindows):
    """`chosen` windows, evenly spread over the split, under the same noise at every validation.

    A position beyond them is one of them without its labels: it fills up the last batches, so that all processes
    have as many.
    """

    def __init__(self, windows: Windows, corrupt: Corruption, *, seed: int, chosen: int) -> None:
        super().__init__(windows, corrupt, seed=seed)
        self.chosen = min(chosen, len(windows))

    def __getitems__(self, positions: list[int]) -> list[tuple[Window, Example]]:
        return [self[position] for position in positions]

    def __getitem__(self, position: int) -> tuple[Window, Example]:
        index = position % self.chosen * len(self.windows) // self.chosen
        window, example = self._example(0, index, Purpose.VALIDATION_NOISE)
        return window, example.blank() if position >= self.chosen else example


class StepPart(Protocol):
    """A micro-batch: what it holds, and what its process's part of the optimizer step holds."""

    raw_tokens: int
    step_divisors: dict[str, float]
    step_target_tokens: int
    step_raw_tokens: int

    @property
    def target_tokens(self) -> int: ...
    def divisors(self) -> dict[str, float]: ...


SomePart = TypeVar("SomePart", bound=StepPart)


def counted(batches: list[SomePart]) -> list[SomePart]:
    """One process's part of an optimizer step, every micro-batch of which knows the divisors of the whole part."""
    divisors = {term: sum(batch.divisors()[term] for batch in batches) for term in batches[0].divisors()}
    for batch in batches:
        batch.step_divisors = divisors
        batch.step_target_tokens = sum(part.target_tokens for part in batches)
        batch.step_raw_tokens = sum(part.raw_tokens for part in batches)
    return batches


@dataclass(frozen=True, kw_only=True)
class StepCollator:
    """Puts one process's part of an optimizer step into micro-batches that know the divisors of the whole part."""

    micro_batch_size: int
    pad: int
    max_lengths: MaxLengths
    keep_documents_apart: bool

    def batch(self, pairs: list[tuple[Window, Example]]) -> Batch:
        """One micro-batch."""
        windows, examples = zip(*pairs, strict=True)
        return collate(
            windows,
            examples,
            pad=self.pad,
            max_lengths=self.max_lengths,
            keep_documents_apart=self.keep_documents_apart,
        )

    def __call__(self, pairs: list[tuple[Window, Example]]) -> list[Batch]:
        starts = range(0, len(pairs), self.micro_batch_size)
        return counted([self.batch(pairs[start : start + self.micro_batch_size]) for start in starts])


def _end_later(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(GRACE_SECONDS)


def _leave_signals_to_the_trainer(worker: int) -> None:
    """A worker outlives the signals that stop a run, so that the step that it loads can end.

    It leaves the group of its parent, to which `timeout` and terminals send them. Of SIGTERM, which some schedulers
    send to every process of a job, the first leaves it GRACE_SECONDS, and the second ends it.
    """
    os.setpgrp()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # no threads within a worker, and no warning of them
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


class StepLoader:
    """Micro-batches, fetched a whole optimizer step at a time.

    Args:
        examples: by position.
        steps: the positions of each step.
        collator: makes micro-batches of a step's examples; one whose `micro_batch_size` can change is a dataclass.
        length: in micro-batches.
        options: of the DataLoader.

    Attributes:
        seconds_waited: time spent waiting for data so far.
    """

    def __init__(
        self,
        examples: Dataset[Any],
        steps: Iterable[list[int]],
        collator: Callable[[list[Any]], list[Any]],
        *,
        length: int,
        **options: Any,
    ) -> None:
        self.examples, self.steps, self.collator = examples, steps, collator
        self.length, self.options = length, options
        self.seconds_waited = 0.0
        if options.get("num_workers"):
            options["timeout"] = workers.WAIT_SECONDS
        self.loader = self._loader()

    def _loader(self) -> DataLoader[Any]:
        return DataLoader(
            self.examples,
            batch_sampler=self.steps,  # pyright: ignore[reportArgumentType]
            collate_fn=self.collator,
            worker_init_fn=_leave_signals_to_the_trainer,
            **self.options,
        )

    def _collator(self, micro_batch_size: int) -> Callable[[list[Any]], list[Any]]:
        return replace(cast(Any, self.collator), micro_batch_size=micro_batch_size)

    def go_on(self, steps: Iterable[list[int]], micro_batch_size: int) -> None:
        """Delivers these steps, behind the one that is being delivered, in micro-batches of that size."""
        self.steps, self.collator = steps, self._collator(micro_batch_size)
        self.loader = self._loader()

    def micro_batches(self, positions: Sequence[int], micro_batch_size: int) -> list[Any]:
        """Those of the examples at these positions, made in this process."""
        examples = cast(Any, self.examples).__getitems__([*positions])
        return self._collator(micro_batch_size)(examples)

    def __len__(self) -> int:
        return self.length

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the position follows from the optimizer step.

        With this method Lightning takes the loader for resumable.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""

    def __iter__(self) -> Iterator[Any]:
        loader, steps = self.loader, iter(self.loader)
        while True:
            before = time.perf_counter()
            if self.loader is not loader:
                loader, steps = self.loader, iter(self.loader)
            batches = cast(list[Any] | None, workers.next_of(steps))
            self.seconds_waited += time.perf_counter() - before
            if batches is None:
                return
            yield from batches
