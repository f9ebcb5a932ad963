"""Several objectives that train one set of weights, one after another or mixed: a schedule of objectives.

    window     Thank you for inviting me to your party last week .
    reads      </s> Thank you for inviting me to your party last week         where causal_lm has the window
               [CLS] Thank you [MASK] inviting me to [MASK] party last apple . [SEP]     where masked_lm has it
    predicts   the targets of the member that has the window

stages: loss = that of the member whose turn it is (a causal LM, then a masked one: Gisserot-Boukhlef et al. 2025)
mixed:  loss = sum over members of share · that of the member over its windows (UL2: Tay et al. 2022, 3.1)
"""

from dataclasses import replace
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from torch import Tensor, nn

from common.errors import UserError
from data.stream.batch import Batch, Example, MaxLengths
from data.stream.mixture import Choice, Draws, MixedBatch, Stages
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from models.bodies.make import BodyConfig
from objectives.core.base import Objective
from objectives.core.network import BodyPlan, Network
from objectives.core.predictions import Prediction
from objectives.mixtures.members import Member, check_members, check_stacks, make_member, on_stack
from training.step.budget import Budget


class Schedule(Objective):
    """Several objectives over one network, one after another or mixed.

    Where the body has a single stack, attention is bidirectional in windows of a masked LM and causal in those of a
    causal LM, with the same weights. A member corrupts a window as in a run of its own, so that a schedule reads the
    same windows as any other run. Validation evaluates all members on the same held-out windows. Pictures, generation,
    scoring and export use the last member.

    FLOPs are those of a mean step: exact for the whole run, and for a stage only where all members cost the same.

    Args:
        members: the objectives; the last is the one that the trained model is used with.
        order: `stages` trains each for its share of the steps, one after another; `mixed` draws the member of each
            window, with its share as probability.
        z_loss: for members that set none.
        shared: what every objective takes.
    """

    def __init__(
        self, *, members: list[Member], order: Literal["stages", "mixed"] = "stages", z_loss: float = 0.0, **shared: Any
    ) -> None:
        super().__init__(z_loss=z_loss, **shared)
        members = [member if isinstance(member, Member) else Member(**dict(member)) for member in members]
        check_members(members)
        apart = self.keep_documents_apart
        self.members = {one.label: make_member(one, z_loss=z_loss, keep_documents_apart=apart) for one in members}
        for name, objective in self.members.items():
            if isinstance(objective, Schedule):
                raise UserError(f"model.init_args.members: {name} is a schedule itself; name its members here")
        self.order, self.shares = order, {member.label: member.share for member in members}
        self.last = list(self.members.values())[-1]
        self.uses_encoder, self.uses_decoder = self.last.uses_encoder, self.last.uses_decoder
        self.template, self.token_term, self.inference = self.last.template, self.last.token_term, self.last.inference
        self.at_unigram_entropy = next(iter(self.members.values())).at_unigram_entropy  # its loss is shown first

    @property
    def is_sole(self) -> bool:
        """Whether the body has a single stack."""
        return not (self.uses_encoder and self.uses_decoder)

    @property
    def likelihood_term(self) -> str | None:
        """That of the first member that has one."""
        terms = ((name, member.likelihood_term) for name, member in self.members.items())
        return next((f"{name}/{term}" for name, term in terms if term is not None), None)

    # --- which member has a window ---

    def check_budget(self, budget: Budget) -> None:
        if self.order == "stages" and len(self.members) > 1 and budget.minutes is not None:
            raise UserError(
                "budget.minutes: the stages of a schedule are shares of a number of steps, which a clock does not "
                "give; set another budget, or model.init_args.order to mixed"
            )

    def _ends(self, total_steps: int) -> list[int]:
        """For each stage, the first step behind it."""
        return [round(share * total_steps) for share in accumulate(self.shares.values())]

    def choice(self, *, batch_size: int, seed: int, total_steps: int | None) -> Choice:
        """Which member has the window at a position of the run.

        Raises:
            UserError: where the share of a stage rounds to no step.
        """
        names = tuple(self.members)
        if self.order == "mixed" or len(names) == 1:
            return Draws(names=names, shares=tuple(self.shares.values()), seed=seed)
        assert total_steps is not None
        ends = self._ends(total_steps)
        for name, first, end in zip(names, [0, *ends], ends, strict=False):
            if first == end and self.shares[name]:
                raise UserError(
                    f"model.init_args.members: a share of {self.shares[name]} of {total_steps} steps leaves {name} "
                    f"without any; raise its share or the budget"
                )
        return Stages(names=names, ends=tuple(end * batch_size for end in ends))

    def check_branch(self, step: int, *, parent_steps: int, total_steps: int) -> None:
        if self.order == "mixed":
            return
        before, now = ([min(end, step) for end in self._ends(total)] for total in (parent_steps, total_steps))
        if before != now:
            raise UserError(
                f"branch_from: up to step {step:,} the stages of a run of {total_steps:,} steps are others than the "
                f"parent run's, of {parent_steps:,}; branch within the first stage of both"
            )

    # --- text to examples ---

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """The last member's corruption; in training the loader calls each member's own."""
        return self.last.corrupt(window, rng, windows, vocabulary=vocabulary)

    def max_lengths(self, window: int) -> MaxLengths:
        """The longest over all members."""
        lengths = np.array([member.max_lengths(window) for member in self.members.values()])
        encoder, decoder, targets = lengths.max(axis=0).tolist()
        return MaxLengths(*self._on_stacks(encoder, decoder, max), targets)

    def _on_stacks(self, encoder: Any, decoder: Any, joined: Any) -> tuple[Any, Any]:
        """Lengths of the stacks that the body has; a single stack has both, `joined`."""
        if not self.is_sole:
            return encoder, decoder
        length = joined(encoder, decoder)
        return length * self.uses_encoder, length * self.uses_decoder

    def nominal_rates(self, window: int) -> dict[str, float]:
        return self.last.nominal_rates(window)

    def check_data(self, windows: Windows) -> None:
        for member in self.members.values():
            member.check_data(windows)

    def check_window(self, window: int) -> None:
        for member in self.members.values():
            member.check_window(window)

    # --- examples to loss terms ---

    def bodies(self, config: BodyConfig) -> dict[str, BodyPlan]:
        check_stacks(self.members, config)
        return self.last.bodies(config)

    def heads(self, config: BodyConfig) -> dict[str, nn.Module]:
        """The heads of all members, under their own names; heads of the same name are shared."""
        return {name: head for member in self.members.values() for name, head in member.heads(config).items()}

    def _predicted(self, network: Network, member: Objective, batch: Batch) -> dict[str, Prediction]:
        """A member's predictions: a single stack has the attention mask of the member's own runs."""
        if self.is_sole:
            batch = on_stack(batch, encoder=self.uses_encoder, is_causal=member.uses_decoder)
        return member.predictions(network, batch)

    def predictions(self, network: Network, batch: Batch | MixedBatch) -> dict[str, Prediction]:
        """Of every member, named such as `causal_lm/next_token`; of a `Batch`, those of the last member."""
        if isinstance(batch, Batch):
            return self._predicted(network, self.last, batch)
        return {
            f"{name}/{term}": replace(one, weight=self.shares[name] if self.order == "mixed" else 1.0)
            for name, member in self.members.items()
            for term, one in self._predicted(network, member, batch.parts[name]).items()
        }

    def measures(self, batch: Batch | MixedBatch) -> dict[str, Tensor]:
        parts = {} if isinstance(batch, Batch) else batch.parts
        return {
            measure: values
            for name, part in parts.items()
            for measure, values in self.members[name].measures(part).items()
        }

    def validation_weight(self, term: str) -> float:
        """Stages are validated by the loss of the last member, a mixture by those of all, weighted by their shares."""
        name = term.split("/")[0]
        return self.shares[name] if self.order == "mixed" else float(self.members[name] is self.last)

    # --- what it costs ---

    def mean_lengths(self, windows: Windows, vocabulary: Vocabulary) -> tuple[float, float, float]:
        rows = [
            np.array(self._member_lengths(name, windows, vocabulary)) * share for name, share in self.shares.items()
        ]
        encoder, decoder, targets = np.sum(rows, axis=0).tolist()
        return encoder, decoder, targets

    def fixed_lengths(self, windows: Windows, vocabulary: Vocabulary) -> tuple[int | None, int | None]:
        """None: what a member is given of a batch varies, and members share stacks."""
        return None, None

    def _member_lengths(self, name: str, windows: Windows, vocabulary: Vocabulary) -> tuple[float, float, float]:
        encoder, decoder, targets = self.members[name].mean_lengths(windows, vocabulary)
        return (*self._on_stacks(encoder, decoder, lambda one, other: one + other), targets)  # one of them is 0

    def flops_per_window(self, network: Network, windows: Windows, vocabulary: Vocabulary) -> float:
        flops = 0.0
        for name, share in self.shares.items():
            encoder, decoder, targets = self._member_lengths(name, windows, vocabulary)
            flops += share * network.flops(encoder=encoder, decoder=decoder, targets=targets)
        return flops
