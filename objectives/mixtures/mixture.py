"""A mixture of denoisers: UL2 (Tay et al. 2022, 3.1 and Table 1), one of them drawn for each window.

    window     Thank you for inviting me to your party last week .
    reads      [R] Thank you <extra_id_0> me to your party <extra_id_1> week . </s>     where [R] has the window
               [S] Thank you for inviting me to your </s>                               where [S] has it
    predicts   the targets of the denoiser that has the window

loss = sum of -log p(target token | source, targets before it) / number of target tokens, of all denoisers together
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.random import Generator

from common.errors import UserError
from data.stream.batch import Batch, Example, Labels, MaxLengths
from data.stream.order import side_stream
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from objectives.core.base import Objective, SpecialTokenTemplate
from objectives.core.network import Network, at_labels
from objectives.core.predictions import Prediction
from objectives.masked_diffusion import MaskedDiffusion
from objectives.mixtures.by_member import ByMember, as_member, with_mode
from objectives.mixtures.members import Member, make_member

MEMBER = 1  # the stream of random numbers that members are drawn from
POOLED = "token"  # the one loss term


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """One objective of a mixture.

    Args:
        objective: dotted path of its class, such as objectives.span_corruption.SpanCorruption.
        settings: those of the objective, such as mean_span_length.
        mode: of the mode token before what its encoder reads: r, x or s.
        name: of its metrics, such as r3.
    """

    objective: str
    settings: dict[str, Any] = field(default_factory=dict)
    mode: Literal["r", "x", "s"] | None = None
    name: str


def drawn(rates: np.ndarray, rng: Generator) -> int:
    """Which member has the window of `rng`, whose own random numbers are left as they are."""
    chance = side_stream(rng, MEMBER).random() * rates.sum()
    return min(int(np.searchsorted(np.cumsum(rates), chance, side="right")), len(rates) - 1)


class MixtureOfDenoisers(Objective):
    """Several objectives with the same stacks, one drawn for each window, in one batch and under one mean over tokens.

    Which it is follows from the window's key alone, so that no document belongs to a denoiser and every one comes to
    all in time; each corrupts a window as in a run of its own. Validation logs the loss of each beside that of all,
    over the held-out windows that it drew. A text with [MASK] is filled by the last member that fills, any other text
    continued by the last that continues, each with its mode token.

    What differs from Tay et al.: all denoisers read windows of one length; theirs are cut to 512 inputs each.

    Args:
        members: the objectives.
        rates: how often each is drawn, in any unit; by default all alike.
        modes: whether mode tokens stand before what the encoder reads.
        z_loss: as every objective takes it.
        shared: what every objective takes.
    """

    token_term: str = POOLED

    def __init__(
        self,
        *,
        members: list[Denoiser],
        rates: list[float] | None = None,
        modes: bool = True,
        z_loss: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(z_loss=z_loss, **shared)
        members = [one if isinstance(one, Denoiser) else Denoiser(**dict(one)) for one in members]
        names = [member.name for member in members]
        if not members or len(set(names)) < len(names):
            raise UserError(f"model.init_args.members: {names} must be one name at least, each another")
        self.rates = np.ones(len(members)) if rates is None else np.array(rates, dtype=np.float64)
        if self.rates.shape != (len(members),) or not (self.rates >= 0).all() or not 0 < self.rates.sum() < np.inf:
            raise UserError(
                f"model.init_args.rates = {rates} must be {len(members)} numbers, none below 0 and not all 0"
            )
        settings = {"z_loss": z_loss, "keep_documents_apart": self.keep_documents_apart}
        made = [Member(objective=one.objective, share=1.0, settings=one.settings, name=one.name) for one in members]
        self.members = {one.label: make_member(one, **settings) for one in made}
        self.modes = [f"mode_{one.mode}" if modes and one.mode else None for one in members]
        self.marks = tuple(sorted({mode for mode in self.modes if mode}))
        self.beside_loss = tuple(self.members)
        self._check()
        first = next(iter(self.members.values()))
        self.uses_encoder, self.uses_decoder = first.uses_encoder, first.uses_decoder
        ways = [
            (as_member(one, token_term=POOLED, mode=mode), mode)
            for one, mode in zip(self.members.values(), self.modes, strict=True)
        ]
        self.inference = ByMember(ways)
        self.template: SpecialTokenTemplate = ways[-1][0].template

    def _check(self) -> None:
        """Raises UserError where the members cannot share a batch, or have losses of their own."""
        stacks = {(one.uses_encoder, one.uses_decoder) for one in self.members.values()}
        if len(stacks) > 1 or (self.marks and not next(iter(stacks))[0]):
            raise UserError(
                "model.init_args.members: a mixture is one batch, so all need the same stacks, and an encoder where "
                "there are mode tokens; objectives.mixtures.schedule.Schedule takes members of either stack"
            )
        for name, one in self.members.items():
            if type(one).predictions is not Objective.predictions or isinstance(one, MaskedDiffusion):
                raise UserError(
                    f"model.init_args.members: {name} has losses of its own, which have no mean over tokens in common "
                    f"with the others'; objectives.mixtures.schedule.Schedule takes it"
                )

    @property
    def _drawn(self) -> list[Objective]:
        """The members that have windows at all."""
        return [one for one, rate in zip(self.members.values(), self.rates, strict=True) if rate]

    # --- text to examples ---

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """What the window's own denoiser makes of it, behind its mode token."""
        number = drawn(self.rates, rng)
        name, mode = list(self.members)[number], self.modes[number]
        example = self.members[name].corrupt(window, rng, windows, vocabulary=vocabulary)
        shares = {f"share of {other}": float(other == name) for other in self.members}
        pooled = replace(
            example,
            labels={POOLED: example.token_labels},
            token_term=POOLED,
            member=number,
            measures=shares,
        )
        return pooled if mode is None else with_mode(pooled, vocabulary.id_of(mode))

    def max_lengths(self, window: int) -> MaxLengths:
        """The longest over all members that are drawn, with the mode token."""
        lengths = np.array([member.max_lengths(window) for member in self._drawn]).max(axis=0)
        encoder, decoder, targets = lengths.tolist()
        return MaxLengths(encoder=encoder + bool(self.marks), decoder=decoder, targets=targets)

    def nominal_rates(self, window: int) -> dict[str, float]:
        shares = (self.rates / self.rates.sum()).tolist()
        each = [member.nominal_rates(window)["targets per raw token"] for member in self.members.values()]
        named = {f"share of {name}": share for name, share in zip(self.members, shares, strict=True)}
        return {**named, "targets per raw token": float(np.dot(shares, each))}

    def check_data(self, windows: Windows) -> None:
        for member in self._drawn:
            member.check_data(windows)

    def check_window(self, window: int) -> None:
        for member in self._drawn:
            member.check_window(window)

    # --- examples to loss terms ---

    def predictions(self, network: Network, batch: Batch) -> dict[str, Prediction]:
        """The pooled term, and in validation that of each member beside it."""
        states = network.states(batch)
        found = {POOLED: self.predicted_tokens(network, states, batch)}
        if not network.training and batch.members_B is not None:
            for number, name in enumerate(self.members):
                labels = _of_member(batch.labels[POOLED], batch.members_B == number, states.shape[1])
                prediction = Prediction(at_labels(states, labels), network.body.logits, labels, weight=0.0)
                found[name] = replace(prediction, loss=self.cross_entropy)
        return found

    def validation_weight(self, term: str) -> float:
        """The best checkpoint is that of the pooled loss."""
        return float(term == POOLED)


def _of_member(labels: Labels, is_own_B: Any, width: int) -> Labels:
    """The labels of the rows that a member made; `width` is that of a row."""
    is_own_N = is_own_B[labels.positions_N // width]
    return Labels(positions_N=labels.positions_N[is_own_N], ids_N=labels.ids_N[is_own_N], divisor=float(is_own_N.sum()))
