"""How a checkpoint is used: the interface of inference strategies, which generate and score texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError
from data.stream.batch import Example
from data.tokens.tokenizer import Vocabulary
from objectives.core.prompts import Generation, Prompts

if TYPE_CHECKING:
    from objectives.core.base import Objective
    from objectives.core.network import Network


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """One way to score a text: the sum of log p(label) over the labels of its examples.

    Args:
        examples: from int64 ids of a prefix, which is given, and of the text, which is scored.
        is_normalised: whether exp(score) sums to 1 over all texts of one length.
        is_control: whether it is a negative control, known not to work.
        draws: where the score is an estimate from random examples, how many there are of a text; the mean estimate is a
            lower bound of the log-likelihood.
        caveat: a limitation, for reports.
    """

    examples: Callable[[np.ndarray, np.ndarray], list[Example]]
    is_normalised: bool = False
    is_control: bool = False
    draws: int | None = None
    caveat: str = ""


class InferenceStrategy:
    """Generates and scores texts with an objective's network; this one does neither.

    Attributes:
        reads_marks: whether it generates what stands behind marks in a text, such as [MASK].
        example: a text to begin with, as a user would write it; None where nothing is generated.
    """

    reads_marks: bool = False
    example: str | None = None

    def special_targets(self, vocabulary: Vocabulary) -> list[int]:
        """The special tokens beside EOS that training had as targets; no other is generated."""
        return []

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        """What the network generates for the texts of a user, encoded as in training.

        Raises:
            UserError: where a text cannot be encoded so, or the objective generates none.
        """
        raise UserError(f"{type(objective).__name__} generates no text: it names no inference strategy")

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """Ways to score a text, by name: first the one that minimal pairs are evaluated with.

        Raises:
            UserError: where the objective scores no texts.
        """
        raise UserError(f"{type(objective).__name__} scores no texts: it names no inference strategy")
