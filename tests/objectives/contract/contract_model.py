"""What every objective must make of a model, and how it is shown: the second half of the contract."""

import copy
import io
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from data.stream.batch import Batch
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from objectives.inspection.picture import Painter, legend, picture
from objectives.inspection.rates import count, measured
from tests.devices.pretended import pretended
from tests.objectives.contract.contract import EDGES, some_windows
from tests.objectives.texts import VOCABULARY, batch_of, examples_of, key, mean_loss

LONGEST = 64  # tokens of a window: as many as the longest mean span of a config


def built(module: Pretraining, *, length: int = LONGEST) -> Pretraining:
    """With a network for windows of up to `length` tokens, which does not drop out."""
    module.build(vocab_size=VOCABULARY.size, window=length)
    return module.eval()


def loss_of(module: Pretraining, batch: Batch) -> Tensor:
    """What a step minimises."""
    return mean_loss(module.terms(batch, count_correct=False))


def an_untrained_model_knows_nothing(module: Pretraining) -> None:
    """C31, C77: the loss of every term is finite and near the logarithm of its classes."""
    batch = batch_of(module.objective, some_windows())
    for name, prediction in module.objective.predictions(built(module).built, batch).items():
        term = module.terms(batch, count_correct=True)[name]
        if not prediction.weight:  # of a member of a mixture, which has but a few labels
            continue
        classes = prediction.head(prediction.states_ND).shape[1]
        weights = prediction.labels.weights_N
        whole = term.divisor if weights is None else float(weights.sum())
        assert abs(term.loss_sum.item() / whole - math.log(classes)) < 1, name


# Parameters that no loss can reach, with the reason; there are none.
UNREACHED: set[str] = set()


def the_gradient_reaches_every_parameter(module: Pretraining) -> None:
    loss_of(built(module), batch_of(module.objective, some_windows())).backward()
    for name, parameter in module.named_parameters():
        if name not in UNREACHED and parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def a_batch_without_labels_has_no_gradient(module: Pretraining) -> None:
    """Neither NaN nor an error: validation fills its last batches up with windows that have none."""
    windows = some_windows()
    blank = []
    for window, example in examples_of(module.objective.corruption(VOCABULARY), windows):
        blank.append((window, example.blank()))
    loss = loss_of(built(module), batch_of(module.objective, windows, blank))
    assert loss == 0
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is None or not parameter.grad.any(), name


def a_step_lowers_the_loss(module: Pretraining) -> None:
    batch = batch_of(module.objective, some_windows())
    optimizer = torch.optim.SGD(built(module).parameters(), lr=1e-3)
    before = loss_of(module, batch)
    before.backward()
    optimizer.step()
    assert loss_of(module, batch) < before


def weights_after_a_step(module: Pretraining, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """The loss of a step, and the weights that it leaves, on the CPU."""
    optimizer, loss = module.make_optimizer(), loss_of(module, batch)
    loss.backward()
    optimizer.step()
    return loss.item(), {name: weight.detach().cpu() for name, weight in module.named_parameters()}


def it_is_built_and_trained_on_another_device_as_on_the_cpu(module: Pretraining) -> None:
    """There a tensor of the wrong device, a generator of the CPU, and float64 are refused, as on an Apple GPU."""
    batch, other = batch_of(module.objective, some_windows()), copy.deepcopy(module)
    loss, weights = weights_after_a_step(built(module), batch)
    with pretended("mps") as device:
        with torch.device("mps"):  # as Lightning builds it
            built(other)
        assert {weight.device.type for weight in other.parameters()} == {"mps"}
        loss_there, weights_there = weights_after_a_step(other, batch.to(device.device))
    assert math.isclose(loss, loss_there, rel_tol=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(weights_there[name].as_subclass(Tensor), weight, rtol=1e-3, atol=1e-4)


# --- how it is shown and described ---


def every_example_can_be_painted(objective: Objective) -> None:
    painter = Painter(VOCABULARY, lambda ids: " ".join(map(str, ids)))
    for windows in EDGES[:4]:
        for window, example in examples_of(objective.corruption(VOCABULARY), windows)[:4]:
            panels = painter.panels(window, example, np.zeros_like(example.token_labels))
            for panel in panels:
                assert len({len(row) for row in panel.values()}) == 1
            console = Console(file=io.StringIO(), width=80)
            console.print(picture(panels, 80), legend(panels))


def its_rates_are_as_its_settings_say(objective: Objective) -> None:
    """Of what both name, with room for rounding; of a full window."""
    windows = some_windows(300, sentences=12)
    corrupt = objective.corruption(VOCABULARY)
    window = windows[0]
    found = measured(count(window, corrupt(window, key(epoch=draw), windows), VOCABULARY) for draw in range(200))
    assert all(math.isfinite(rate) for rate in found.values())
    nominal = objective.nominal_rates(len(window))
    for name in nominal.keys() & found.keys():
        assert abs(found[name] - nominal[name]) < 0.2 * nominal[name] + 0.02, name


def its_text_describes_it(objective: Objective) -> None:
    """The file shows a picture and the loss; the class names its settings."""
    text = sys.modules[type(objective).__module__].__doc__ or ""
    assert "window" in text
    assert "loss = " in text
    assert "Args:" in (type(objective).__doc__ or "")


LAWS_OF_MODELS: list[Callable[[Any], None]] = [
    an_untrained_model_knows_nothing,
    the_gradient_reaches_every_parameter,
    a_batch_without_labels_has_no_gradient,
    a_step_lowers_the_loss,
    it_is_built_and_trained_on_another_device_as_on_the_cpu,
]
LAWS_OF_PICTURES: list[Callable[[Any], None]] = [
    every_example_can_be_painted,
    its_rates_are_as_its_settings_say,
    its_text_describes_it,
]
