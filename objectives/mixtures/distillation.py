"""Distillation: DistilBERT (Sanh et al. 2019, 2 and 3), by soft targets (Hinton et al. 2015).

    window     Thank you for inviting me to your party last week .
    reads      [CLS] Thank you [MASK] inviting me to [MASK] party last week . [SEP]     and so does the teacher
    predicts                   for                   your
    and        at every position what the teacher predicts there, and in which direction its state points

loss = 2 · sum of -log p(hidden token | all the rest) / number of hidden tokens
     + 5 · sum of T² KL(p of the teacher at temperature T || p of the body at T) / number of positions
     + 1 · sum of 1 - cos(state of the body, state of the teacher) / number of positions
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from numpy.random import Generator
from torch import Tensor

from common.errors import UserError
from common.ranges import Range, check_ranges, positive
from data.stream.batch import Batch, Example, MaxLengths
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from models.bodies.make import BodyConfig
from models.presets import TransformerConfig
from objectives.core.base import FLOPS_OF_A_STEP, Objective
from objectives.core.network import MAIN, Network, at_labels
from objectives.core.predictions import Prediction
from objectives.masked_diffusion import MaskedDiffusion
from objectives.masked_lm import MaskedLM
from objectives.mixtures.distances import CosineDistance, SoftTargets
from objectives.mixtures.teacher import STUDENT, every_other
from objectives.start.pretrained import Pretrained, open_pretrained
from objectives.weights.load import made
from training.setup.parsing import refusing

TEACHER = "teacher"
SOFT, COSINE = "distilled", "cosine"  # the loss terms beside the labels' own


class Distillation(Objective):
    """A body is trained to predict what a larger one predicts: masked, causal or encoder-decoder, as its teacher was.

    The teacher is frozen, in evaluation mode, and reads what the body reads. No checkpoint holds it: the run folder
    has the hash of its weights, and a run goes on with these alone. The body begins with layers of the teacher, spread
    from the first to the last, and its embeddings and head. Once trained it is used as a model of the teacher's kind,
    without the teacher.

    What differs from Sanh et al.: a window has its own number of hidden tokens, where the reference shares one out
    over a batch; `smoothing` of a masked LM is 0 unless `settings` set it.

    Args:
        teacher: a run, one of its checkpoints, or a folder of transformers, of the same vocabulary.
        objective: dotted path of the class of the hard loss; by default that of the teacher's run, else the masked LM.
        settings: those of the objective; by default those of the teacher's run, of a masked LM with one segment.
        temperature: T of the soft targets.
        hard_weight: of the loss of the labels.
        distillation_weight: of the divergence from the teacher's predictions.
        cosine_weight: of the distance from the teacher's states, which need the body's width; 0 leaves it out.
        positions: where the divergence is taken: at `all` that are no padding, or at the `labels`.
        begin_with_teacher: whether the body begins with layers of the teacher; else random, or with `init_from`.
        shared: what every objective takes.
    """

    frozen_roles: tuple[str, ...] = (TEACHER,)

    def __init__(
        self,
        *,
        teacher: str | None = None,
        objective: str | None = None,
        settings: dict[str, Any] | None = None,
        temperature: float = 2.0,
        hard_weight: float = 2.0,
        distillation_weight: float = 5.0,
        cosine_weight: float = 1.0,
        positions: Literal["all", "labels"] = "all",
        begin_with_teacher: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        weights = {"hard_weight": hard_weight, "distillation_weight": distillation_weight}
        weights["cosine_weight"] = cosine_weight
        ranges = {"temperature": positive(1e4), **dict.fromkeys(weights, Range(0, 1e6))}
        check_ranges("model.init_args.", ranges, {**weights, "temperature": temperature})
        if not any(weights.values()):
            raise UserError(f"model.init_args: one of {', '.join(weights)} must be above 0")
        self.teacher, self.begin_with_teacher = teacher, begin_with_teacher
        self.temperature, self.hard_weight, self.positions = temperature, hard_weight, positions
        self.distillation_weight, self.cosine_weight = distillation_weight, cosine_weight
        self.student = self._student(objective, settings)
        own = self.student
        self.uses_encoder, self.uses_decoder, self.template = own.uses_encoder, own.uses_decoder, own.template
        self.token_term, self.inference, self.marks = own.token_term, own.inference, own.marks
        self.decoder_attention, self.at_unigram_entropy = own.decoder_attention, own.at_unigram_entropy

    def _student(self, objective: str | None, settings: dict[str, Any] | None) -> Objective:
        """The objective of the labels.

        Raises:
            UserError: where it has other losses than that of its tokens.
        """
        path = objective or STUDENT["objective"]
        own = (STUDENT["settings"] if path == STUDENT["objective"] else {}) if settings is None else settings
        common = {"z_loss": self.cross_entropy.z_loss, "keep_documents_apart": self.keep_documents_apart}
        with refusing("model.init_args.settings: "):
            student = made(path, {**common, **own})
        has_one_loss = type(student).predictions is Objective.predictions or isinstance(student, MaskedLM)
        if not has_one_loss or isinstance(student, MaskedDiffusion):
            raise UserError(f"model.init_args.objective = {path} has losses of its own, beside which no teacher stands")
        if isinstance(student, MaskedLM) and student.second_segment != "none":
            raise UserError(
                f"model.init_args.settings: second_segment = {student.second_segment}, and a student reads one "
                f"segment: set it to none"
            )
        return student

    @property
    def likelihood_term(self) -> str | None:
        return self.student.likelihood_term

    # --- text to examples ---

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """What the objective of the labels makes of it, with every position that is compared with the teacher's."""
        example = self.student.corrupt(window, rng, windows, vocabulary=vocabulary)
        read = example.encoder_ids if example.decoder_ids is None else example.decoder_ids
        assert read is not None
        rows = {SOFT: read if self.positions == "all" else example.token_labels, COSINE: read}
        weights = {SOFT: self.distillation_weight, COSINE: self.cosine_weight}
        return replace(example, labels=example.labels | {term: ids for term, ids in rows.items() if weights[term]})

    def max_lengths(self, window: int) -> MaxLengths:
        return self.student.max_lengths(window)

    def nominal_rates(self, window: int) -> dict[str, float]:
        return self.student.nominal_rates(window)

    def check_data(self, windows: Windows) -> None:
        self.student.check_data(windows)

    def check_window(self, window: int) -> None:
        self.student.check_window(window)

    # --- examples to loss terms ---

    def frozen(self, config: BodyConfig) -> dict[str, Pretrained]:
        """The teacher.

        Raises:
            UserError: where it cannot be read, has other stacks, or states of another width that are compared.
        """
        if self.teacher is None:
            return {}
        teacher = open_pretrained(self.teacher)
        stacks = teacher.num_blocks[0] > 0, teacher.num_blocks[1] > 0
        if stacks != (self.uses_encoder, self.uses_decoder):
            names = {(True, True): "an encoder and a decoder", (True, False): "an encoder", (False, True): "a decoder"}
            raise UserError(
                f"model.init_args.teacher: {teacher.origin} has {names[stacks]}, and {type(self.student).__name__} "
                f"reads with {names[self.uses_encoder, self.uses_decoder]}: set model.init_args.objective to the "
                f"teacher's"
            )
        if self.cosine_weight and teacher.body.width != config.width:
            raise UserError(
                f"model.init_args.cosine_weight = {self.cosine_weight:g} compares states of one width: body.width = "
                f"{config.width}, and the teacher's is {teacher.body.width}; set cosine_weight to 0, or the width"
            )
        return {TEACHER: teacher}

    def initial_weights(self, num_blocks: tuple[int, int]) -> Pretrained | None:
        """Layers of the teacher, unless `init_from` names other weights.

        Raises:
            UserError: where there is no teacher.
        """
        if self.teacher is None:
            raise UserError(
                "model.init_args.teacher = null must name a trained run, such as runs/masked_lm-s0, or a folder of "
                "transformers"
            )
        if self.init_from is not None or not self.begin_with_teacher:
            return super().initial_weights(num_blocks)
        teacher = replace(open_pretrained(self.teacher), setting="model.init_args.begin_with_teacher = true")
        return every_other(teacher, num_blocks)

    def _has_teacher(self, network: Network) -> bool:
        """Whether a teacher stands there and is compared with: its layers alone need no pass of it."""
        return TEACHER in network.unsaved and bool(self.distillation_weight or self.cosine_weight)

    def predictions(self, network: Network, batch: Batch) -> dict[str, Prediction]:
        """Of the labels, and beside a teacher, as in training, the distances from it."""
        states = network.states(batch)
        hard = self.predicted_tokens(network, states, batch)
        found = {self.token_term: replace(hard, weight=self.hard_weight)}
        if not self._has_teacher(network):
            return found
        with torch.no_grad():
            teacher_states = network.states(batch, TEACHER)
        if self.distillation_weight:
            labels = batch.labels[SOFT]
            head = network.role(TEACHER).logits
            soft = SoftTargets(at_labels(teacher_states, labels), head, self.temperature)
            found[SOFT] = Prediction(
                at_labels(states, labels), network.body.logits, labels, soft, self.distillation_weight
            )
        if self.cosine_weight:
            labels = batch.labels[COSINE]
            distance = CosineDistance(at_labels(teacher_states, labels))
            found[COSINE] = Prediction(at_labels(states, labels), _itself, labels, distance, self.cosine_weight)
        return found

    def measures(self, batch: Batch) -> Mapping[str, Tensor]:
        return self.student.measures(batch)

    def validation_weight(self, term: str) -> float:
        weights = {SOFT: self.distillation_weight, COSINE: self.cosine_weight}
        return weights.get(term, self.hard_weight)

    def exported(self, config: BodyConfig) -> dict[str, str | None]:
        """A student of BERT is DistilBERT; any other is what its preset and stacks are."""
        is_bert = isinstance(config, TransformerConfig) and config.preset == "bert"
        return {MAIN: "DistilBertForMaskedLM" if is_bert and not self.uses_decoder else None}

    # --- what it costs ---

    def mean_lengths(self, windows: Windows, vocabulary: Vocabulary) -> tuple[float, float, float]:
        return self.student.mean_lengths(windows, vocabulary)

    def flops_per_window(self, network: Network, windows: Windows, vocabulary: Vocabulary) -> float:
        """Those of the body, and of the teacher as much as it adds to a step: a forward pass without a backward one."""
        encoder, decoder, targets = self.mean_lengths(windows, vocabulary)
        if not self._has_teacher(network):
            return network.flops(encoder=encoder, decoder=decoder, targets=targets)
        read = decoder if self.uses_decoder else encoder
        soft = (read if self.positions == "all" else targets) * (self.distillation_weight > 0)
        body = network.flops(encoder=encoder, decoder=decoder, targets=targets + soft)
        return body + network.flops(TEACHER, encoder=encoder, decoder=decoder, targets=soft) / FLOPS_OF_A_STEP


def _itself(states_ND: Tensor) -> Tensor:
    return states_ND
