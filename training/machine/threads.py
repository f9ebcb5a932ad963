"""How many threads a run computes with: what it began with, what the user or the study set, or what is free."""

import os
from functools import cache

import torch
from lightning.pytorch.utilities import rank_zero_info

from common.errors import UserError
from common.processors import meter, quota, threads_beside

OF_STUDY = "OBJECTIVE_LAB_THREADS"  # set by compare.py for its runs
OF_USER = "OMP_NUM_THREADS"
MOST = 4096


@cache
def usual() -> int:
    """The threads that torch takes by itself, which is as many as there are processors, or what the user set."""
    return torch.get_num_threads()


@cache
def free_threads() -> int:
    """How many threads are fastest beside what else this machine does now; decided once, and printed."""
    usual_threads = usual()
    if OF_USER in os.environ:
        return usual_threads
    processors, busy, limit = len(meter().processors), meter().busy(), quota()
    threads = threads_beside(busy, processors=processors, most=usual_threads, limit=limit)
    parts = [f"{processors} processors", *([f"a quota of {limit:g}"] if limit is not None else [])]
    others = f"other processes keep {busy:.1f} of them busy"
    rank_zero_info(f"[machine] threads {threads}: {', '.join(parts)}, {others}")
    return threads


def _threads_of_study() -> int | None:
    """What compare.py decided for its runs."""
    given = os.environ.get(OF_STUDY)
    if given is not None and not (given.isascii() and given.isdigit() and 1 <= int(given) <= MOST):
        raise UserError(f"{OF_STUDY} = {given} must be a number of threads from 1 to {MOST}, or not be set")
    return None if given is None else int(given)


def set_threads(earlier: int | None, *, processes: int) -> int:
    """Has torch compute with as many threads as the run began with, or as are free; returns their number.

    Their number changes the order of sums, and so the last bits of every result.

    Args:
        earlier: what the run began with, where it goes on.
        processes: of this run on this machine, which share the processors.
    """
    if OF_USER in os.environ:
        if earlier not in (None, usual()):
            rank_zero_info(
                f"[machine] {OF_USER} = {os.environ[OF_USER]}, and the run began with {earlier} threads: the last bits "
                f"of its numbers will differ"
            )
        return usual()
    usual()  # is noted before it is changed
    threads = earlier or _threads_of_study() or max(free_threads() // processes, 1)
    torch.set_num_threads(threads)
    if processes > 1:
        os.environ[OF_USER] = str(threads)  # or Lightning takes all processors for them
    return threads
