"""Token classification, such as named entities: the state of each word's first sub-token -> a tag.

    reads      [CLS] Nelson Man ##dela was born in M ##ve ##zo [SEP]
    says             B-PER  I-PER      O   O    O  B-LOC

loss = sum of -log p(tag | sentence) / number of words. What is concluded is the most probable sequence of tags that
follow from one another
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.stream.batch import IGNORE, Batch
from data.text.sources import RowSource
from finetuning.body.body import states_of
from finetuning.data.batch import TaskExample
from finetuning.data.labels import tag_ids
from finetuning.data.parse import read_tokens
from finetuning.data.rows import DataWarnings, TokenRow
from finetuning.data.texts import balanced_weights
from finetuning.metrics.metrics import Score, accuracy, span_f1
from finetuning.metrics.spans import (
    best_tags,
    first_tokens,
    join_words,
    labelled_tokens,
    mentions,
    split_words,
    tag_names,
    token_labels,
    transitions,
    word_tags,
)
from finetuning.tasks.base import FineTuning
from finetuning.tasks.heads import LinearHead, as_arrays
from finetuning.tasks.task import Task
from training.step.terms import Term


@dataclass(frozen=True, kw_only=True)
class TokenTask(Task):
    """What the words of a sentence are.

    Args:
        words: column of the words.
        tags: column of their tags.
        entities: whether tags tell entities (BIO and its kin); else each word's tag stands alone (parts of speech).
        joiner: what stands between two words of a text; "" where words are single characters.
    """

    words: str = "tokens"
    tags: str = "tags"
    entities: bool = True
    joiner: str = " "

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("span_f1", "accuracy") if self.entities else ("accuracy",)

    def read(self, source: RowSource, warnings: DataWarnings) -> list[TokenRow]:
        return read_tokens(source, words=self.words, tags=self.tags, entities=self.entities, warnings=warnings)

    def unit(self, row: TokenRow) -> str:
        return self.joiner.join(row.words)

    @property
    def module(self) -> type["TokenClassification"]:
        return TokenClassification


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToTag(TokenRow):
    """A text that a user asks about, with the characters of its words."""

    text: str
    places: tuple[tuple[int, int], ...]


class SentenceTokens(NamedTuple):
    """The sub-tokens of a sentence, and the first of each word."""

    ids: list[int]
    first: np.ndarray


class TokenClassification(FineTuning):
    """A linear layer on the state of each word's first sub-token.

    A sentence longer than `data.max_length` is read in parts, and concluded from as a whole.
    """

    task: TokenTask
    knows_classes: ClassVar[bool] = True

    def check(self) -> None:
        self.label_weights: list[float] = []

    def build_heads(self) -> None:
        self.head = LinearHead(self.start.body.width, len(self.labels), self.tuning.dropout)
        self.weights_C: Tensor
        weights = self.label_weights or [1.0] * len(self.labels)
        self.register_buffer("weights_C", torch.tensor(weights), persistent=False)

    def learn_labels(self, rows: Sequence[TokenRow]) -> None:
        """Finds the tags.

        Raises:
            ValueError: where there is nothing to tell apart.
        """
        found = {tag for row in rows for tag in row.tags}
        self.labels = list(tag_names(row.tags for row in rows)) if self.task.entities else sorted(found)
        if len(self.labels) < 2:
            raise ValueError(f"task.train: every word has the tag '{self.labels[0]}'; there is nothing to tell apart")
        if self.tuning.class_weights == "balanced":
            self.label_weights = balanced_weights(np.concatenate(tag_ids(rows, self.labels)), len(self.labels))

    def _tokens(self, rows: Sequence[TokenRow]) -> list[SentenceTokens]:
        joined = [join_words(row.words, self.task.joiner) for row in rows]
        encoded = self.start.tokenizer.encode_batch([text for text, _ in joined], add_special_tokens=False)
        return [
            SentenceTokens(found.ids, first_tokens(places, found.offsets))
            for found, (_, places) in zip(encoded, joined, strict=True)
        ]

    def examples(self, rows: Sequence[TokenRow], warnings: DataWarnings) -> list[TaskExample]:
        is_told = bool(rows) and bool(rows[0].tags)
        tags = tag_ids(rows, self.labels, warnings) if is_told else [np.full(len(row.words), -1) for row in rows]
        room, found = self.max_length - len(self.start.template.around(())[0]), []
        if room < 1:
            raise ValueError(f"data.max_length = {self.max_length} leaves no room for a word")
        for number, (row, tokens, said) in enumerate(zip(rows, self._tokens(rows), tags, strict=True)):
            if (tokens.first < 0).any():
                warnings.add("sentences with a word that no token holds", row.origin)
            if len(tokens.ids) > room:
                warnings.add(f"sentences longer than data.max_length = {self.max_length}, read in parts", row.origin)
            labels, labelled = token_labels(tokens.first, said, len(tokens.ids)), labelled_tokens(tokens.first)
            for start in range(0, max(len(tokens.ids), 1), room):
                here = labelled[(labelled >= start) & (labelled < start + room)]
                part = labels[start : start + room]
                found.append(self._part(len(found), number, tokens.ids[start : start + room], part, here - start))
        return found

    def _part(self, index: int, row: int, ids: list[int], labels: np.ndarray, places: np.ndarray) -> TaskExample:
        template = self.start.template
        read, segments = template.around(ids)
        told = np.flatnonzero(labels != IGNORE)
        stacks = {"encoder_ids": read, "segments": segments} if self.start.has_encoder else {"decoder_ids": read}
        return TaskExample(
            index=index,
            row=row,
            **stacks,
            positions={"tag": told + len(template.before)},
            labels={"tag": labels[told]},
            where=places + len(template.before),
        )

    def scores(self, batch: Batch) -> Tensor:
        """[B, length, tags] in float32 at least."""
        assert self.body is not None
        states_BTD = states_of(self.body, batch, is_causal=self.is_causal)
        scores_BTC = self.head(states_BTD.to(self.head.classifier.weight.dtype))
        return scores_BTC if scores_BTC.dtype == torch.float64 else scores_BTC.float()

    def terms_of(self, scores: Tensor, batch: Batch, *, count_correct: bool) -> dict[str, Term]:
        positions_N, said = batch.labels["tag"]
        scores_NC = scores.flatten(0, 1)[positions_N]
        loss = F.cross_entropy(scores_NC, said, reduction="sum")
        each_N = F.cross_entropy(scores_NC, said, reduction="none", label_smoothing=self.tuning.label_smoothing)
        minimised = (each_N * self.weights_C.to(each_N.dtype)[said]).sum()
        correct = (scores_NC.argmax(dim=-1) == said).sum().to(loss.dtype) if count_correct else None
        return {"tag": Term(loss, minimised, len(said), correct)}

    def outputs_of(self, scores: Tensor, batch: Batch) -> list[np.ndarray]:
        """float64[length, tags], log-probabilities."""
        return as_arrays(scores.log_softmax(dim=-1))

    def decode_predictions(
        self, rows: Sequence[TokenRow], examples: Sequence[TaskExample], outputs: Sequence[np.ndarray]
    ) -> list[tuple[str, ...]]:
        """The tags of every row's words."""
        parts: list[list[np.ndarray]] = [[] for _ in rows]
        for example, output in zip(examples, outputs, strict=True):
            parts[example.row].append(output[example.where])
        first_T, follows_TT = self._transitions()
        answers = []
        for tokens, found in zip(self._tokens(rows), parts, strict=True):
            best = best_tags(np.concatenate(found), first_T, follows_TT)
            names = [self.labels[number] for number in best]
            answers.append(word_tags(tokens.first, names) if self.task.entities else self._alone(tokens.first, names))
        return answers

    def _transitions(self) -> tuple[np.ndarray, np.ndarray]:
        if self.task.entities:
            return transitions(self.labels)
        number = len(self.labels)
        return np.ones(number, dtype=bool), np.ones((number, number), dtype=bool)

    def _alone(self, first: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
        """The tag of every word by that of its first token; a word without one has the first label."""
        of_token = dict(zip(labelled_tokens(first).tolist(), names, strict=True))
        return tuple(of_token.get(token, self.labels[0]) for token in first.tolist())

    def measure_answers(self, rows: Sequence[TokenRow], answers: Sequence[tuple[str, ...]]) -> dict[str, Score]:
        """F1 of entities first where tags tell entities; the share of words whose tag is right."""
        gold = [row.tags for row in rows]
        right = accuracy(
            np.concatenate([np.array(tags) for tags in answers]), np.concatenate(list(map(np.array, gold)))
        )
        of_words = {"accuracy": Score(value=right.value)}  # its items are words, not rows
        if not self.task.entities:
            return of_words
        spans = span_f1(answers, gold)
        parts = {name: Score(value=value) for name, value in spans.parts.items() if "/" not in name}
        return {"span_f1": spans, **parts, **of_words}

    def row_of(self, given: Any) -> TokenRow:
        text = given.get("text") if isinstance(given, dict) else given
        if isinstance(given, dict) and isinstance(given.get(self.task.words), list):
            text = self.task.joiner.join(map(str, given[self.task.words]))
        if not isinstance(text, str):
            raise ValueError(f"{given!r:.60} is neither a text nor an object with 'text' or '{self.task.words}'")
        places = split_words(text)
        return TextToTag(words=tuple(text[start:end] for start, end in places), text=text, places=tuple(places))

    def told(self, row: TokenRow, answer: tuple[str, ...]) -> dict[str, Any]:
        text, places = (row.text, row.places) if isinstance(row, TextToTag) else join_words(row.words, self.task.joiner)
        if not self.task.entities:
            return {"words": list(row.words), "tags": list(answer)}
        found = mentions(text, places, answer)
        return {
            "entities": [{"kind": m.kind, "start": m.start, "end": m.end, "text": m.text} for m in found],
        }

    def shown(self, row: TokenRow, told: dict[str, Any]) -> str:
        if not self.task.entities:
            return " ".join(f"{word}/{tag}" for word, tag in zip(told["words"], told["tags"], strict=True))
        return (
            "; ".join(f"{m['kind']} '{m['text']}' at {m['start']}-{m['end']}" for m in told["entities"]) or "no entity"
        )
