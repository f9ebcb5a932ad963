"""The objectives of a schedule: their names and settings, and whether they can share one Transformer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from common.errors import UserError
from data.stream.batch import Batch
from models.bodies.make import BodyConfig
from models.presets import TransformerConfig
from objectives.core.base import Objective
from objectives.weights.load import made
from training.setup.parsing import refusing

SET_BY_THE_SCHEDULE = ("keep_documents_apart", "init_from")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One objective of a schedule.

    Args:
        objective: dotted path of its class, such as objectives.causal_lm.CausalLM.
        share: of the optimizer steps (stages) or of the windows (mixed); all shares sum to 1.
        settings: those of the objective, such as next_sentence.
        name: prefix of its metrics; by default the file of its class, such as causal_lm.
    """

    objective: str
    share: float
    settings: dict[str, Any] = field(default_factory=dict)
    name: str | None = None

    @property
    def label(self) -> str:
        """Its name, given or not."""
        return self.name or self.objective.split(".")[-2:][0]


def check_members(members: Sequence[Member]) -> None:
    """Raises UserError where there is none, names repeat, shares do not sum to 1, or one sets a common setting."""
    if not members:
        raise UserError("model.init_args.members = [] must name one objective at least")
    labels, shares = [member.label for member in members], [member.share for member in members]
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise UserError(f"model.init_args.members: several are called {repeated[0]}; give each a `name` of its own")
    if not all(share >= 0 for share in shares) or not abs(sum(shares) - 1) <= 1e-9:
        raise UserError(f"model.init_args.members: the shares {shares} must not be negative and make 1 together")
    for member in members:
        if taken := [name for name in SET_BY_THE_SCHEDULE if name in member.settings]:
            raise UserError(f"model.init_args.members: {member.label} sets {taken[0]}, which is one for all members")


def make_member(member: Member, *, z_loss: float, keep_documents_apart: bool) -> Objective:
    """The objective of a member.

    Raises:
        UserError: where its class has no such setting, or a value is impossible.
    """
    settings = {"z_loss": z_loss, **member.settings, "keep_documents_apart": keep_documents_apart}
    with refusing(f"model.init_args.members: {member.label}: "):
        one = made(member.objective, settings)
    if one.frozen_roles:
        raise UserError(
            f"model.init_args.members: {member.label} has a {one.frozen_roles[0]} beside the body, which no member has"
        )
    return one


def check_stacks(objectives: dict[str, Objective], body: BodyConfig) -> None:
    """Raises UserError where the members cannot share one set of weights."""
    stacks = {(objective.uses_encoder, objective.uses_decoder) for objective in objectives.values()}
    if len(stacks) == 1:
        return
    stack_names = {(True, True): "an encoder and a decoder", (True, False): "an encoder", (False, True): "a decoder"}
    each = ", ".join(f"{name} {stack_names[one.uses_encoder, one.uses_decoder]}" for name, one in objectives.items())
    if (True, True) in stacks:
        raise UserError(
            f"model.init_args.members share one set of weights, so that all have both stacks or each has one alone; "
            f"here {each}"
        )
    if not isinstance(body, TransformerConfig):
        raise UserError(
            f"model.init_args.members: {each}; a recurrent encoder reads in both directions, and its decoder from the "
            f"left"
        )
    if body.parts.positions == "relative":
        raise UserError(
            f"model.init_args.members: {each}; with the relative positions of body.preset = "
            f"{body.preset} one stack cannot be both: choose another preset"
        )


def on_stack(batch: Batch, *, encoder: bool, is_causal: bool) -> Batch:
    """A batch for a single stack, as input of the encoder or of the decoder; `is_causal` decides its attention mask."""
    if (batch.encoder_ids_BS is not None) == encoder:
        return replace(batch, is_causal=is_causal)
    moved = {
        "encoder_ids_BS": batch.decoder_ids_BT,
        "encoder_lengths_B": batch.decoder_lengths_B,
        "encoder_documents_BS": batch.decoder_documents_BT,
        "decoder_ids_BT": batch.encoder_ids_BS,
        "decoder_lengths_B": batch.encoder_lengths_B,
        "decoder_documents_BT": batch.encoder_documents_BS,
    }
    return replace(batch, **moved, segments_BS=None, is_causal=is_causal)
