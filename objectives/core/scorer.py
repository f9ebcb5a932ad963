"""What an objective offers to score texts with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.stream.batch import Example


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """One way to ask.

    Args:
        examples: of int64 ids of what stands before, which is given, and of the text, which is to be said.
        is_normalised: whether exp(score) sums to 1 over all texts of one length.
        is_control: whether it is known not to work, and there to show that.
        caveat: what to bear in mind.
    """

    examples: Callable[[np.ndarray, np.ndarray], list[Example]]
    is_normalised: bool = False
    is_control: bool = False
    caveat: str = ""
