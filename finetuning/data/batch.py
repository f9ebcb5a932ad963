"""Examples of a task, batches of them, and which come when: a function of the seed and the step alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from torch.utils.data import Dataset

from data.stream.batch import Batch, PlacedLabels
from data.stream.collate import side_by_side
from data.stream.loader import counted
from data.stream.order import Permutation, Purpose, generator

BATCHES_OF_A_POOL = 32  # sorted by length together: enough to waste a hundredth of the positions on padding


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskExample:
    """A row of a task, or a part of a long one, as the body reads it.

    Attributes:
        index: its place among the examples of its split; -1 where it only fills a batch up.
        row: number of the row.
        encoder_ids, decoder_ids: int64[length], what each stack reads.
        segments: int64[length], the number of the text that each position read belongs to.
        positions: for each loss term int64[n], places in the stack whose states are used.
        token_term: the term that measures the target tokens of a budget.
        labels: for each loss term [n] or [n, classes], the targets there.
        where: int64[n], where the prediction of each position belongs: numbers of words, or of characters' starts.
    """

    index: int
    row: int
    token_term: str
    encoder_ids: np.ndarray | None = None
    decoder_ids: np.ndarray | None = None
    segments: np.ndarray | None = None
    positions: Mapping[str, np.ndarray] = field(default_factory=dict)
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    where: np.ndarray | None = None

    def placed(self) -> dict[str, PlacedLabels]:
        """The labels of each term where they stand; a loss is a mean over them."""
        return {
            term: PlacedLabels(self.positions[term], labels, float(len(labels))) for term, labels in self.labels.items()
        }

    def __len__(self) -> int:
        return sum(len(ids) for ids in (self.encoder_ids, self.decoder_ids) if ids is not None)

    def blank(self) -> "TaskExample":
        """The same without labels: it fills a batch up."""
        return replace(
            self,
            index=-1,
            positions={term: places[:0] for term, places in self.positions.items()},
            labels={term: labels[:0] for term, labels in self.labels.items()},
        )


def collate(examples: Sequence[TaskExample], *, pad: int) -> Batch:
    """Examples side by side, each stack as wide as its longest row."""
    indices, raw_tokens = [example.index for example in examples], sum(map(len, examples))
    return side_by_side(examples, pad=pad, indices=indices, raw_tokens=raw_tokens)


class Order:
    """Which examples stand in which batch: every example once an epoch, those of like length together.

    An epoch is shuffled; pools of some batches are sorted by length and cut; the batches are shuffled again. So a
    batch holds little padding, and the place of a batch in the epoch is independent of its lengths.

    Args:
        lengths: int64[examples].
        batch_size: examples a batch; the last of an epoch may have fewer.
        seed: decides the order.
    """

    def __init__(self, lengths: np.ndarray, *, batch_size: int, seed: int) -> None:
        assert len(lengths)
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.batches_of = lru_cache(maxsize=2)(self._batches)

    def examples_of(self, epoch: int) -> np.ndarray:
        """int64[...], the examples of an epoch, shuffled."""
        return Permutation(len(self.lengths), seed=self.seed, epoch=epoch)(np.arange(len(self.lengths)))

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        order, pool = self.examples_of(epoch), BATCHES_OF_A_POOL * self.batch_size
        sorted_pools = [
            part[np.argsort(self.lengths[part], kind="stable")]
            for part in (order[start : start + pool] for start in range(0, len(order), pool))
        ]
        chosen = np.concatenate(sorted_pools)
        batches = [chosen[start : start + self.batch_size] for start in range(0, len(chosen), self.batch_size)]
        shuffled = generator(self.seed, Purpose.ORDER, epoch, 1).permutation(len(batches))
        return [batches[number] for number in shuffled]

    def __call__(self, step: int) -> np.ndarray:
        """int64[at most batch_size], the examples of an optimizer step."""
        epoch, number = divmod(step, self.steps_per_epoch)
        return self.batches_of(epoch)[number]


class InOrder(Dataset[TaskExample]):
    """Examples by position, `batch_size` of them a step; a position that no example has is one without labels."""

    def __init__(self, examples: Sequence[TaskExample], order: Order) -> None:
        self.examples, self.order = examples, order

    def __getitems__(self, positions: list[int]) -> list[TaskExample]:
        return [self[position] for position in positions]

    def __getitem__(self, position: int) -> TaskExample:
        step, place = divmod(position, self.order.batch_size)
        chosen = self.order(step)
        if place < len(chosen):
            return self.examples[chosen[place]]
        return self.examples[chosen[0]].blank()


@dataclass(frozen=True, kw_only=True)
class TaskCollator:
    """Puts one process's part of an optimizer step into micro-batches."""

    micro_batch_size: int
    pad: int

    def __call__(self, examples: list[TaskExample]) -> list[Batch]:
        starts = range(0, len(examples), self.micro_batch_size)
        return counted([collate(examples[start : start + self.micro_batch_size], pad=self.pad) for start in starts])
