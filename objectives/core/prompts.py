"""Prompts: texts of a user, encoded as in training, and the settings for continuing them or filling them in."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from common.errors import UserError
from common.ranges import check_ranges, count
from data.stream.batch import NOWHERE
from data.stream.windows import Window
from data.text.cleaning import clean
from data.tokens.decoding import decode_text
from data.tokens.pieces import continuing
from data.tokens.tokenizer import Tokenizer, Vocabulary
from models.generation.decoding import Decoding

MARK = re.compile(r"\[MASK\]")  # what a user writes for hidden text; all other text is text

IdsAndOrigins = tuple[np.ndarray, np.ndarray]  # int64[length] ids that a stack reads, and their origins


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What a checkpoint generates for a prompt.

    Attributes:
        prompt: the text as it was given.
        text: the whole text as the model has it: filled in, continued or restored.
        details: further predictions, by name, as JSON values.
        notes: the same as lines of text.
    """

    prompt: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """Texts for a checkpoint, and the settings of generation.

    Args:
        texts: as a user wrote them.
        tokenizer, vocabulary: the run's own.
        max_positions: the longest sequence of either stack.
        decoding: how tokens that are generated one after another are chosen.
        samples: generations for each text.
        candidates: how many tokens are listed for each mask, where a mask stands for one token.
        on_text: called with each new piece of the generation of a single text.
        on_pass: called before the first pass and after each in which masks are filled one after another, with the ids
            of a text's first sample, masks included.

    Raises:
        UserError: where a value is impossible, or values contradict each other.
    """

    texts: Sequence[str]
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    max_positions: int
    decoding: Decoding = field(default_factory=Decoding)
    samples: int = 1
    candidates: int | None = None
    on_text: Callable[[str], None] | None = None
    on_pass: Callable[[list[int]], None] | None = None

    def __post_init__(self) -> None:
        check_ranges("", {"samples": count(10**6), "candidates": count(1 << 24)}, vars(self))
        if self.samples > 1 and not self.decoding.temperature:
            raise UserError(f"samples = {self.samples} need a temperature above 0: at 0 all of them are the same")

    def name(self, number: int) -> str:
        """A text as a message names it."""
        return "the text" if len(self.texts) == 1 else f"text {number + 1} of {len(self.texts)}"

    def check_length(self, number: int, length: int) -> None:
        """Raises UserError where a text takes more positions than the model reads."""
        if length > self.max_positions:
            raise UserError(
                f"{self.name(number)} takes {length} positions, and this model reads at most {self.max_positions}: "
                f"shorten it"
            )

    def check_marks(self, number: int, marks: re.Pattern[str], spelling: str) -> int:
        """How many marks a text holds.

        Raises:
            UserError: where it holds none; `spelling` is what to write.
        """
        count = len(marks.findall(clean(self.texts[number], Counter())))
        if not count:
            raise UserError(f"{self.name(number)} has no {spelling}: write it where text is hidden")
        return count

    def refuse_decoding(self, reason: str, names: Sequence[str] = tuple(vars(Decoding()))) -> None:
        """Raises UserError where these settings of the decoding are given; for a strategy that does not use them."""
        default, settings = vars(Decoding()), vars(self.decoding)
        given = [f"{name} = {settings[name]}" for name in names if settings[name] != default[name]]
        if given:
            raise UserError(f"{', '.join(given)}: {reason}")

    def refuse_candidates(self, reason: str) -> None:
        """Raises UserError where candidates are requested; for a strategy that has none."""
        if self.candidates is not None:
            raise UserError(f"candidates = {self.candidates}: {reason}")

    def encode(self, text: str, marks: re.Pattern[str] | None = None, ids: Iterable[int] = ()) -> np.ndarray:
        """int64[length], a text cleaned and cut as in training, the k-th mark in it as the k-th of `ids`.

        White space belongs to the token that follows it, so the space before a mark is part of the hidden text, and
        one at the end part of the text that follows. A part behind a mark goes on, so that a tokenizer which puts a
        blank before a text puts none before it.
        """
        text = clean(text, Counter())
        parts = [part.removesuffix(" ") for part in (marks.split(text) if marks else [text])]
        tokens = self.tokenizer.encode(parts[0], add_special_tokens=False).ids
        for part, mark in zip(parts[1:], ids, strict=False):
            tokens += [mark, *self._continuing.encode(part, add_special_tokens=False).ids]
        return np.array(tokens, dtype=np.int64)

    @cached_property
    def _continuing(self) -> Tokenizer:
        return continuing(self.tokenizer)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids, special ones by their names, without bytes that make no character."""
        return decode_text(self.tokenizer, list(map(int, ids)))

    def name_of_token(self, token: int) -> str:
        """One token as the tokenizer has it; bytes that are no character by themselves are U+FFFD."""
        return self.tokenizer.decode([token], skip_special_tokens=False)

    def with_special_tokens(
        self, tokens: np.ndarray, before: Sequence[str], behind: Sequence[str] = (), *, origin: int = NOWHERE
    ) -> IdsAndOrigins:
        """A text with special tokens around it, by their roles; `origin` is that of those before."""
        first, last = ([self.vocabulary.id_of(role) for role in roles] for roles in (before, behind))
        ids = np.array([*first, *tokens, *last], dtype=np.int64)
        places = [*[origin] * len(first), *range(len(tokens)), *[NOWHERE] * len(last)]
        return ids, np.array(places, dtype=np.int64)

    def window(self, tokens: np.ndarray) -> Window:
        """A window that holds a text as its one document."""
        start = np.zeros(1, dtype=np.int64)
        return Window(
            index=0,
            tokens=tokens,
            previous=self.vocabulary.eos,
            sentence_starts=start,
            document_starts=start,
            first_document=0,
        )
