"""What tasks share whose prediction is a generated text: a source, and the target that a decoder generates from it.

    an encoder-decoder encodes the source and decodes the target; a causal decoder reads the source and a separator as
    its prompt, and generates the target behind it

loss = sum of -log p(token | source, tokens before it) / number of tokens of the targets
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import UserError
from data.stream.batch import Batch
from data.tokens.decoding import decode_generated
from finetuning.body.body import make_body, states_of
from finetuning.core.base import ROWS_AT_ONCE, FineTuning
from finetuning.core.heads import rows_of
from finetuning.data.batch import TaskExample
from finetuning.data.rows import DataWarnings
from models.generation.decoding import Decoding
from models.generation.generation import generate
from models.transformer.transformer import Transformer
from objectives.core.network import compiled_layers_of
from training.step.compilation import CompiledLayers
from training.step.terms import Term


class GenerativeFineTuning(FineTuning):
    """A body with its head over the vocabulary; nothing beside it is new. The loss chooses the best weights."""

    selects_by_loss: ClassVar[bool] = True
    closes_source: ClassVar[tuple[str, ...]] = ("sep",)  # what a causal decoder reads behind a source

    @property
    @abstractmethod
    def decoding(self) -> Decoding:
        """How a target is generated."""

    def check(self) -> None:
        if not self.start.has_decoder:
            raise UserError(
                f"task.name = {self.task.name} generates text, and this checkpoint is an encoder alone, which cannot "
                f"generate one token after another: take a run of causal_lm, denoising or span_corruption"
            )
        if self.tuning.freeze:
            raise UserError("tuning.freeze trains the new head alone, and a task that generates text has none")
        if self.tuning.attention == "bidirectional":
            raise UserError("tuning.attention = bidirectional would let a decoder see the tokens that it predicts")

    def build_body(self) -> Transformer:
        return make_body(self.start, dropout=self.tuning.dropout)

    @property
    def compiled_layers(self) -> CompiledLayers:
        return compiled_layers_of(self.start.body, self.start.has_encoder + self.start.has_decoder)

    def build_heads(self) -> None:
        """None: the body's own head over the vocabulary is used."""

    # --- examples ---

    def _cut(self, ids: Sequence[int], room: int, what: str, origin: str, warnings: DataWarnings) -> list[int]:
        """The beginning of a text, as long as there is room."""
        if len(ids) > room:
            warnings.add(f"{what} longer than the {room} tokens that there is room for, their ends cut off", origin)
        return list(ids[: max(room, 0)])

    def _room(self, taken: int) -> int:
        """Tokens that a source may have.

        Raises:
            UserError: where there is no room for one.
        """
        room = self.max_length - taken
        if room < 1:
            raise UserError(
                f"data.max_length = {self.max_length} leaves no room for a source: {taken} positions are taken by "
                f"special tokens and the longest target; raise data.max_length, lower what a target may have "
                f"(task.longest_target), or take a checkpoint with a longer data.window"
            )
        return room

    def encode_pairs(
        self,
        sources: Sequence[str],
        targets: Sequence[str | None],
        origins: Sequence[str],
        *,
        longest: int,
        warnings: DataWarnings,
    ) -> list[TaskExample]:
        """Examples in order.

        Args:
            sources: the source texts.
            targets: their targets; None where it is to be generated.
            origins: what each row is called in messages.
            longest: tokens of a target.
            warnings: takes what was cut.
        """
        encode = self.start.tokenizer.encode_batch
        encoded_sources = encode(list(sources), add_special_tokens=False)
        encoded_targets = encode([target or "" for target in targets], add_special_tokens=False)
        make = self._encoder_decoder_example if self.start.has_encoder else self._decoder_example
        found = []
        for index, (source, target, origin) in enumerate(zip(encoded_sources, encoded_targets, origins, strict=True)):
            has_target = targets[index] is not None
            ids = self._cut(target.ids, longest, "targets", origin, warnings) if has_target else None
            found.append(make(index, source.ids, ids, longest, origin, warnings))
        return found

    def _encoder_decoder_example(
        self, index: int, source: list[int], target: list[int] | None, longest: int, origin: str, warnings: DataWarnings
    ) -> TaskExample:
        template = self.start.template
        room = self._room(len(template.around(())[0]))
        read, segments = template.around(self._cut(source, room, "sources", origin, warnings))
        generated = np.array([*template.target_before, *(target or []), *template.target_behind], dtype=np.int64)
        if target is None:
            generated = generated[: len(template.target_before)]
        shifted = generated[: -1 if target is not None else None]
        ids = np.concatenate([np.array(template.start, dtype=np.int64), shifted])
        labels = generated if target is not None else generated[:0]
        return TaskExample(
            token_term="target",
            index=index,
            row=index,
            encoder_ids=read,
            segments=segments,
            decoder_ids=ids,
            positions={"target": np.arange(len(labels))},
            labels={"target": labels},
            where=np.array([len(template.start) + len(template.target_before)]),
        )

    def _decoder_example(
        self, index: int, source: list[int], target: list[int] | None, longest: int, origin: str, warnings: DataWarnings
    ) -> TaskExample:
        template = self.start.template
        behind = [self.start.vocabulary.id_of(role) for role in self.closes_source]
        room = self._room(len(template.before) + len(behind) + longest)
        prompt = [*template.before, *self._cut(source, room, "sources", origin, warnings), *behind]
        labels = np.array([*(target or []), *template.target_behind], dtype=np.int64)
        if target is None:
            labels = labels[:0]
        return TaskExample(
            token_term="target",
            index=index,
            row=index,
            decoder_ids=np.array([*prompt, *labels[:-1]], dtype=np.int64),
            positions={"target": len(prompt) - 1 + np.arange(len(labels))},
            labels={"target": labels},
            where=np.array([len(prompt)]),
        )

    # --- loss and generation ---

    @property
    def never(self) -> np.ndarray:
        """int64[...], the special ids that are not generated, since training never had them as targets."""
        template = self.start.template
        return self.start.vocabulary.never_targets(*template.target_before, *template.target_behind)

    def scores(self, batch: Batch) -> Tensor:
        """[N, V] in float32 at least, at the labels."""
        assert self.body is not None
        states_BTD = states_of(self.body, batch)
        logits_NV = self.body.logits(states_BTD.flatten(0, 1)[batch.labels["target"].positions_N])
        return logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()

    def terms_of(self, scores: Tensor, batch: Batch, *, count_correct: bool) -> dict[str, Term]:
        targets, smoothing = batch.labels["target"].ids_N, self.tuning.label_smoothing
        loss = F.cross_entropy(scores, targets, reduction="sum")
        minimised = F.cross_entropy(scores, targets, reduction="sum", label_smoothing=smoothing) if smoothing else loss
        correct = (scores.argmax(dim=-1) == targets).sum().to(loss.dtype) if count_correct else None
        return {"target": Term(loss, minimised, len(targets), len(targets), correct)}

    def outputs(self, scores: Tensor, batch: Batch) -> list[float]:
        """The negative log-likelihood of every row's labels, in nats."""
        nats_N = F.cross_entropy(scores, batch.labels["target"].ids_N, reduction="none").cpu().double()
        sums_B = torch.zeros(len(batch.indices), dtype=torch.float64, device="cpu")
        return sums_B.index_add(0, rows_of(batch, "target").cpu(), nats_N).tolist()

    def nats_of(self, sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
        """float64[rows], the negative log-likelihood of each target behind its source, its end included; in evaluation
        mode. What is longer than an example is cut as training's rows are.
        """
        longest, origins = self.decoding.max_new_tokens, [""] * len(sources)
        assert longest is not None
        examples = self.encode_pairs(sources, targets, origins, longest=longest, warnings=DataWarnings())
        found = dict(FineTuning.predict(self, examples, batch_size=ROWS_AT_ONCE))
        return np.array([found[row] for row in range(len(examples))], dtype=np.float64)

    @torch.inference_mode()
    def predict(self, examples: Sequence[TaskExample], *, batch_size: int) -> Iterator[tuple[int, Any]]:
        """The text generated for each example, with its number; prompts of similar length together."""
        assert self.body is not None
        assert not self.training
        decoding, template, tokenizer = self.decoding, self.start.template, self.start.tokenizer
        most = (
            self.start.max_positions if self.start.is_limited else self.max_length + (decoding.max_new_tokens or 0) + 1
        )
        order = sorted(range(len(examples)), key=lambda number: len(examples[number]))
        for start in range(0, len(order), batch_size):
            numbers = order[start : start + batch_size]
            part = [examples[number] for number in numbers]
            prompts = [example.decoder_ids[: int(example.where[0])].tolist() for example in part]  # pyright: ignore
            sources = [ids.tolist() for example in part if (ids := example.encoder_ids) is not None] or None
            generated = generate(
                self.body,
                prompts,
                sources=sources,
                decoding=decoding,
                eos=template.target_behind[0],
                never=self.never,
                max_positions=most,
                num_forced=len(template.target_before),
            )
            for number, one in zip(numbers, generated, strict=True):
                yield number, decode_generated(tokenizer, one.ids)

    def decode_predictions(
        self, rows: Sequence[Any], examples: Sequence[TaskExample], outputs: Sequence[Any]
    ) -> list[Any]:
        return list(outputs)

    def to_json(self, row: Any, prediction: Any) -> dict[str, Any]:
        return {"text": prediction}

    def format(self, row: Any, fields: dict[str, Any]) -> str:
        return fields["text"]
