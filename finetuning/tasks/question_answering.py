"""Extractive question answering: each position of the context -> scores for an answer's first and last token.

    input      [CLS] When did it begin ? [SEP] The 1973 oil crisis began in October 1973 when [SEP]
    predicts                                                            first       last

loss = sum of -log p(first token | question, context) / number of windows + the same of the last token. Where a window
does not hold the answer, the target of both is the position that stands for no answer
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
from data.stream.batch import Batch
from data.text.sources import RowSource
from finetuning.body.body import states_of
from finetuning.core.base import FineTuning
from finetuning.core.heads import LinearHead, as_arrays, rows_of
from finetuning.core.task import LONGEST, Task
from finetuning.data.batch import TaskExample
from finetuning.data.inputs import columns_of
from finetuning.data.labels import Split
from finetuning.data.questions import read_questions
from finetuning.data.rows import DataWarnings, QuestionRow
from finetuning.metrics.answers import FoundAnswer, WindowLogits, answer_tokens, best_answer, sliding_windows, within
from finetuning.metrics.from_source import Likelihood
from finetuning.metrics.metrics import Score, answer_f1, exact_match, korquad_exact_match, korquad_f1
from training.step.terms import Term

NO_ANSWER = "no answer"  # the target of `as_text`
CERTAIN = 1e6  # by how much the logits of an answer stand above all others where nothing else can be
LONGEST_QUESTION = 0.5  # share of the positions


@dataclass(frozen=True, kw_only=True)
class QuestionTask(Task):
    """Which span of a context answers a question.

    Args:
        question: column of the questions.
        context: column of the contexts.
        answers: column of the answers, as SQuAD has them, or texts alone.
        id: column of an identifier.
        impossible: column that holds whether a question has no answer.
        no_answer: whether the model may predict that there is none; null where some training question has none.
        threshold: by how much "no answer" must score higher than the best span to be predicted.
        stride: tokens from one window of a long context to the next; null for half a window.
        longest_answer: tokens that an answer may have.
        korean: whether answers are compared as KorQuAD compares them: by characters.
    """

    question: str = "question"
    context: str = "context"
    answers: str = "answers"
    id: str = "id"
    impossible: str = "is_impossible"
    no_answer: bool | None = None
    threshold: float = 0.0
    stride: int | None = None
    longest_answer: int = 30
    korean: bool = False
    validation_rows: int | None = 500  # contexts are long: the whole of KorQuAD's takes longer than the training

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {"stride": LONGEST, "longest_answer": LONGEST, "threshold": Range(-1e9, 1e9)}
        check_ranges("task.", ranges, vars(self))

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("f1", "exact_match")

    def read(self, source: RowSource, warnings: DataWarnings) -> list[QuestionRow]:
        return read_questions(
            source,
            question=self.question,
            context=self.context,
            answers=self.answers,
            id=self.id,
            impossible=self.impossible,
            warnings=warnings,
        )

    def settled(self, splits: dict[Split, list[QuestionRow]], warnings: DataWarnings) -> dict[Split, list[QuestionRow]]:
        """Refuses a split whose questions have answers, none of them in its context: there is nothing to learn from."""
        for split, rows in splits.items():
            answered = [row for row in rows if row.answers]
            if answered and not any(row.places for row in answered):
                raise UserError(
                    f"task.{split}: not one of its {len(answered):,} answers stands in its context (the first: "
                    f"'{answered[0].answers[0].text:.30}' of {answered[0].origin}); are they the right columns?"
                )
        return splits

    def unit(self, row: QuestionRow) -> str:
        return row.context

    def as_text(self, row: QuestionRow) -> tuple[str, str | None]:
        answer = row.answers[0].text if row.answers else NO_ANSWER if row.impossible else None
        return f"{self.name} question: {row.question} context: {row.context}", answer

    def measure_text(self, rows: Sequence[QuestionRow], generated: Sequence[str], nats: Likelihood) -> dict[str, Score]:
        return self.measure(rows, ["" if answer == NO_ANSWER else answer for answer in generated])

    def measure(self, rows: Sequence[QuestionRow], answers: Sequence[str]) -> dict[str, Score]:
        """F1 and exact match of answers; "" is none."""
        gold = [[answer.text for answer in row.answers] for row in rows]
        if self.korean:
            return {"f1": korquad_f1(answers, gold), "exact_match": korquad_exact_match(answers, gold)}
        return {"f1": answer_f1(answers, gold), "exact_match": exact_match(answers, gold)}

    @property
    def module(self) -> type["QuestionAnswering"]:
        return QuestionAnswering


class QuestionAnswering(FineTuning):
    """Two linear scores of every state.

    The question stands first, so that a causal decoder knows it when it reads the context. The position that stands
    for "no answer" is the first token, or, where that has seen nothing, the last.
    """

    task: QuestionTask
    smooths: ClassVar[bool] = False

    def check(self) -> None:
        self.may_be_none = bool(self.task.no_answer)
        is_causal = not self.start.has_encoder and self.tuning.attention == "as_trained"
        self.none_is_first = bool(self.start.template.before) and not is_causal

    def build_heads(self) -> None:
        self.head = LinearHead(self.start.body.width, 2, self.tuning.dropout)

    def learn_labels(self, rows: Sequence[QuestionRow]) -> None:
        """Finds whether a question may have no answer."""
        if self.task.no_answer is None:
            self.may_be_none = any(row.impossible for row in rows)
        self.labels = ["answer", "no answer"] if self.may_be_none else ["answer"]

    def restore(self, recorded: Mapping[str, Any]) -> None:
        super().restore(recorded)
        self.may_be_none = "no answer" in self.labels

    def examples(self, rows: Sequence[QuestionRow], warnings: DataWarnings) -> list[TaskExample]:
        encode, template = self.start.tokenizer.encode_batch, self.start.template
        questions = encode([row.question for row in rows], add_special_tokens=False)
        contexts = encode([row.context for row in rows], add_special_tokens=False)
        num_special, found = len(template.around((), ())[0]), []
        longest = int((self.max_length - num_special) * LONGEST_QUESTION)
        if longest < 1:
            raise UserError(f"data.max_length = {self.max_length} leaves no room for a question and its context")
        for number, (row, question, context) in enumerate(zip(rows, questions, contexts, strict=True)):
            question_ids = question.ids[:longest]
            if len(question.ids) > longest:
                warnings.add(f"questions of more than {longest} tokens, their ends cut off", row.origin)
            room = self.max_length - num_special - len(question_ids)
            windows = sliding_windows(
                len(context.ids), length=room, stride=min(self.task.stride or max(room // 2, 1), room)
            )
            span, is_known = None, row.impossible or bool(row.places)
            if row.places:
                span = answer_tokens(context.offsets, row.places[0].start, row.places[0].end)
            for window in windows:
                found.append(
                    self._window(
                        len(found), number, question_ids, context.ids, window, within(window, span), is_known=is_known
                    )
                )
        return found

    def _window(
        self,
        index: int,
        row: int,
        question: list[int],
        context: list[int],
        window: tuple[int, int],
        span: tuple[int, int] | None,
        *,
        is_known: bool,
    ) -> TaskExample:
        template = self.start.template
        read, segments = template.around(question, context[window[0] : window[1]])
        first = len(template.before) + len(question) + len(template.behind)
        none = 0 if self.none_is_first else len(read) - 1
        places = [none, none] if span is None else [first + span[0], first + span[1]]
        targets = [np.array([place] * is_known, dtype=np.int64) for place in places]
        stacks = {"encoder_ids": read} if self.start.has_encoder else {"decoder_ids": read}
        return TaskExample(
            token_term="start",
            index=index,
            row=row,
            **stacks,
            segments=segments,
            positions={"start": np.zeros_like(targets[0]), "end": np.zeros_like(targets[1])},
            labels={"start": targets[0], "end": targets[1]},
            where=np.array([*window, first, none]),
        )

    def scores(self, batch: Batch) -> Tensor:
        """[B, 2, length] in float32 at least; what is neither context nor the place of no answer cannot be chosen."""
        assert self.body is not None
        assert batch.segments_BS is not None
        states_BTD = states_of(self.body, batch, is_causal=self.is_causal)
        scores_B2T = self.head(states_BTD.to(self.head.classifier.weight.dtype)).transpose(1, 2)
        may_be = batch.segments_BS == 1
        if self.none_is_first:
            may_be[:, 0] = True
        scores_B2T = scores_B2T if scores_B2T.dtype == torch.float64 else scores_B2T.float()
        return scores_B2T.masked_fill(~may_be[:, None], -1e30)

    def terms_of(self, scores: Tensor, batch: Batch, *, count_correct: bool) -> dict[str, Term]:
        terms = {}
        for number, name in enumerate(("start", "end")):
            targets, scores_NT = batch.labels[name].ids_N, scores[rows_of(batch, name), number]
            loss = F.cross_entropy(scores_NT, targets, reduction="sum")
            correct = (scores_NT.argmax(dim=-1) == targets).sum().to(loss.dtype) if count_correct else None
            terms[name] = Term(loss, loss, len(targets), len(targets), correct)
        return terms

    def outputs(self, scores: Tensor, batch: Batch) -> list[np.ndarray]:
        """float64[2, length], logits of first and last token."""
        return as_arrays(scores)

    def decode_predictions(
        self, rows: Sequence[QuestionRow], examples: Sequence[TaskExample], outputs: Sequence[np.ndarray]
    ) -> list[FoundAnswer]:
        """The best span over all windows of a row's context."""
        windows: list[list[WindowLogits]] = [[] for _ in rows]
        for example, (starts, ends) in zip(examples, outputs, strict=True):
            assert example.where is not None
            begin, stop, first, none = example.where.tolist()
            here = slice(first, first + stop - begin)
            found = WindowLogits(
                window=(begin, stop), starts=starts[here], ends=ends[here], none=float(starts[none] + ends[none])
            )
            windows[example.row].append(found)
        contexts = self.start.tokenizer.encode_batch([row.context for row in rows], add_special_tokens=False)
        return [
            best_answer(
                row.context,
                context.offsets,
                found,
                longest=self.task.longest_answer,
                may_be_none=self.may_be_none,
                threshold=self.task.threshold,
            )
            for row, context, found in zip(rows, contexts, windows, strict=True)
        ]

    def ceiling(self, rows: Sequence[QuestionRow]) -> list[FoundAnswer]:
        """What a perfect model would predict: the rows' own answers, as tokens and windows can carry them."""
        examples = self.examples(rows, DataWarnings())
        outputs = []
        for example in examples:
            logits_2T = np.full((2, len(example)), -CERTAIN)
            for number, name in enumerate(("start", "end")):
                logits_2T[number, example.labels[name]] = 0.0
            outputs.append(logits_2T)
        return self.decode_predictions(rows, examples, outputs)

    def measure_predictions(self, rows: Sequence[QuestionRow], predictions: Sequence[FoundAnswer]) -> dict[str, Score]:
        """F1 and exact match, and the ceiling of each: what the rows' own answers come to through the tokens."""
        found, best = (
            self.task.measure(rows, [one.text for one in each]) for each in (predictions, self.ceiling(rows))
        )
        return {**found, **{f"{name}_ceiling": Score(value=score.value) for name, score in best.items()}}

    def row_of(self, given: Any) -> QuestionRow:
        question, context = columns_of(given, (self.task.question, self.task.context))
        return QuestionRow(id="", question=question, context=context)

    def to_json(self, row: QuestionRow, prediction: FoundAnswer) -> dict[str, Any]:
        place = None if prediction.is_none else {"start": prediction.start, "end": prediction.end}
        return {
            "answer": None if prediction.is_none else prediction.text,
            "place": place,
            "score": prediction.score,
            "probability": prediction.probability,
        }

    def format(self, row: QuestionRow, fields: dict[str, Any]) -> str:
        place, probability = fields["place"], f"{fields['probability']:.1%}"
        if place is None:
            return f"no answer  ({probability})"
        return f"{fields['answer']}  (at {place['start']}-{place['end']}, {probability})"
