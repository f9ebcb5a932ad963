"""How a model of several objectives is used: each text by the objective that reads texts of its kind."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from itertools import groupby

import numpy as np

from data.stream.batch import NOWHERE, Example
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective
from objectives.core.network import Network
from objectives.core.prompts import MARK, Generation, Prompts
from objectives.core.strategy import InferenceStrategy, Scorer


def with_mode(example: Example, token: int) -> Example:
    """The example with a mode token before what the encoder reads, seen from every document."""
    assert example.encoder_ids is not None
    assert example.encoder_origins is not None
    return replace(
        example,
        encoder_ids=np.concatenate([[token], example.encoder_ids]),
        encoder_origins=np.concatenate([[NOWHERE], example.encoder_origins]),
    )


def as_member(objective: Objective, *, token_term: str, mode: str | None = None) -> Objective:
    """A copy that labels `token_term`, and has a mode token, by its role, before what its encoder reads."""
    member = copy(objective)
    member.token_term = token_term
    if mode is not None:
        member.template = objective.template._replace(before=(mode, *objective.template.before))
    return member


class ByMember(InferenceStrategy):
    """Texts with marks are filled by the last member that fills them, the others are continued by the last that does.

    Args:
        members: the objectives, as `as_member` makes them, each with the role of its mode token.
    """

    reads_marks = True

    def __init__(self, members: Sequence[tuple[Objective, str | None]]) -> None:
        self.members = list(members)
        self.example = next((one.inference.example for one, _ in reversed(members) if one.inference.example), None)

    def _member(self, *, has_marks: bool) -> Objective:
        found = [member for member, _ in self.members if member.inference.reads_marks == has_marks]
        return found[-1] if found else self.members[-1][0]

    def generate(self, objective: Objective, network: Network, prompts: Prompts) -> Iterator[Generation]:
        number = 0
        for has_marks, group in groupby(prompts.texts, key=lambda text: bool(MARK.search(text))):
            texts = list(group)
            decoding = replace(prompts.decoding, seed=prompts.decoding.seed + number)
            member = self._member(has_marks=has_marks)
            yield from member.inference.generate(member, network, replace(prompts, texts=texts, decoding=decoding))
            number += len(texts)

    def scorers(self, objective: Objective, vocabulary: Vocabulary) -> dict[str, Scorer]:
        """Those of each kind of member, the last first, each with the mode token of the first member of its kind."""
        kinds: dict[type, tuple[Objective, str | None]] = {}
        for member, mode in self.members:
            kinds.setdefault(type(member), (member, mode))
        found: dict[str, Scorer] = {}
        for member, mode in reversed(kinds.values()):
            for name, scorer in member.inference.scorers(member, vocabulary).items():
                token = None if mode is None else vocabulary.id_of(mode)
                found.setdefault(name, scorer if token is None else replace(scorer, examples=_moded(scorer, token)))
        return found


def _moded(scorer: Scorer, token: int) -> Callable[[np.ndarray, np.ndarray], list[Example]]:
    return lambda prefix, text: [with_mode(example, token) for example in scorer.examples(prefix, text)]
