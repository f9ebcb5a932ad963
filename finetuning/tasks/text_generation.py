"""Text generation: a text is said from its beginning on, and judged by the bits that it costs.

    reads      nothing, or the beginning of a text
    says       Thank you for inviting me to your party last week .

loss = that of finetuning/tasks/writing.py; what is reported are bits per UTF-8 byte, the same whatever the tokens
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.stream.batch import Batch
from data.text.sources import RowSource
from finetuning.data.batch import TaskExample
from finetuning.data.parse import read_texts
from finetuning.data.rows import DataWarnings, TextRow
from finetuning.data.texts import columns_of
from finetuning.metrics.metrics import Score, bits_per_byte
from finetuning.tasks.base import FineTuning
from finetuning.tasks.heads import rows_of
from finetuning.tasks.task import Task
from finetuning.tasks.writing import Writing
from models.generation.decoding import Decoding


@dataclass(frozen=True, kw_only=True)
class GenerationTask(Task):
    """Texts that are to be said.

    Args:
        text: column of the texts.
        longest_text: tokens of a continuation that is asked for.
        temperature: of a continuation that is asked for; 0 takes the likeliest token.
        top_p: of the same: the share of the probability that tokens are drawn from.
    """

    text: str = "text"
    longest_text: int = 64
    temperature: float = 0.8
    top_p: float = 0.95

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("loss",)

    def read(self, source: RowSource, warnings: DataWarnings) -> list[TextRow]:
        return [row for row in read_texts(source, texts=(self.text,), warnings=warnings) if row.texts[0].strip()]

    def unit(self, row: TextRow) -> str:
        return row.texts[0]

    @property
    def decoding(self) -> Decoding:
        """How a continuation is said."""
        return Decoding(
            max_new_tokens=self.longest_text,
            temperature=self.temperature,
            top_p=self.top_p if self.temperature else 1.0,
        )

    @property
    def module(self) -> type["TextGeneration"]:
        return TextGeneration


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning(TextRow):
    """A text that a user wants to see continued."""


class TextGeneration(Writing):
    """A causal decoder that says the text itself; a longer one than it reads is said in pieces."""

    task: GenerationTask
    closes_source: ClassVar[tuple[str, ...]] = ()

    @property
    def decoding(self) -> Decoding:
        return self.task.decoding

    def check(self) -> None:
        super().check()
        if self.start.has_encoder:
            raise ValueError(
                f"task.name = {self.task.name} continues a text, and this decoder says what an encoder has read: take "
                f"a causal_lm run, or give the task a source (finetuning.tasks.text_to_text.TextToTextTask)"
            )

    def examples(self, rows: Sequence[TextRow], warnings: DataWarnings) -> list[TaskExample]:
        room, found, template = self.max_length, [], self.start.template
        encoded = self.start.tokenizer.encode_batch([row.texts[0] for row in rows], add_special_tokens=False)
        for number, (row, text) in enumerate(zip(rows, encoded, strict=True)):
            is_asked = isinstance(row, Beginning)
            ids = np.array([*template.before, *text.ids, *template.said_behind], dtype=np.int64)
            if is_asked:
                prompt = ids[: -len(template.said_behind)][-max(room - self.task.longest_text, 1) :]
                none = np.zeros(0, dtype=np.int64)
                found.append(
                    TaskExample(
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
                warnings.add(f"texts longer than data.max_length = {room}, said in pieces", row.origin)
            for start in range(0, len(ids) - 1, room):
                labels = ids[start + 1 : start + room + 1]
                found.append(
                    TaskExample(
                        index=len(found),
                        row=number,
                        decoder_ids=ids[start : start + room][: len(labels)],
                        positions={"target": np.arange(len(labels))},
                        labels={"target": labels},
                        where=np.array([len(labels)]),
                    )
                )
        return found

    def outputs_of(self, scores: Tensor, batch: Batch) -> list[float]:
        """The nats of every row's labels."""
        nats_N = F.cross_entropy(scores.double(), batch.labels["target"].ids_N, reduction="none")
        sums_B = torch.zeros(len(batch.indices), dtype=torch.float64, device=nats_N.device)
        return sums_B.index_add(0, rows_of(batch, "target"), nats_N).tolist()

    def ask(self, examples: Sequence[TaskExample], *, batch_size: int) -> Iterator[tuple[int, Any]]:
        """The continuation of each beginning, or the nats of each text."""
        is_asked = all(not len(example.labels["target"]) for example in examples)
        return (Writing if is_asked else FineTuning).ask(self, examples, batch_size=batch_size)

    def decode_predictions(
        self, rows: Sequence[TextRow], examples: Sequence[TaskExample], outputs: Sequence[Any]
    ) -> list[Any]:
        """The nats of every row, or the continuation of a beginning."""
        if rows and isinstance(rows[0], Beginning):
            return list(outputs)
        nats = np.zeros(len(rows))
        for example, output in zip(examples, outputs, strict=True):
            nats[example.row] += output
        return nats.tolist()

    def measure_answers(self, rows: Sequence[TextRow], answers: Sequence[float]) -> dict[str, Score]:
        return {"bits_per_byte": bits_per_byte(answers, [len(row.texts[0].encode()) for row in rows])}

    def row_of(self, given: Any) -> TextRow:
        return Beginning(texts=columns_of(given, (self.task.text,)))

    def told(self, row: TextRow, answer: Any) -> dict[str, Any]:
        return {"text": answer} if isinstance(row, Beginning) else {"nats": answer}
