"""Runs that evaluations load: once for all of them, while what is kept of them fits into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objectives.weights.load import TrainedRun, load_run

KEPT_BYTES = 1 << 30  # of weights: some sixty runs of the `nano` shape, and the last one whatever its size

_kept: dict[Path, TrainedRun] | None = None  # the one that was used last behind all others


def _bytes_of(run: TrainedRun) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in run.network.parameters())


@contextmanager
def keeping_runs() -> Iterator[None]:
    """Within it a run is loaded once for all who want it; nothing in its folder may change meanwhile."""
    global _kept
    before, _kept = _kept, {} if _kept is None else _kept
    try:
        yield
    finally:
        _kept = before


def loaded(folder: Path) -> TrainedRun:
    """`load_run`, on the CPU; within `keeping_runs` the same run as before, where it is still kept.

    Raises:
        UserError: as of `load_run`.
    """
    if _kept is None:
        return load_run(folder)
    run = _kept.pop(folder) if folder in _kept else load_run(folder)
    run.network.to("cpu")  # from where its last user computed
    _kept[folder] = run
    while len(_kept) > 1 and sum(map(_bytes_of, _kept.values())) > KEPT_BYTES:
        del _kept[next(iter(_kept))]
    return run
