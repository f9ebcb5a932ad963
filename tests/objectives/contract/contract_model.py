"""What every objective must make of a model, and show of itself: the second half of the contract."""

import io
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from data.stream.batch import IGNORE, Batch
from objectives.core.base import Objective
from objectives.inspection.picture import Painter, legend, picture
from objectives.inspection.rates import count, measured
from tests.objectives.contract.contract import EDGES, LENGTH, some_windows
from tests.objectives.texts import VOCABULARY, batch_of, examples_of, key


def built(objective: Objective, *, length: int = LENGTH) -> Objective:
    """With a model, which does not drop out."""
    objective.build(vocab_size=VOCABULARY.size, window=length)
    return objective.eval()


def loss_of(objective: Objective, batch: Batch) -> Tensor:
    """What a step minimises."""
    terms = objective.terms(batch, count_correct=False).values()
    return torch.stack([term.minimised_sum / max(term.count, 1) for term in terms]).sum()


def an_untrained_model_knows_nothing(objective: Objective) -> None:
    """C31, C77: the loss of every term is finite and near the logarithm of its classes."""
    batch = batch_of(built(objective), some_windows())
    for name, prediction in objective.predictions(batch).items():
        term = objective.terms(batch, count_correct=True)[name]
        assert abs(term.loss_sum.item() / term.count - math.log(prediction.logits.shape[1])) < 1, name


# Parameters that no loss can reach, with the reason; there are none.
UNREACHED: set[str] = set()


def the_gradient_reaches_every_parameter(objective: Objective) -> None:
    loss_of(built(objective), batch_of(objective, some_windows())).backward()
    for name, parameter in objective.named_parameters():
        if name not in UNREACHED:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def a_batch_without_labels_has_no_gradient(objective: Objective) -> None:
    """Neither NaN nor an error: validation fills its last batches up with windows that have none."""
    windows = some_windows()
    blank = []
    for window, example in examples_of(objective.corruption(VOCABULARY), windows):
        labels = {term: np.full_like(labels, IGNORE) for term, labels in example.labels.items()}
        blank.append((window, replace(example, labels=labels)))
    loss = loss_of(built(objective), batch_of(objective, windows, blank))
    assert loss == 0
    loss.backward()
    for name, parameter in objective.named_parameters():
        assert parameter.grad is None or not parameter.grad.any(), name


def a_step_lowers_the_loss(objective: Objective) -> None:
    batch = batch_of(built(objective), some_windows())
    optimizer = torch.optim.SGD(objective.parameters(), lr=1e-3)
    before = loss_of(objective, batch)
    before.backward()
    optimizer.step()
    assert loss_of(objective, batch) < before


# --- what it shows and says of itself ---


def every_example_can_be_painted(objective: Objective) -> None:
    painter = Painter(VOCABULARY, lambda ids: " ".join(map(str, ids)))
    for windows in EDGES[:4]:
        for window, example in examples_of(objective.corruption(VOCABULARY), windows)[:8]:
            answers = np.zeros_like(example.labels[objective.token_term])
            panels = painter.panels(window, example, answers)
            for panel in panels:
                assert len({len(row) for row in panel.values()}) == 1
            console = Console(file=io.StringIO(), width=80)
            console.print(picture(panels, 80), legend(panels))


def its_rates_are_as_its_settings_say(objective: Objective) -> None:
    """Of what both name, with room for rounding; of a full window."""
    windows = some_windows(300, sentences=12)
    corrupt = objective.corruption(VOCABULARY)
    window = windows[0]
    found = measured(count(window, corrupt(window, key(draw), windows), VOCABULARY) for draw in range(300))
    assert all(math.isfinite(rate) for rate in found.values())
    nominal = objective.nominal_rates(len(window))
    for name in nominal.keys() & found.keys():
        assert abs(found[name] - nominal[name]) < 0.2 * nominal[name] + 0.02, name


def its_text_says_what_it_does(objective: Objective) -> None:
    """The file shows a picture and the loss; the class says more than nothing, and names its settings."""
    story = sys.modules[type(objective).__module__].__doc__ or ""
    assert "window" in story
    assert "loss = " in story
    assert "Args:" in (type(objective).__doc__ or "")


LAWS_OF_MODELS: list[Callable[[Any], None]] = [
    an_untrained_model_knows_nothing,
    the_gradient_reaches_every_parameter,
    a_batch_without_labels_has_no_gradient,
    a_step_lowers_the_loss,
    every_example_can_be_painted,
    its_rates_are_as_its_settings_say,
    its_text_says_what_it_does,
]
