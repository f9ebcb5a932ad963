"""Short trainings with the real modules on text of a Markov chain, and how far above the optimum they end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from data.stream.batch import IGNORE, Batch, Corruption, Example
from data.stream.collate import collate
from data.stream.loader import CorruptedWindows, HeldOutWindows
from data.stream.windows import Window, Windows
from objectives.core.base import Objective
from objectives.core.pretraining import Pretraining
from tests.objectives.floors.markov import MarkovChain
from tests.objectives.floors.optimum import NUM_TOKENS, VOCABULARY, Optimum, windows_of
from training.optimizers.optim import gradient_norm, learning_rate_factor, make_optimizer
from training.step.terms import Term

CHAIN = MarkovChain.random(NUM_TOKENS, seed=0, concentration=1.0)
Pairs = Sequence[tuple[Window, Example]]
Leak = Callable[[Window, Example], Example]  # what an objective with a bug would make of the example


class Gap(NamedTuple):
    """How far the mean loss of a label lies above its optimum, in nats, and its standard error."""

    mean: float
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class Training:
    """A short training.

    Args:
        module: what trains the objective; its network is made here.
        optimum: the least loss of each of its examples.
        window: tokens a window.
        steps, batch_size: every window is read once.
        held_out: windows that the gap is measured on.
    """

    module: Pretraining
    optimum: Optimum
    window: int
    steps: int
    batch_size: int
    held_out: int = 1000

    def gap(self, leak: Leak | None = None) -> Gap:
        """Trains, and compares with the optimum example by example; a leak shows the model what it should not see."""
        corrupt = leaking(self.module.objective.corruption(VOCABULARY), leak)
        self.module.build(vocab_size=VOCABULARY.size, window=self.window)
        training = windows_of(CHAIN, self.steps * self.batch_size, length=self.window, seed=1)
        self._train(CorruptedWindows(training, corrupt, seed=2))
        return self._measure(windows_of(CHAIN, self.held_out, length=self.window, seed=3), corrupt)

    def _train(self, examples: CorruptedWindows) -> None:
        """The exact step of training/step/module.py, without what only a run needs."""
        module, config = self.module.train(), self.module.optimizer_config
        optimizer = make_optimizer(module, config)
        for step in range(self.steps):
            positions = list(range(step * self.batch_size, (step + 1) * self.batch_size))
            term = term_of(module, batch_of(module.objective, examples.__getitems__(positions), self.window))
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * learning_rate_factor(config, step, self.steps)
            optimizer.zero_grad()
            (term.minimised_sum / term.divisor).backward()
            assert config.max_grad_norm is not None
            parameters = list(module.parameters())
            torch.nn.utils.clip_grads_with_norm_(parameters, config.max_grad_norm, gradient_norm(parameters))
            optimizer.step()

    @torch.no_grad()
    def _measure(self, windows: Windows, corrupt: Corruption) -> Gap:
        number = len(windows)
        honest = HeldOutWindows(windows, self.module.objective.corruption(VOCABULARY), seed=0, chosen=number)
        leaky = HeldOutWindows(windows, corrupt, seed=0, chosen=number)
        least = np.array([self.optimum(CHAIN, *honest[index]) for index in range(number)])
        losses, counts = losses_of(self.module.eval(), [leaky[index] for index in range(number)], self.window)
        above = losses - least
        return Gap(above.sum() / counts.sum(), above.std() * number**0.5 / counts.sum())


def leaking(corrupt: Corruption, leak: Leak | None) -> Corruption:
    """The corruption with a bug."""
    if leak is None:
        return corrupt
    return lambda window, rng, windows: leak(window, corrupt(window, rng, windows))


def batch_of(objective: Objective, pairs: Pairs, window: int) -> Batch:
    windows, examples = zip(*pairs, strict=True)
    max_lengths = objective.max_lengths(window)
    return collate(windows, examples, pad=VOCABULARY.pad, max_lengths=max_lengths, keep_documents_apart=False)


def term_of(module: Pretraining, batch: Batch) -> Term:
    return module.terms(batch, count_correct=False)[module.objective.token_term]


@torch.no_grad()
def losses_of(module: Pretraining, pairs: Pairs, window: int) -> tuple[np.ndarray, np.ndarray]:
    """float64[examples] nats, summed over the labels of each example, and their numbers."""
    counts = np.array([(example.token_labels != IGNORE).sum() for _, example in pairs])
    objective, network = module.objective, module.built
    prediction = objective.predictions(network, batch_of(objective, pairs, window))[objective.token_term]
    logits_NV = prediction.head(prediction.states_ND)
    nats_N = F.cross_entropy(logits_NV.double(), prediction.labels.ids_N, reduction="none")
    examples_N = np.repeat(np.arange(len(pairs)), counts)  # an example may have no label at all
    return np.bincount(examples_N, weights=nats_N.numpy(), minlength=len(pairs)), counts
