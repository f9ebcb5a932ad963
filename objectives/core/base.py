"""The abstract objective: text to examples, and examples to loss terms. Plain data and functions, no weights.

`pretraining.py` trains the network that an objective declares; pictures, scoring and generation use the same object
without any training around it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor, nn

from common.errors import UserError
from common.ranges import SHARE, Range, check_ranges
from data.stream.batch import IGNORE, Batch, Corruption, Example, MaxLengths
from data.stream.order import Purpose, generator
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from models.bodies.make import BodyConfig
from objectives.core.network import MAIN, BodyPlan, Network, at_labels
from objectives.core.predictions import CrossEntropy, Prediction
from objectives.core.strategy import InferenceStrategy
from objectives.start.pretrained import Pretrained, open_pretrained
from training.step.budget import Budget

MEASURED_WINDOWS = 64  # on which mean lengths are measured, for counting FLOPs
FLOPS_OF_A_STEP = 3  # over those of a forward pass: the backward pass has two products for each of its one


DecoderAttention = Literal["causal", "bidirectional", "either", "prefix"]


def check_between_0_and_1(**rates: float) -> None:
    """Raises UserError where a rate would hide nothing or everything."""
    check_ranges("model.init_args.", dict.fromkeys(rates, Range(0, 1, low_open=True, high_open=True)), rates)


def check_share(**rates: float) -> None:
    """Raises UserError where a rate lies outside [0, 1]."""
    check_ranges("model.init_args.", dict.fromkeys(rates, SHARE), rates)


def check_spans_fit(mean_span_length: float, window: int) -> None:
    """Raises UserError where a mean span is longer than the windows that it is cut from."""
    if mean_span_length > window:
        raise UserError(
            f"model.init_args.mean_span_length = {mean_span_length:g} must be at most data.window = {window}: no span "
            f"is longer than its window"
        )


class SpecialTokenTemplate(NamedTuple):
    """Special tokens, by role: before and behind a single text, and the start token of a decoder beside an encoder."""

    before: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    decoder_start: str | None = None


class Objective(ABC):
    """A pretraining objective.

    A subclass names its stacks and its inference strategy, and defines the corruption of a window (`corrupt`) and how
    long the result is at most (`max_lengths`). It may add heads, further bodies and loss terms.

    Args:
        z_loss: weight of (log Z)², which keeps logits small; T5 was trained with 1e-4.
        init_from: source of the initial weights, in place of random ones: a folder of a run, of one of its checkpoints,
            or of transformers' save_pretrained, or a name on the Hugging Face hub. Its tokenizer is used as well.
        keep_documents_apart: whether attention stays within a document; set from `body.document_masking`.

    Raises:
        UserError: where a value is impossible.
    """

    uses_encoder: bool
    uses_decoder: bool
    template: SpecialTokenTemplate = SpecialTokenTemplate()  # as in training
    token_term: str  # the loss term whose labels are tokens, predicted by a body's own head
    token_role: str = MAIN  # the body that predicts them
    at_unigram_entropy: str = ""  # what it means for this objective that the loss of its tokens stays there
    inference: InferenceStrategy = InferenceStrategy()  # how it generates and scores
    decoder_attention: DecoderAttention = "causal"  # of a sole decoder
    beside_loss: tuple[str, ...] = ()  # terms of a validation that are no part of its loss
    marks: tuple[str, ...] = ()  # special tokens of the second format that it needs, by their roles
    frozen_roles: tuple[str, ...] = ()  # of trained bodies beside those that are trained

    def __init__(
        self, *, z_loss: float = 0.0, init_from: str | None = None, keep_documents_apart: bool = False
    ) -> None:
        check_share(z_loss=z_loss)
        self.cross_entropy, self.init_from = CrossEntropy(z_loss), init_from
        self.keep_documents_apart = keep_documents_apart

    # --- text to examples ---

    @abstractmethod
    def corrupt(self, window: Window, rng: np.random.Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """Inputs and targets made of a window: a pure function of the window and of the draws of `rng`.

        `windows` are there for objectives that read a second piece of text.
        """

    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        """`corrupt` over a vocabulary, as the loader's workers call it."""
        return partial(self.corrupt, vocabulary=vocabulary)

    @abstractmethod
    def max_lengths(self, window: int) -> MaxLengths:
        """Positions and targets, at most, of a window of that many raw tokens."""

    def nominal_rates(self, window: int) -> dict[str, float]:
        """The rates that the settings declare, under the names that objectives/inspection/rates.py measures."""
        return {"targets per raw token": self.max_lengths(window).targets / window}

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Raises UserError where the vocabulary lacks what this objective needs."""
        vocabulary.check_marks(self.marks, type(self).__name__)

    def check_data(self, windows: Windows) -> None:
        """Raises UserError where the corpus does not suit this objective."""

    def check_window(self, window: int) -> None:
        """Raises UserError where windows of that many raw tokens cannot be corrupted."""

    def check_budget(self, budget: Budget) -> None:
        """Raises UserError where the objective cannot use this budget."""

    # --- examples to loss terms ---

    def bodies(self, config: BodyConfig) -> dict[str, BodyPlan]:
        """The bodies by role; `body` is the main one.

        Raises:
            UserError: where the objective cannot use a body of this shape.
        """
        blocks = config.num_blocks(encoder=self.uses_encoder, decoder=self.uses_decoder)
        return {MAIN: BodyPlan(config=config, num_blocks=blocks)}

    def frozen(self, config: BodyConfig) -> dict[str, Pretrained]:
        """Trained bodies that stand beside those that are trained, by role; no checkpoint holds them.

        Raises:
            UserError: where one cannot be read, or cannot stand beside a body of this shape.
        """
        return {}

    def initial_weights(self, num_blocks: tuple[int, int]) -> Pretrained | None:
        """What the body of that many blocks begins with; None for random weights.

        Raises:
            UserError: where it cannot be read.
        """
        return None if self.init_from is None else open_pretrained(self.init_from)

    def heads(self, config: BodyConfig) -> dict[str, nn.Module]:
        """Modules beside the bodies, by name."""
        return {}

    def predictions(self, network: Network, batch: Batch) -> dict[str, Prediction]:
        """What the network predicts for each loss term."""
        return {self.token_term: self.predicted_tokens(network, network.states(batch), batch)}

    def predicted_tokens(self, network: Network, states: Tensor, batch: Batch) -> Prediction:
        """The prediction for `token_term` from the states [B, length, D] of the stack that predicts."""
        labels = batch.labels[self.token_term]
        return Prediction(at_labels(states, labels), network.body.logits, labels, loss=self.cross_entropy)

    def measures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Numbers whose means are logged beside the losses of training; by default those of the examples."""
        return batch.measures

    @property
    def likelihood_term(self) -> str | None:
        """The loss term that is the negative log likelihood of the text itself, every token once; None without one."""
        return None

    def validation_weight(self, term: str) -> float:
        """Weight of a term in the validation loss by which the best checkpoint is chosen."""
        return 1.0

    def check_branch(self, step: int, *, parent_steps: int, total_steps: int) -> None:
        """Raises UserError where a run of `total_steps` differs from a parent of `parent_steps` before `step`."""

    def exported(self, config: BodyConfig) -> dict[str, str | None]:
        """The class of transformers that each body becomes, by role; None is the one that its preset and stacks are."""
        return {MAIN: None}

    # --- what it costs ---

    def _first_examples(self, windows: Windows, vocabulary: Vocabulary) -> list[Example]:
        corrupt, sample = self.corruption(vocabulary), range(min(MEASURED_WINDOWS, len(windows)))
        return [corrupt(windows[index], generator(0, Purpose.DISPLAY, 0, index), windows) for index in sample]

    def mean_lengths(self, windows: Windows, vocabulary: Vocabulary) -> tuple[float, float, float]:
        """Mean positions of encoder and decoder, and targets, of a window, measured on the first of them."""
        examples = self._first_examples(windows, vocabulary)
        lengths = [
            (_length(e.encoder_ids), _length(e.decoder_ids), int((e.token_labels != IGNORE).sum())) for e in examples
        ]
        encoder, decoder, targets = np.mean(lengths, axis=0).tolist()
        return encoder, decoder, targets

    def fixed_lengths(self, windows: Windows, vocabulary: Vocabulary) -> tuple[int | None, int | None]:
        """The positions of encoder and decoder, where all of the first windows have as many; else None."""
        examples = self._first_examples(windows, vocabulary)
        encoder, decoder = {_length(e.encoder_ids) for e in examples}, {_length(e.decoder_ids) for e in examples}
        return (encoder.pop() if len(encoder) == 1 else None), (decoder.pop() if len(decoder) == 1 else None)

    def flops_per_window(self, network: Network, windows: Windows, vocabulary: Vocabulary) -> float:
        """Floating-point operations of a forward pass over one window."""
        encoder, decoder, targets = self.mean_lengths(windows, vocabulary)
        return network.flops(encoder=encoder, decoder=decoder, targets=targets)


def _length(ids: np.ndarray | None) -> int:
    return 0 if ids is None else len(ids)
