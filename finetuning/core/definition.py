"""What a head defines: how rows become examples, what the loss is, how outputs are decoded into predictions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from data.stream.batch import Batch
from finetuning.data.batch import TaskExample
from finetuning.data.rows import DataWarnings
from finetuning.metrics.metrics import Score
from training.step.terms import Term


class HeadDefinition(ABC):
    """What a task's file holds, and nothing else does."""

    selects_by_loss: ClassVar[bool] = False  # whether the loss chooses the best weights, and not a metric
    pools: ClassVar[bool] = False  # whether a text is reduced to one vector
    knows_classes: ClassVar[bool] = False  # whether labels can be weighed
    smooths: ClassVar[bool] = True  # whether they can be smoothed

    labels: list[str]

    def check(self) -> None:
        """Raises UserError where the task makes no sense with this body."""

    @abstractmethod
    def build_heads(self) -> None:
        """Adds what is new beside the body."""

    def learn_labels(self, rows: Sequence[Any]) -> None:
        """Finds in the training rows what the head must know, such as `labels`."""

    def recorded(self) -> dict[str, Any]:
        """What a run's folder keeps of what was learned of the rows, beside the weights."""
        return {"labels": self.labels}

    def restore(self, recorded: Mapping[str, Any]) -> None:
        """Takes what `recorded` kept."""
        self.labels = list(recorded.get("labels", []))

    @abstractmethod
    def examples(self, rows: Sequence[Any], warnings: DataWarnings) -> list[TaskExample]:
        """The examples of rows, in order, numbered by `index`; a long row may be several. Counts what is cut."""

    @abstractmethod
    def scores(self, batch: Batch) -> Tensor:
        """The head's output for a batch, such as logits."""

    @abstractmethod
    def terms_of(self, scores: Tensor, batch: Batch, *, count_correct: bool) -> dict[str, Term]:
        """The loss terms of those scores."""

    @abstractmethod
    def outputs(self, scores: Tensor, batch: Batch) -> list[Any]:
        """For each row of the batch what predictions are decoded from: arrays on the CPU."""

    @abstractmethod
    def decode_predictions(
        self, rows: Sequence[Any], examples: Sequence[TaskExample], outputs: Sequence[Any]
    ) -> list[Any]:
        """The prediction for each row."""

    @abstractmethod
    def measure_predictions(self, rows: Sequence[Any], predictions: Sequence[Any]) -> dict[str, Score]:
        """The metrics of predictions; the first is the kind's own."""

    @abstractmethod
    def row_of(self, given: Any) -> Any:
        """An input of predict.py as a row without its label.

        Raises:
            UserError: where it has not this task's form.
        """

    @abstractmethod
    def to_json(self, row: Any, prediction: Any) -> dict[str, Any]:
        """A prediction as an object of JSON."""

    @abstractmethod
    def format(self, row: Any, fields: dict[str, Any]) -> str:
        """What `to_json` returned, as a line for a person."""
