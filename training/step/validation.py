"""Validation: sums over the same windows under the same noise, every time, of the weights or of their average."""

from abc import ABC, abstractmethod
from typing import Any

from training.optimizers.averaging import WeightAverage
from training.step.repeated import RepeatedSteps
from training.step.terms import Result, Sums, Term, named_validation


class ValidatedSteps(RepeatedSteps, ABC):
    """A module that is validated between its steps.

    Attributes:
        average: of the weights, where optimizer.ema_decay is set.
        validation_results: the loss terms of the last validation.
        validation_metrics: what it found beside them.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.average: WeightAverage | None = None
        self.validation_sums = Sums()
        self.validation_results: dict[str, Result] = {}
        self.validation_metrics: dict[str, float] = {}

    @abstractmethod
    def terms(self, batch: Any, *, count_correct: bool) -> dict[str, Term]:
        """The loss terms of a batch."""

    @property
    def beside_loss(self) -> tuple[str, ...]:
        """Terms of a validation that are no part of its loss, such as those of one of several objectives."""
        return ()

    def validation_cost(self) -> float:
        """What the last validation makes of the weights; those with the lowest are the best, and are kept."""
        return sum(result.loss for result in self.validation_results.values())

    def headline_metrics(self) -> dict[str, float]:
        """Those of `validation_metrics` that are printed; all of them are logged."""
        return self.validation_metrics

    def on_validation_start(self) -> None:
        """Validated is the average of the weights, where there is one, until everything that follows has seen it."""
        if self.average is not None:
            self.average.swap()

    def on_validation_end(self) -> None:
        if self.average is not None:
            self.average.swap()

    def validate(self, batch: Any) -> None:
        self.validation_sums.add(self.terms(batch, count_correct=True))

    def on_validation_epoch_end(self) -> None:
        """Takes what the validation found, for the callbacks of a run, and for those that monitor a number."""
        self.validation_results = self.validation_sums.read()
        self.validation_metrics = self.measure_validation()
        self.log_dict(self.validation_numbers, logger=False, batch_size=1)

    def measure_validation(self) -> dict[str, float]:
        """What the validation found beside the loss terms; `validation_results` holds these already."""
        return {}

    @property
    def validation_numbers(self) -> dict[str, float]:
        """What the last validation found, by the names under which it is logged."""
        return named_validation(self.validation_results, self.validation_metrics, self.beside_loss)
