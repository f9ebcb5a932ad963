"""How a batch is split over processes and micro-batches: whatever their number, the same batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import lightning

from common.errors import UserError
from data.stream.loader import StepLoader

MicroBatchSize = int | Literal["auto"] | None  # what the setting may be


def fixed(setting: MicroBatchSize) -> int | None:
    """The number that a setting names; `auto` begins with what None is."""
    return None if setting == "auto" else setting


def divisor(share: int, *, at_most: int) -> int:
    """The greatest divisor of a device's share of a batch that is no more than that."""
    return max(size for size in range(1, min(at_most, share) + 1) if share % size == 0)


@dataclass(frozen=True, kw_only=True)
class BatchSharding:
    """How a batch is split: consecutive micro-batches go to the processes in turn.

    Over all processes the positions of a step are `step * batch_size` up to the next step's, each once, however many
    processes and micro-batches there are.
    """

    batch_size: int
    micro_batch_size: int
    rank: int = 0
    world: int = 1

    def positions(self, step: int) -> list[int]:
        """The positions that this process reads in a step, in order."""
        first = step * self.batch_size
        starts = range(
            first + self.rank * self.micro_batch_size, first + self.batch_size, self.world * self.micro_batch_size
        )
        return [position for start in starts for position in range(start, start + self.micro_batch_size)]

    def steps(self, first: int) -> Iterator[list[int]]:
        """`positions` of every step from `first` on, without end."""
        while True:
            yield self.positions(first)
            first += 1


class ShardedData(lightning.LightningDataModule):
    """Data whose batches are split over the devices of a trainer.

    Attributes:
        unit: what a batch is counted in.
        lengths: the setting that decides how long a unit is.
        batch_size: units an optimizer step, over all devices.
        micro_batch_size: units a device computes at once; None for its whole share.
        is_auto: whether that becomes smaller where it is out of memory.
        loader: of the training data, once there is one.
    """

    unit: ClassVar[str]
    lengths: ClassVar[str]
    batch_size: int
    micro_batch_size: int | None
    is_auto: bool
    loader: StepLoader | None

    def sharding(self, *, rank: int, world: int) -> BatchSharding:
        """How a batch is split over `world` devices.

        Raises:
            UserError: where it does not split evenly.
        """
        micro = self.micro_batch_size or max(self.batch_size // world, 1)
        if self.micro_batch_size is None and self.batch_size % world:
            raise UserError(
                f"data.batch_size = {self.batch_size} {self.unit} do not split over {world} device(s): choose a "
                f"multiple of {world}"
            )
        if self.batch_size % (world * micro):
            raise UserError(
                f"data.batch_size = {self.batch_size} {self.unit} do not split over {world} device(s) in "
                f"micro-batches of {micro}: choose a multiple of {world * micro}"
            )
        return BatchSharding(batch_size=self.batch_size, micro_batch_size=micro, rank=rank, world=world)

    def micro_batches(self, world: int) -> int:
        """Micro-batches that each of `world` devices computes in an optimizer step.

        Raises:
            UserError: where the batch does not split evenly.
        """
        return self.batch_size // (world * self.sharding(rank=0, world=world).micro_batch_size)

    def limit_micro_batches(self, at_most: int, world: int) -> int:
        """Takes micro-batches of so many units, or of the next fewer into which the share of a device splits."""
        self.micro_batch_size = divisor(self.batch_size // world, at_most=at_most)
        return self.micro_batch_size

    def split_from(self, step: int) -> list[Any]:
        """The micro-batches of this process in a step that has begun, as they are now; later steps come likewise."""
        assert self.loader is not None
        sharding = self.sharding_here()
        self.loader.go_on(sharding.steps(step + 1), sharding.micro_batch_size)
        return self.loader.micro_batches(sharding.positions(step), sharding.micro_batch_size)

    def sharding_here(self) -> BatchSharding:
        """The shares of this process, by the trainer's strategy.

        Raises:
            UserError: where the batch does not split evenly.
        """
        assert self.trainer is not None
        replicas = getattr(self.trainer.strategy, "distributed_sampler_kwargs", {"num_replicas": 1, "rank": 0})
        return self.sharding(rank=replicas["rank"], world=replicas["num_replicas"])
