"""Validation loss: nats a label on held-out text, under noise that is the same at every validation.

Each objective has prediction targets of its own, and not even a perfect model has the same loss on two of them: this
shows how a run goes on, and ranks nothing across objectives.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from evaluation.scoring.results import EvaluationResult
from training.storage.run_dir import RunFolder


@dataclass(frozen=True, kw_only=True)
class ValidationLoss:
    """The loss that a run came to at its end."""

    def __call__(self, run_folder: Path) -> list[EvaluationResult]:
        """The loss that its summary holds: one item.

        Raises:
            UserError: where the run has not come to its end.
        """
        summary = RunFolder(run_folder).read_summary()
        if summary is None:
            raise UserError(f"{run_folder} has not come to its end")
        loss: float = summary["validation/loss"]
        return [
            EvaluationResult(
                metric="validation_loss",
                scores=np.array([loss]),
                strata=("all",),
                mean=loss,
                higher_is_better=False,
                rankable=False,
                beside={name: summary[name] for name in ("ln_vocabulary", "unigram_entropy")},
                unit="nats a label",
                description="Of each objective's own question, under fixed noise.",
            )
        ]
