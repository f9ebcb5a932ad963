"""Token classification, such as named entities: the state of each unit's first sub-token -> a tag.

    input      [CLS] Nelson Man ##dela was born in M ##ve ##zo [SEP]
    predicts         B-PER  I-PER      O   O    O  B-LOC

loss = sum of -log p(tag | sentence) / number of units. The prediction is the most probable valid sequence of tags.
A unit is a word, or a character where nothing parts the words of a text (`finetuning/data/units.py`)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import UserError
from common.ranges import Range, check_ranges
from data.stream.batch import IGNORE, Batch
from data.text.sources import RowSource
from finetuning.body.body import states_of
from finetuning.core.base import FineTuning
from finetuning.core.heads import LinearHead, as_arrays
from finetuning.core.task import Task
from finetuning.data.batch import TaskExample
from finetuning.data.labels import LabelNames, check_tag_names, tag_ids, tag_labels
from finetuning.data.rows import DataWarnings, TokenRow
from finetuning.data.tagged import read_tokens, sentences_of
from finetuning.data.texts import balanced_weights
from finetuning.data.units import (
    TextToTag,
    UnitTokens,
    in_characters,
    row_of_text,
    row_of_words,
    share_split_otherwise,
    split_where,
    tag_of_blanks,
    tokens_one_by_one,
    whole_text_tokens,
    words_of,
)
from finetuning.metrics.label_scores import scores_of_tags
from finetuning.metrics.metrics import Score
from finetuning.metrics.spans import (
    best_tags,
    independent_tags,
    join_words,
    labelled_tokens,
    mentions,
    token_labels,
    transitions,
    word_tags,
)
from training.step.terms import Term

ONE_BY_ONE = "units one by one"  # as a run's folder records it


@dataclass(frozen=True, kw_only=True)
class TokenTask(Task):
    """A tag for every word of a sentence.

    Args:
        words: column of the words.
        tags: column of their tags.
        entities: whether tags encode entities (BIO, IOB1, BIOES, BILOU); else they are independent (parts of speech).
        joiner: what stands between two words of a text; "" where words are characters, or parts of words: entities are
            then found in characters, and every character has tokens of its own.
        sentence_id: column of the sentence that a word belongs to, in files with a word a row (`Sentence #` of
            Kaggle's); where it is empty, the sentence goes on. null where a row is a sentence.
        tag_names: names of the tags, in the order of their numbers; null takes those of the training rows.
        first_tag: number of the first of `tag_names` in files that have numbers for them.
    """

    words: str = "tokens"
    tags: str = "tags"
    entities: bool = True
    joiner: str = " "
    sentence_id: str | None = None
    tag_names: tuple[str, ...] | None = None
    first_tag: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges("task.", {"first_tag": Range(-(10**9), 10**9)}, vars(self))
        if self.tag_names is not None:
            check_tag_names(self.tag_names, entities=self.entities)
        elif self.first_tag:
            raise UserError(f"task.first_tag = {self.first_tag} is the number of a name: give task.tag_names")

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("span_f1", "accuracy") if self.entities else ("accuracy",)

    def read(self, source: RowSource, warnings: DataWarnings) -> list[TokenRow]:
        names = None if self.tag_names is None else LabelNames(names=self.tag_names, first_label=self.first_tag)
        own: dict[str, Any] = {name: getattr(self, name) for name in ("words", "tags", "sentence_id", "entities")}
        rows = read_tokens(source, **own, names=names, has_blanks=not self.joiner, warnings=warnings)
        return [in_characters(row) for row in rows] if self.entities and not self.joiner else rows

    def together(self, inputs: Sequence[Any]) -> list[Any]:
        if self.sentence_id is None:
            return super().together(inputs)
        return sentences_of(inputs, words=self.words, sentence_id=self.sentence_id)

    def unit(self, row: TokenRow) -> str:
        return self.joiner.join(row.words)

    @property
    def module(self) -> type["TokenClassification"]:
        return TokenClassification


class TokenClassification(FineTuning):
    """A linear layer on the state of each unit's first sub-token.

    A sentence longer than `data.max_length` is read in parts; its tags are decoded over the whole of it.
    """

    task: TokenTask
    knows_classes: ClassVar[bool] = True

    def check(self) -> None:
        self.label_weights: list[float] = []
        self.split_otherwise = 0.0  # share of the training units that a text alone would not be split into
        self.tag_of_blanks: str | None = None
        self.by_unit = not self.task.joiner  # of the run: those of the first edition encoded a text as a whole

    def recorded(self) -> dict[str, Any]:
        more = {"encoded": ONE_BY_ONE} if self.by_unit else {}
        blanks = {} if self.tag_of_blanks is None else {"tag_of_blanks": self.tag_of_blanks}
        return {**super().recorded(), **more, "split_otherwise": self.split_otherwise, **blanks}

    def restore(self, recorded: Mapping[str, Any]) -> None:
        super().restore(recorded)
        self.by_unit = recorded.get("encoded") == ONE_BY_ONE
        self.split_otherwise = float(recorded.get("split_otherwise", 0.0))
        self.tag_of_blanks = recorded.get("tag_of_blanks")

    def build_heads(self) -> None:
        self.head = LinearHead(self.start.body.width, len(self.labels), self.tuning.dropout)
        self.weights_C: Tensor
        weights = self.label_weights or [1.0] * len(self.labels)
        self.register_buffer("weights_C", torch.tensor(weights), persistent=False)

    def learn_labels(self, rows: Sequence[TokenRow]) -> None:
        """Finds the tags.

        Raises:
            UserError: where every word has the same tag.
        """
        found = {tag for row in rows for tag in row.tags}
        self.labels = tag_labels(rows, self.task.tag_names, entities=self.task.entities)
        if len(found) < 2:
            raise UserError(f"task.train: every word has the tag '{next(iter(found))}': there is nothing to learn")
        self.split_otherwise = share_split_otherwise(rows, self.task.joiner, by_character=self.by_unit)
        self.tag_of_blanks = None if self.task.entities else tag_of_blanks(rows)
        if self.tuning.class_weights == "balanced":
            self.label_weights = balanced_weights(np.concatenate(tag_ids(rows, self.labels)), len(self.labels))

    def _tokens(self, rows: Sequence[TokenRow]) -> list[UnitTokens]:
        encode = tokens_one_by_one if self.by_unit else whole_text_tokens
        return encode(self.start.tokenizer, [row.words for row in rows], self.task.joiner)

    def examples(self, rows: Sequence[TokenRow], warnings: DataWarnings) -> list[TaskExample]:
        has_tags = bool(rows) and bool(rows[0].tags)
        tags = tag_ids(rows, self.labels, warnings) if has_tags else [np.full(len(row.words), -1) for row in rows]
        room, found = self.max_length - len(self.start.template.around(())[0]), []
        if room < 1:
            raise UserError(f"data.max_length = {self.max_length} leaves no room for a word")
        for number, (row, tokens, targets) in enumerate(zip(rows, self._tokens(rows), tags, strict=True)):
            if any(token < 0 and word.strip() for token, word in zip(tokens.first.tolist(), row.words, strict=True)):
                warnings.add("sentences with a word that no token holds", row.origin)
            if self.split_otherwise and (where := split_where(row, by_character=self.by_unit)):
                warnings.add(
                    f"texts split {where}, as {self.split_otherwise:.1%} of training's units were not: a list of units "
                    f"in '{self.task.words}' keeps them whole",
                    row.origin,
                )
            if len(tokens.ids) > room:
                warnings.add(f"sentences longer than data.max_length = {self.max_length}, read in parts", row.origin)
            labels, labelled = token_labels(tokens.first, targets, len(tokens.ids)), labelled_tokens(tokens.first)
            for start in range(0, max(len(tokens.ids), 1), room):
                here = labelled[(labelled >= start) & (labelled < start + room)]
                part = labels[start : start + room]
                found.append(self._part(len(found), number, tokens.ids[start : start + room], part, here - start))
        return found

    def _part(self, index: int, row: int, ids: list[int], labels: np.ndarray, places: np.ndarray) -> TaskExample:
        template = self.start.template
        read, segments = template.around(ids)
        labelled = np.flatnonzero(labels != IGNORE)
        stacks = {"encoder_ids": read, "segments": segments} if self.start.has_encoder else {"decoder_ids": read}
        return TaskExample(
            token_term="tag",
            index=index,
            row=row,
            **stacks,
            positions={"tag": labelled + len(template.before)},
            labels={"tag": labels[labelled]},
            where=places + len(template.before),
        )

    def scores(self, batch: Batch) -> Tensor:
        """[B, length, tags] in float32 at least."""
        assert self.body is not None
        states_BTD = states_of(self.body, batch, is_causal=self.is_causal)
        scores_BTC = self.head(states_BTD.to(self.head.classifier.weight.dtype))
        return scores_BTC if scores_BTC.dtype == torch.float64 else scores_BTC.float()

    def terms_of(self, scores: Tensor, batch: Batch, *, count_correct: bool) -> dict[str, Term]:
        positions_N, targets, *_ = batch.labels["tag"]
        scores_NC = scores.flatten(0, 1)[positions_N]
        loss = F.cross_entropy(scores_NC, targets, reduction="sum")
        each_N = F.cross_entropy(scores_NC, targets, reduction="none", label_smoothing=self.tuning.label_smoothing)
        minimised = (each_N * self.weights_C.to(each_N.dtype)[targets]).sum()
        correct = (scores_NC.argmax(dim=-1) == targets).sum().to(loss.dtype) if count_correct else None
        return {"tag": Term(loss, minimised, len(targets), len(targets), correct)}

    def outputs(self, scores: Tensor, batch: Batch) -> list[np.ndarray]:
        """float64[length, tags], log-probabilities."""
        return as_arrays(scores.log_softmax(dim=-1))

    def decode_predictions(
        self, rows: Sequence[TokenRow], examples: Sequence[TaskExample], outputs: Sequence[np.ndarray]
    ) -> list[tuple[str, ...]]:
        """The tags of every row's words."""
        parts: list[list[np.ndarray]] = [[] for _ in rows]
        for example, output in zip(examples, outputs, strict=True):
            parts[example.row].append(output[example.where])
        found = [np.concatenate(part) for part in parts]
        return [self._decode(*both) for both in zip(self._tokens(rows), found, strict=True)]

    def _decode(self, tokens: UnitTokens, log_probs_LT: np.ndarray) -> tuple[str, ...]:
        """The tags of a sentence's units by those of the labelled tokens."""
        best = best_tags(log_probs_LT, *self._transitions())
        names = [self.labels[number] for number in best]
        if self.task.entities:
            return word_tags(tokens.first, names)
        return independent_tags(tokens.first, names, without=self.tag_of_blanks or self.labels[0])

    def ceiling(self, rows: Sequence[TokenRow]) -> list[tuple[str, ...]]:
        """What a perfect model would predict: the rows' own tags, as the tokens can carry them."""
        predictions = []
        ids = tag_ids(rows, self.labels, DataWarnings())
        for tokens, targets in zip(self._tokens(rows), ids, strict=True):
            labels = token_labels(tokens.first, targets, len(tokens.ids))[labelled_tokens(tokens.first)]
            predictions.append(
                self._decode(tokens, np.where(labels[:, None] == np.arange(len(self.labels)), 0.0, -1.0))
            )
        return predictions

    def _transitions(self) -> tuple[np.ndarray, np.ndarray]:
        if self.task.entities:
            return transitions(self.labels)
        number = len(self.labels)
        return np.ones(number, dtype=bool), np.ones((number, number), dtype=bool)

    def measure_predictions(self, rows: Sequence[TokenRow], predictions: Sequence[tuple[str, ...]]) -> dict[str, Score]:
        """F1 of entities first where tags encode entities; the accuracy of the units' tags; the ceiling of the first.

        The ceiling is what the rows' own tags come to on their way through the tokens.
        """
        gold = [row.tags for row in rows]
        found, best = (
            scores_of_tags(tags, gold, entities=self.task.entities) for tags in (predictions, self.ceiling(rows))
        )
        own = next(iter(found))
        return {**found, f"{own}_ceiling": Score(value=best[own].value)}

    def row_of(self, given: Any) -> TextToTag:
        """A text, whose units are found as `task.joiner` has them, or an object with the words."""
        column, joiner, finer = self.task.words, self.task.joiner, self.by_unit and self.task.entities
        words = words_of(given, column)
        if words is not None:
            return row_of_words(words, joiner, in_characters_too=finer)
        text = given.get("text") if isinstance(given, dict) else given
        if not isinstance(text, str):
            raise UserError(f"{given!r:.60} is neither a text nor an object with 'text' or '{column}'")
        return row_of_text(text, by_character=self.by_unit)

    def to_json(self, row: TokenRow, prediction: tuple[str, ...]) -> dict[str, Any]:
        text, places = (row.text, row.places) if isinstance(row, TextToTag) else join_words(row.words, self.task.joiner)
        if not self.task.entities:
            return {"words": list(row.words), "tags": list(prediction)}
        found = mentions(text, places, prediction)
        entities = [{"kind": m.kind, "start": m.start, "end": m.end, "text": m.text} for m in found]
        if not isinstance(row, TextToTag) or row.first_units is None:
            return {"entities": entities}
        return {"entities": entities, "tags": [prediction[unit] for unit in row.first_units]}

    def format(self, row: TokenRow, fields: dict[str, Any]) -> str:
        if not self.task.entities:
            return " ".join(f"{word}/{tag}" for word, tag in zip(fields["words"], fields["tags"], strict=True))
        found = [f"{m['kind']} '{m['text']}' at {m['start']}-{m['end']}" for m in fields["entities"]]
        return "; ".join(found) or "no entity"
