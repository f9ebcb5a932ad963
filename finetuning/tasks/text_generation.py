"""Language modelling of a corpus: a text is predicted from its first token on, and evaluated in bits per byte.

    prompt     nothing, or the beginning of a text
    predicts   Thank you for inviting me to your party last week .

loss = that of finetuning/core/generative.py; the metric is bits per UTF-8 byte, which does not depend on the tokenizer
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from common.errors import UserError
from common.ranges import check_ranges
from data.text.sources import RowSource
from finetuning.core.base import FineTuning
from finetuning.core.generative import GenerativeFineTuning
from finetuning.core.task import LONGEST, Task
from finetuning.data.batch import TaskExample
from finetuning.data.inputs import columns_of
from finetuning.data.parse import read_texts
from finetuning.data.rows import DataWarnings, TextRow
from finetuning.metrics.metrics import Score, bits_per_byte
from models.generation.decoding import RANGES, Decoding


@dataclass(frozen=True, kw_only=True)
class GenerationTask(Task):
    """Texts as they stand.

    Args:
        text: column of the texts.
        longest_text: tokens that predict.py generates at most.
        temperature: of its sampling; 0 takes the likeliest token.
        top_p: of its sampling: the share of the probability that tokens are drawn from.
    """

    text: str = "text"
    longest_text: int = 64
    temperature: float = 0.8
    top_p: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {"longest_text": LONGEST, "temperature": RANGES["temperature"], "top_p": RANGES["top_p"]}
        check_ranges("task.", ranges, vars(self))

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("loss",)

    def read(self, source: RowSource, warnings: DataWarnings) -> list[TextRow]:
        return [row for row in read_texts(source, texts=(self.text,), warnings=warnings) if row.texts[0].strip()]

    def unit(self, row: TextRow) -> str:
        return row.texts[0]

    @property
    def decoding(self) -> Decoding:
        """How a continuation is generated."""
        return Decoding(
            max_new_tokens=self.longest_text,
            temperature=self.temperature,
            top_p=self.top_p if self.temperature else 1.0,
        )

    @property
    def module(self) -> type["TextGeneration"]:
        return TextGeneration


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRow(TextRow):
    """The beginning of a text, which is to be continued."""


class TextGeneration(GenerativeFineTuning):
    """A causal decoder that predicts the text itself; one longer than `data.max_length` is split into pieces."""

    task: GenerationTask
    closes_source: ClassVar[tuple[str, ...]] = ()

    @property
    def decoding(self) -> Decoding:
        return self.task.decoding

    def check(self) -> None:
        super().check()
        if self.start.has_encoder:
            raise UserError(
                f"task.name = {self.task.name} continues a text, and this decoder needs a source that its encoder "
                f"reads: take a causal_lm run, or give the task a source (finetuning.tasks.text_to_text.TextToTextTask)"
            )

    def examples(self, rows: Sequence[TextRow], warnings: DataWarnings) -> list[TaskExample]:
        room, found, template = self.max_length, [], self.start.template
        encoded = self.start.tokenizer.encode_batch([row.texts[0] for row in rows], add_special_tokens=False)
        for number, (row, text) in enumerate(zip(rows, encoded, strict=True)):
            ids = np.array([*template.before, *text.ids, *template.target_behind], dtype=np.int64)
            if isinstance(row, PromptRow):
                prompt = ids[: -len(template.target_behind)][-max(room - self.task.longest_text, 1) :]
                none = np.zeros(0, dtype=np.int64)
                found.append(
                    TaskExample(
                        token_term="target",
                        index=len(found),
                        row=number,
                        decoder_ids=prompt,
                        positions={"target": none},
                        labels={"target": none},
                        where=np.array([len(prompt)]),
                    )
                )
                continue
            if len(ids) - 1 > room:
                warnings.add(f"texts longer than data.max_length = {room}, split into pieces", row.origin)
            for start in range(0, len(ids) - 1, room):
                labels = ids[start + 1 : start + room + 1]
                found.append(
                    TaskExample(
                        token_term="target",
                        index=len(found),
                        row=number,
                        decoder_ids=ids[start : start + room][: len(labels)],
                        positions={"target": np.arange(len(labels))},
                        labels={"target": labels},
                        where=np.array([len(labels)]),
                    )
                )
        return found

    def predict(self, examples: Sequence[TaskExample], *, batch_size: int) -> Iterator[tuple[int, Any]]:
        """The continuation of each prompt, or the nats of each text."""
        are_prompts = all(not len(example.labels["target"]) for example in examples)
        return (GenerativeFineTuning if are_prompts else FineTuning).predict(self, examples, batch_size=batch_size)

    def decode_predictions(
        self, rows: Sequence[TextRow], examples: Sequence[TaskExample], outputs: Sequence[Any]
    ) -> list[Any]:
        """The nats of every row, or the continuation of a prompt."""
        if rows and isinstance(rows[0], PromptRow):
            return list(outputs)
        nats = np.zeros(len(rows))
        for example, output in zip(examples, outputs, strict=True):
            nats[example.row] += output
        return nats.tolist()

    def measure_predictions(self, rows: Sequence[TextRow], predictions: Sequence[float]) -> dict[str, Score]:
        return {"bits_per_byte": bits_per_byte(predictions, [len(row.texts[0].encode()) for row in rows])}

    def row_of(self, given: Any) -> TextRow:
        return PromptRow(texts=columns_of(given, (self.task.text,)))

    def to_json(self, row: TextRow, prediction: Any) -> dict[str, Any]:
        return {"text": prediction} if isinstance(row, PromptRow) else {"nats": prediction}
