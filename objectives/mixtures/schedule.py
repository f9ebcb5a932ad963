"""An objective that changes along the way, or several at once, on one set of weights: a schedule of objectives.

    window     Thank you for inviting me to your party last week .
    reads      </s> Thank you for inviting me to your party last week         where causal_lm serves it
               [CLS] Thank you [MASK] inviting me to [MASK] party last apple . [SEP]     where masked_lm does
    says       what the one that serves it says

stages: loss = that of the member whose turn it is (a causal LM, then a masked one: Gisserot-Boukhlef et al. 2025)
mixed:  loss = sum over members of share · that of the member over its windows (UL2: Tay et al. 2022, 3.1)
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from data.store.tokenizer import Vocabulary
from data.stream.batch import Batch, Corruption, MaxLengths
from data.stream.mixture import Choice, Draws, MixedBatch, Stages
from data.stream.windows import Windows
from models.presets import TransformerConfig
from models.transformer.accounting import forward_flops
from objectives.core.base import Objective, Prediction
from objectives.core.prompts import Generation, Prompts
from objectives.core.scorer import Scorer
from objectives.mixtures.members import Member, check_members, check_stacks, make_member, on_stack
from training.step.terms import Term


class Schedule(Objective):
    """Several objectives over one Transformer, one after another or mixed.

    A sole stack looks to both sides where a masked LM is served and to the left where a causal one is, with the same
    weights. Whoever serves a window makes of it what it makes of it alone, so every arm reads the same windows. A
    validation puts the questions of all members to the same held-out windows. What is shown, asked, scored and exported
    is the last member, which is what a schedule comes to.

    FLOPs are those of a mean step: true of the whole run, and of a stage only where the members cost alike.

    Args:
        members: the objectives; the last is the one that the others serve.
        order: `stages` gives each its share of the steps, one after another; `mixed` draws for each window who serves
            it, each with the probability of its share.
        z_loss: that of the members which set none.
        shared: what every objective takes.
    """

    def __init__(
        self,
        *,
        members: list[Member],
        order: Literal["stages", "mixed"] = "stages",
        body: TransformerConfig,
        z_loss: float = 0.0,
        **shared: Any,
    ) -> None:
        members = [member if isinstance(member, Member) else Member(**dict(member)) for member in members]
        check_members(members)
        objectives = {member.label: make_member(member, body=body, z_loss=z_loss, shared=shared) for member in members}
        for name, objective in objectives.items():
            if isinstance(objective, Schedule):
                raise ValueError(f"model.init_args.members: {name} is a schedule itself; name its members here")
        check_stacks(objectives, body)
        last = list(objectives.values())[-1]
        vars(self).update(
            uses_encoder=last.uses_encoder,
            uses_decoder=last.uses_decoder,
            template=last.template,
            token_term=last.token_term,
        )
        super().__init__(body=body, z_loss=z_loss, **shared)
        if order == "stages" and len(members) > 1 and self.budget.minutes is not None:
            raise ValueError(
                "budget.minutes: the stages of a schedule are shares of a number of steps, which a clock does not "
                "tell; set another budget, or model.init_args.order to mixed"
            )
        self.order, self.members = order, objectives  # the members in a dict, where Lightning sees no modules
        self.shares = {member.label: member.share for member in members}
        for member in objectives.values():
            member.training_measures = self.training_measures

    @property
    def last(self) -> Objective:
        """The member that a schedule comes to."""
        return list(self.members.values())[-1]

    # --- who serves a window ---

    def _ends(self, total_steps: int) -> list[int]:
        """For each stage, the first step behind it."""
        return [round(share * total_steps) for share in accumulate(self.shares.values())]

    def choice(self, *, batch_size: int, seed: int) -> Choice:
        """Who serves the window at a position of the run.

        Raises:
            ValueError: where a stage has no step.
        """
        names = tuple(self.members)
        if self.order == "mixed" or len(names) == 1:
            return Draws(names=names, shares=tuple(self.shares.values()), seed=seed)
        assert self.progress is not None
        assert self.progress.total_steps is not None
        ends = self._ends(self.progress.total_steps)
        for name, first, end in zip(names, [0, *ends], ends, strict=False):
            if first == end:
                raise ValueError(
                    f"model.init_args.members: a share of {self.shares[name]} of {self.progress.total_steps} steps "
                    f"leaves {name} without any; raise its share or the budget"
                )
        return Stages(names=names, ends=tuple(end * batch_size for end in ends))

    def check_branch(self, step: int, *, parent_steps: int, total_steps: int) -> None:
        if self.order == "mixed":
            return
        was, now = ([min(end, step) for end in self._ends(total)] for total in (parent_steps, total_steps))
        if was != now:
            raise ValueError(
                f"branch_from: up to step {step:,} the stages of a run of {total_steps:,} steps are others than the "
                f"trunk's, of {parent_steps:,}; branch within the first stage of both"
            )

    # --- what it asks ---

    def corruption(self, vocabulary: Vocabulary) -> Corruption:
        """That of the last member."""
        return self.last.corruption(vocabulary)

    def max_lengths(self, window: int) -> MaxLengths:
        """The most that any member makes of a window."""
        lengths = np.array([member.max_lengths(window) for member in self.members.values()])
        encoder, decoder, targets = lengths.max(axis=0).tolist()
        if self.uses_encoder and self.uses_decoder:
            return MaxLengths(encoder, decoder, targets)
        longest = max(encoder, decoder)
        return MaxLengths(longest * self.uses_encoder, longest * self.uses_decoder, targets)

    def nominal_rates(self, window: int) -> dict[str, float]:
        return self.last.nominal_rates(window)

    def check_data(self, windows: Windows) -> None:
        for member in self.members.values():
            member.check_data(windows)

    def scorers(self, vocabulary: Vocabulary) -> dict[str, Scorer]:
        return self.last.scorers(vocabulary)

    def answer(self, questions: Prompts) -> Iterator[Generation]:
        self.last.to(self.device)
        return self.last.answer(questions)

    # --- one set of weights ---

    def build_heads(self) -> None:
        """Heads beside the Transformer under the names that they have alone; those of one name are one."""
        for member in self.members.values():
            member.body = self.body
            member.build_heads()
            for name, head in list(member.named_children()):
                if hasattr(self, name):
                    setattr(member, name, getattr(self, name))
                else:
                    self.add_module(name, head)

    def _said(self, member: Objective, batch: Batch) -> dict[str, Prediction]:
        """What the model says of a member's loss terms."""
        member.training = self.training
        is_sole = not (self.uses_encoder and self.uses_decoder)
        return member.predictions(on_stack(batch, encoder=self.uses_encoder) if is_sole else batch)

    def predictions(self, batch: Batch) -> dict[str, Prediction]:
        """Of the last member's examples."""
        return self._said(self.last, batch)

    def terms(self, batch: Batch | MixedBatch, *, count_correct: bool) -> dict[str, Term]:
        """The loss terms of every member by name, such as `causal_lm/next_token`; of a `Batch`, the last member's."""
        if isinstance(batch, Batch):
            return super().terms(batch, count_correct=count_correct)
        found = {}
        for name, member in self.members.items():
            for term, prediction in self._said(member, batch.parts[name]).items():
                one = self._term_of(prediction, z_loss=member.z_loss, count_correct=count_correct)
                weight = self.shares[name] if self.order == "mixed" else 1.0
                found[f"{name}/{term}"] = replace(one, minimised_sum=one.minimised_sum * weight)
        return found

    def token_terms(self, terms: Sequence[str]) -> Sequence[str]:
        return [f"{name}/{member.token_term}" for name, member in self.members.items()]

    def validation_cost(self) -> float:
        """Stages are judged by what they come to, the last; a mixture by all its members, each by its share."""
        if self.order == "mixed":
            weights = self.shares
        else:
            weights = {name: float(member is self.last) for name, member in self.members.items()}
        results = self.validation_results.items()
        return sum(weights[term.split("/")[0]] * result.loss for term, result in results)

    # --- what it costs ---

    @cached_property
    def _mean_lengths_of_members(self) -> dict[str, tuple[float, float, float]]:
        """`mean_extent` of each member, in the stacks that there are."""
        windows, vocabulary = self.data.training_windows, self.data.vocabulary
        found = {}
        for name, member in self.members.items():
            encoder, decoder, targets = member.measured_mean_lengths(windows, vocabulary)
            if not (self.uses_encoder and self.uses_decoder):
                length = encoder + decoder  # one of them is 0
                encoder, decoder = length * self.uses_encoder, length * self.uses_decoder
            found[name] = (encoder, decoder, targets)
        return found

    @cached_property
    def mean_lengths(self) -> tuple[float, float, float]:
        rows = [np.array(self._mean_lengths_of_members[name]) * share for name, share in self.shares.items()]
        encoder, decoder, targets = np.sum(rows, axis=0).tolist()
        return encoder, decoder, targets

    def flops_per_window(self) -> float:
        assert self.body is not None
        flops = 0.0
        for name, share in self.shares.items():
            encoder, decoder, targets = self._mean_lengths_of_members[name]
            flops += share * forward_flops(self.body, encoder=encoder, decoder=decoder, targets=targets)
        return flops
