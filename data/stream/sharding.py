"""How a batch is split over processes and micro-batches: whatever their number, the same batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import lightning

from common.errors import UserError


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
        batch_size: units an optimizer step, over all devices.
        micro_batch_size: units a device computes at once; None for its whole share.
    """

    unit: ClassVar[str]
    batch_size: int
    micro_batch_size: int | None

    def sharding(self, *, rank: int, world: int) -> BatchSharding:
        """How a batch is split over `world` devices.

        Raises:
            UserError: where it does not split evenly.
        """
        micro = self.micro_batch_size or max(self.batch_size // world, 1)
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

    def sharding_here(self) -> BatchSharding:
        """The shares of this process, by the trainer's strategy.

        Raises:
            UserError: where the batch does not split evenly.
        """
        assert self.trainer is not None
        replicas = getattr(self.trainer.strategy, "distributed_sampler_kwargs", {"num_replicas": 1, "rank": 0})
        return self.sharding(rank=replicas["rank"], world=replicas["num_replicas"])
