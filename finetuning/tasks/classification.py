"""Classification and regression of one text or two: a pooled state -> a label, several labels, or a number.

    input      [CLS] Thank you for inviting me . [SEP] It was a pleasure . [SEP]
    predicts   follows

loss = sum of -log p(label | texts) / number of texts; of several labels, the mean of their binary losses; of a number,
half the squared error after the training numbers are brought to mean 0 and variance 1
"""

from collections.abc import Sequence
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
from finetuning.body.body import lengths_of, make_body, states_of
from finetuning.body.tuning import Pooling
from finetuning.core.base import FineTuning
from finetuning.core.heads import LinearHead, as_arrays, pooled, pooling_of, rows_of
from finetuning.core.task import Task
from finetuning.data.batch import TaskExample
from finetuning.data.inputs import columns_of
from finetuning.data.labels import UNSEEN, LabelNames, Split, label_names, label_targets, without_unlabelled
from finetuning.data.parse import LabelForm, read_texts
from finetuning.data.rows import DataWarnings, TextRow
from finetuning.data.texts import balanced_weights, scale_of, shortened
from finetuning.metrics.from_source import Likelihood
from finetuning.metrics.label_scores import scores_of_labels, scores_of_numbers, scores_of_sets
from finetuning.metrics.metrics import Score, mean_of
from models.transformer.transformer import Transformer
from training.step.terms import Term


@dataclass(frozen=True, kw_only=True)
class ClassificationTask(Task):
    """The label of a text, or the relation between two texts.

    Args:
        texts: columns of the texts, one or two.
        label: column of the label.
        form: `one` label a row; `many`, a list or text parted by `separator`; or a `number` (regression).
        separator: what parts several labels.
        label_names: names of the labels, in the order of their numbers; null takes those of the training rows.
        first_label: number of the first of `label_names` in files that have numbers for them (AG News: 1).
    """

    texts: tuple[str, ...] = ("text",)
    label: str = "label"
    form: LabelForm = "one"
    separator: str = ","
    label_names: tuple[str, ...] | None = None
    first_label: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges("task.", {"first_label": Range(-(10**9), 10**9)}, vars(self))
        if len(self.texts) not in (1, 2):
            raise UserError(f"task.texts = {list(self.texts)} must name one column or two")
        if self.first_label and self.label_names is None:
            raise UserError(f"task.first_label = {self.first_label} is the number of a name: give task.label_names")

    @property
    def metrics(self) -> tuple[str, ...]:
        of_forms = {"one": ("accuracy", "macro_f1", "mcc", "f1"), "many": ("accuracy", "macro_f1", "micro_f1")}
        return of_forms.get(self.form, ("pearson", "spearman"))

    def read(self, source: RowSource, warnings: DataWarnings) -> list[TextRow]:
        return read_texts(
            source, texts=self.texts, label=self.label, form=self.form, separator=self.separator, warnings=warnings
        )

    def settled(self, splits: dict[Split, list[TextRow]], warnings: DataWarnings) -> dict[Split, list[TextRow]]:
        return without_unlabelled(splits, self.label_names, warnings) if self.form == "one" else splits

    def unit(self, row: TextRow) -> str:
        return "\0".join(row.texts)

    def named(self, names: Sequence[str]) -> LabelNames:
        """These labels as files may spell them: by numbers as well, where the task gives their names."""
        return LabelNames(names=names, first_label=None if self.label_names is None else self.first_label)

    def _name_of(self, row: TextRow) -> str:
        """The label of a row by its name; one that is none of `label_names` is its own."""
        names = self.label_names or ()
        place = self.named(names).id_of(str(row.label))
        return str(row.label) if place == UNSEEN else names[place]

    def as_text(self, row: TextRow) -> tuple[str, str | None]:
        if self.form != "one":
            return super().as_text(row)
        columns = " ".join(f"{column}: {text}" for column, text in zip(self.texts, row.texts, strict=True))
        return f"{self.name} {columns}", None if row.label is None else self._name_of(row)

    def measure_text(self, rows: Sequence[TextRow], generated: Sequence[str], nats: Likelihood) -> dict[str, Score]:
        """Accuracy; a text that is no label's name is wrong."""
        return {
            "accuracy": mean_of(float(text == self._name_of(row)) for row, text in zip(rows, generated, strict=True))
        }

    @property
    def module(self) -> type["Classification"]:
        return Classification


class Classification(FineTuning):
    """A linear layer on one pooled state of the text.

    By default (`tuning.pooling = auto`) the state is that of the last token of a causal decoder, and the mean of the
    encoder's states elsewhere. Of two texts each has a mean of its own, and the layer takes both, their difference and
    their product (`compared`), so that it can distinguish them where the body has no token types, as the `lab` preset
    has none. `cls` of an encoder is BERT's pooling, with its pooler. `last` of an encoder-decoder is BART's: the
    decoder reads the text as well, shifted by one as in pretraining, and its state at the position that predicts the
    text's last token is taken (Lewis et al. 2020, 3.1).
    """

    task: ClassificationTask
    pools: ClassVar[bool] = True
    knows_classes: ClassVar[bool] = True

    def check(self) -> None:
        has_both = self.start.has_encoder and self.start.has_decoder
        is_causal = not self.start.has_encoder and self.tuning.attention == "as_trained"
        self.pooling: Pooling = pooling_of(self.tuning.pooling, is_causal=is_causal, has_both=has_both)
        if self.task.form == "number" and self.tuning.label_smoothing:
            raise UserError("tuning.label_smoothing: a number has no other labels to share its probability with")
        if self.task.form != "one" and self.tuning.class_weights != "none":
            raise UserError("tuning.class_weights weighs the labels of tasks with one label a text")
        self.decodes = not self.start.has_encoder or (has_both and self.pooling in ("decoder_start", "last"))
        self.number_scale = (0.0, 1.0)  # mean and deviation of the training numbers
        self.label_weights: list[float] = []

    def build_body(self) -> Transformer:
        return make_body(self.start, dropout=self.tuning.dropout, decoder=self.decodes, head=False)

    def build_heads(self) -> None:
        num_classes = 1 if self.task.form == "number" else len(self.labels)
        self.head = LinearHead(
            self.start.body.width * (4 if self.pooling == "mean" and len(self.task.texts) == 2 else 1),
            num_classes,
            self.tuning.dropout,
            bias=self.start.has_encoder,  # Hugging Face's causal classes have none
            has_pooler=self.start.has_encoder and (self.pooling == "cls" or (self.pooling == "last" and self.decodes)),
        )
        self.weights_C: Tensor
        self.register_buffer("weights_C", torch.tensor(self.label_weights or [1.0] * num_classes), persistent=False)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}scale"] = torch.tensor(self.number_scale, dtype=torch.float64, device="cpu")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any, **named: Any) -> None:
        self.number_scale = tuple(state_dict.pop(f"{prefix}scale").tolist())  # no buffer: some devices lack float64
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)

    def learn_labels(self, rows: Sequence[TextRow]) -> None:
        """Finds the labels' names and how rare they are, or mean and deviation of the numbers.

        Raises:
            UserError: where there are fewer than two labels, or a label is none of `task.label_names`.
        """
        if self.task.form == "number":
            self.number_scale = scale_of([row.label for row in rows if isinstance(row.label, float)])
            return
        self.labels = list(self.task.label_names or label_names(rows))
        if self.task.metric == "f1" and len(self.labels) != 2:
            raise UserError(f"task.metric = f1 is of two labels, and there are {len(self.labels)}: choose macro_f1")
        found = label_targets(rows, self.task.named(self.labels))
        if self.tuning.class_weights == "balanced":
            self.label_weights = balanced_weights(found, len(self.labels))

    def _targets(self, rows: Sequence[TextRow], warnings: DataWarnings) -> np.ndarray:
        """[rows] or [rows, classes], the target of each."""
        if self.task.form == "number":
            mean, deviation = self.number_scale
            return (np.array([row.label for row in rows], dtype=np.float64) - mean) / deviation
        found = label_targets(rows, self.task.named(self.labels), warnings)
        return found.astype(np.float64) if self.task.form == "many" else found

    def examples(self, rows: Sequence[TextRow], warnings: DataWarnings) -> list[TaskExample]:
        template, num_texts = self.start.template, len(self.task.texts)
        room = self.max_length - len(template.around(*[()] * num_texts)[0])
        encoded = [
            self.start.tokenizer.encode_batch([row.texts[number] for row in rows], add_special_tokens=False)
            for number in range(num_texts)
        ]
        has_labels = bool(rows) and rows[0].label is not None
        targets = self._targets(rows, warnings) if has_labels else np.zeros(len(rows), dtype=np.int64)
        found = []
        for index, (row, *texts) in enumerate(zip(rows, *encoded, strict=True)):
            ids = shortened([text.ids for text in texts], room)
            if sum(map(len, ids)) < sum(len(text.ids) for text in texts):
                warnings.add(f"texts longer than data.max_length = {self.max_length}, their ends cut off", row.origin)
            is_unseen = self.task.form == "one" and targets[index] < 0
            labels = targets[index : index + (has_labels and not is_unseen)]
            stacks = self._stacks(*template.around(*ids))
            places = np.zeros(len(labels), dtype=np.int64)
            found.append(
                TaskExample(
                    token_term="label",
                    index=index,
                    row=index,
                    **stacks,
                    positions={"label": places},
                    labels={"label": labels},
                )
            )
        return found

    def _stacks(self, read: np.ndarray, segments: np.ndarray) -> dict[str, np.ndarray]:
        """The input of each stack."""
        if not self.start.has_encoder:
            return {"decoder_ids": read, "segments": segments}
        stacks = {"encoder_ids": read, "segments": segments}
        if self.decodes:
            start = np.array(self.start.template.start)
            stacks["decoder_ids"] = start if self.pooling == "decoder_start" else np.concatenate([start, read[:-1]])
        return stacks

    def scores(self, batch: Batch) -> Tensor:
        """[B, classes] in float32 at least."""
        assert self.body is not None
        states_BTD, lengths_B = states_of(self.body, batch, is_causal=self.is_causal), lengths_of(batch)
        pooled_BD = pooled(states_BTD, lengths_B, batch.segments_BS, self.pooling, len(self.task.texts))
        scores_BC = self.head(pooled_BD.to(self.head.classifier.weight.dtype))
        return scores_BC if scores_BC.dtype == torch.float64 else scores_BC.float()

    def terms_of(self, scores: Tensor, batch: Batch, *, count_correct: bool) -> dict[str, Term]:
        targets, smoothing, correct = batch.labels["label"].ids_N, self.tuning.label_smoothing, None
        scores_NC = scores[rows_of(batch, "label")]
        if self.task.form == "number":
            loss = minimised = (scores_NC[:, 0] - targets.to(scores.dtype)).square().sum() / 2
            correct = torch.full_like(loss, torch.nan)  # accuracy is not defined for numbers
        elif self.task.form == "many":
            targets = targets.to(scores.dtype)
            smooth = targets * (1 - smoothing) + smoothing / 2
            loss, minimised = (
                F.binary_cross_entropy_with_logits(scores_NC, target, reduction="none").mean(dim=1).sum()
                for target in (targets, smooth)
            )
            correct = ((scores_NC > 0) == (targets > 0)).all(dim=1).sum()
        else:
            loss = F.cross_entropy(scores_NC, targets, reduction="sum")
            each_N = F.cross_entropy(scores_NC, targets, reduction="none", label_smoothing=smoothing)
            minimised = (each_N * self.weights_C.to(each_N.dtype)[targets]).sum()
            correct = (scores_NC.argmax(dim=-1) == targets).sum()
        counted = correct.to(loss.dtype) if correct is not None and count_correct else None
        return {"label": Term(loss, minimised, len(targets), len(targets), counted)}

    def outputs(self, scores: Tensor, batch: Batch) -> list[np.ndarray]:
        """float64[classes]: probabilities, or float64[1], the number."""
        if self.task.form == "number":
            mean, deviation = self.number_scale
            return as_arrays(scores.cpu().double() * deviation + mean)
        return as_arrays(scores.sigmoid() if self.task.form == "many" else scores.softmax(dim=-1))

    def decode_predictions(
        self, rows: Sequence[TextRow], examples: Sequence[TaskExample], outputs: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        return list(outputs)

    def measure_predictions(self, rows: Sequence[TextRow], predictions: Sequence[np.ndarray]) -> dict[str, Score]:
        """Accuracy first, or Pearson's correlation of numbers; no prediction equals a label unseen in training."""
        stacked = np.stack(predictions)
        if self.task.form == "number":
            return scores_of_numbers(stacked[:, 0], np.array([row.label for row in rows]))
        gold = label_targets(rows, self.task.named(self.labels), DataWarnings())
        if self.task.form == "many":
            return scores_of_sets(stacked > 0.5, gold)
        return scores_of_labels(stacked.argmax(axis=1), gold, num_labels=len(self.labels))

    def row_of(self, given: Any) -> TextRow:
        return TextRow(texts=columns_of(given, self.task.texts))

    def to_json(self, row: TextRow, prediction: np.ndarray) -> dict[str, Any]:
        if self.task.form == "number":
            return {"number": float(prediction[0])}
        probabilities = {label: float(p) for label, p in zip(self.labels, prediction, strict=True)}
        if self.task.form == "many":
            return {"labels": [label for label, p in probabilities.items() if p > 0.5], "probabilities": probabilities}
        return {"label": self.labels[int(prediction.argmax())], "probabilities": probabilities}

    def format(self, row: TextRow, fields: dict[str, Any]) -> str:
        if self.task.form == "number":
            return f"{fields['number']:.4g}"
        ranked = sorted(fields["probabilities"].items(), key=lambda pair: -pair[1])
        likeliest = ", ".join(f"{label} {p:.1%}" for label, p in ranked[:5])
        predicted = ", ".join(fields["labels"]) or "none" if self.task.form == "many" else fields["label"]
        return f"{predicted}  ({likeliest})"
