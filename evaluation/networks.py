"""What a report needs of the networks themselves: each run is loaded once, or is the one that evaluations loaded."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evaluation.excerpts import Excerpts, excerpts_of, held_out
from evaluation.execution.jobs import MeasuredRun
from evaluation.plateau import ordinary_loss
from evaluation.record.record import ContinuationRecord, SampleRecord
from evaluation.scoring.loaded import loaded
from objectives.weights.load import TrainedRun
from training.storage.checkpoint import checkpoints_in


@dataclass(frozen=True, kw_only=True)
class NetworkFindings:
    """What was seen of the networks of finished runs.

    Attributes:
        losses: by arm, nats a target of ordinary tokens, the mean over its runs of the whole budget.
        excerpts: by arm, what its first run has to do with the held-out windows that are shown.
    """

    losses: dict[str, float]
    excerpts: dict[str, Excerpts]

    @property
    def texts(self) -> tuple[str, ...]:
        """Of the windows, as the first arm's tokenizer has it."""
        return next((one.texts for one in self.excerpts.values()), ())

    @property
    def samples(self) -> tuple[SampleRecord, ...]:
        return tuple(sample for one in self.excerpts.values() for sample in one.samples)

    @property
    def continuations(self) -> tuple[ContinuationRecord, ...]:
        return tuple(text for one in self.excerpts.values() for text in one.continuations)


def look(
    jobs: Iterable[MeasuredRun], arms: Sequence[str], first: Callable[[str, TrainedRun], None] = lambda arm, run: None
) -> NetworkFindings:
    """Loads each run of the whole budget once, but for those whose weights are gone.

    Args:
        jobs: that came to their end.
        arms: their order.
        first: is called with the first run of each arm.
    """
    losses: dict[str, list[float]] = {}
    of_arm: dict[str, Excerpts] = {}
    for job in jobs:
        if job.branch or not checkpoints_in(job.run.checkpoints):  # results may outlive weights
            continue
        run = loaded(job.run.path)
        windows = held_out(run)
        loss = ordinary_loss(run, windows)
        losses.setdefault(job.arm, []).extend([] if loss is None else [loss])
        if job.arm not in of_arm:
            of_arm[job.arm] = excerpts_of(job, run, windows)
            first(job.arm, run)
    return NetworkFindings(
        losses={arm: statistics.fmean(found) for arm, found in losses.items() if found},
        excerpts={arm: of_arm[arm] for arm in arms if arm in of_arm},
    )
