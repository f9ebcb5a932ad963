"""The rows of tasks, typed, and what was odd about them: counted, and the first case named.

Every row has an `origin`, what it is called in messages ("train.tsv, line 12").
"""

from collections import Counter
from dataclasses import dataclass

Label = str | tuple[str, ...] | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """One text, or two, and what it is: a label's name, the names of several, a number, or None where unknown."""

    texts: tuple[str, ...]
    label: Label = None
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """The words of a sentence and as many tags, in BIO where they encode entities; no tags where unknown."""

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSpan:
    """An answer and the character of the context at which it begins; -1 where the context does not hold it."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """One behind its last character; only where `start` is a place."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRow:
    """A question on a context. Answers that are not in the context are kept: they too are references."""

    id: str
    question: str
    context: str
    answers: tuple[AnswerSpan, ...] = ()
    impossible: bool = False
    origin: str = ""

    @property
    def places(self) -> tuple[AnswerSpan, ...]:
        """The answers that the context holds, from which can be learned: `context[start:end] == text`."""
        return tuple(answer for answer in self.answers if answer.start >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """A text and what is to be written of it; more than one target where several people wrote one."""

    source: str
    targets: tuple[str, ...] = ()
    origin: str = ""

    @property
    def target(self) -> str:
        """The first target."""
        return self.targets[0]


class DataWarnings:
    """What was odd in a data set: how often each kind of oddity was met, and where first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, kind: str, origin: str) -> None:
        """Counts one more of a kind ("empty texts"), met at `origin` ("train.tsv, line 3")."""
        self.counts[kind] += 1
        self.first.setdefault(kind, origin)

    def lines(self) -> list[str]:
        """A line for every kind, in the order in which they were met."""
        return [f"{kind}: {count:,} (the first: {self.first[kind]})" for kind, count in self.counts.items()]
