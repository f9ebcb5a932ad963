"""What an objective trains: bodies by role, and the heads beside them.

Shapes: B batch, S encoder positions, T decoder positions, D width, N labelled positions, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from data.stream.batch import Batch, Labels
from models.bodies.make import BodyConfig, make_body
from models.body import Body, Inputs
from models.presets import TransformerConfig
from models.transformer.initialisation import initialise_children
from training.step.compilation import CompiledLayers

MAIN = "body"  # the role of the body that is evaluated, exported and fine-tuned


@dataclass(frozen=True, kw_only=True)
class BodyPlan:
    """One body of a network, before it is made.

    Args:
        config: its shape.
        num_blocks: of its encoder and decoder.
        is_saved: whether checkpoints hold it; one that they do not is frozen, in evaluation mode, and has the weights
            of its own run: a teacher.
        shares: the role of an earlier body whose embeddings it uses in place of its own.
        has_head: whether it predicts tokens; without, it has no head over the vocabulary.
    """

    config: BodyConfig
    num_blocks: tuple[int, int]
    is_saved: bool = True
    shares: str | None = None
    has_head: bool = True


def compiled_layers_of(config: BodyConfig, num_stacks: int) -> CompiledLayers:
    """What `--compile true` compiles of stacks of that shape: the layers of each are a kind of their own."""
    return CompiledLayers(num_stacks, config.preset if isinstance(config, TransformerConfig) else None)


def inputs_of(batch: Batch, body: Body) -> Inputs:
    """The inputs of a body, from a batch."""
    return Inputs(
        encoder_ids_BS=batch.encoder_ids_BS,
        encoder_lengths_B=batch.encoder_lengths_B,
        encoder_documents_BS=batch.encoder_documents_BS,
        segments_BS=batch.segments_BS if body.reads_segments else None,
        decoder_ids_BT=batch.decoder_ids_BT,
        decoder_lengths_B=batch.decoder_lengths_B,
        decoder_documents_BT=batch.decoder_documents_BT,
        is_causal=batch.is_causal,
        prefixes=batch.prefixes,
    )


class Network(nn.Module):
    """Bodies by role and heads by name, each a child of that name.

    Args:
        plans: of the bodies; `body` is the main one.
        heads: modules beside them.
        vocab_size: V.
        max_positions: longest sequence of any stack.
        seed: decides the initial weights, which follow from it and from the names of the parameters alone.
    """

    body: Body

    def __init__(
        self,
        plans: Mapping[str, BodyPlan],
        heads: Mapping[str, nn.Module],
        *,
        vocab_size: int,
        max_positions: int,
        seed: int,
    ) -> None:
        super().__init__()
        assert MAIN in plans
        assert not plans.keys() & heads.keys()
        self.unsaved = tuple(role for role, plan in plans.items() if not plan.is_saved)
        for role, plan in plans.items():
            limit = plan.config.max_positions or max_positions
            shared = None if plan.shares is None else self.role(plan.shares).embeddings
            sizes = {"num_blocks": plan.num_blocks, "vocab_size": vocab_size, "max_positions": limit}
            body = make_body(plan.config, **sizes, embeddings=shared)
            if not plan.has_head:
                body.drop_head()
            self.add_module(role, body.requires_grad_(plan.is_saved))
        for name, head in heads.items():
            self.add_module(name, head)
        initialise_children(self, seed)
        self.copies = _names_of_shared(self)
        self.register_state_dict_post_hook(_without_unsaved)
        self.register_load_state_dict_pre_hook(_with_unsaved)

    def train(self, mode: bool = True) -> Self:
        """As of any module; a frozen body never drops out."""
        super().train(mode)
        for body in self.frozen:
            body.eval()
        return self

    def role(self, name: str) -> Body:
        """The body that has a role."""
        return cast(Body, self.get_submodule(name))

    def head(self, name: str) -> nn.Module:
        """A head beside the bodies."""
        return self.get_submodule(name)

    @property
    def bodies(self) -> list[Body]:
        return [module for module in self.children() if isinstance(module, Body)]

    def parameters_beside(self) -> dict[str, int]:
        """By the role of every trained body but the main one, how many of its parameters no body before it has."""
        seen, found = {id(parameter) for parameter in self.body.parameters()}, {}
        for role, body in self.named_children():
            if isinstance(body, Body) and role != MAIN and role not in self.unsaved:
                own = {id(parameter): parameter.numel() for parameter in body.parameters() if id(parameter) not in seen}
                found[role] = sum(own.values())
                seen |= own.keys()
        return found

    @property
    def frozen(self) -> list[Body]:
        """The bodies that no checkpoint holds."""
        return [self.role(role) for role in self.unsaved]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def states(self, batch: Batch, role: str = MAIN) -> Tensor:
        """[B, length, D], the states of the stack that predicts: the decoder where there is one."""
        body = self.role(role)
        return body(inputs_of(batch, body))

    def logits(self, batch: Batch, term: str, role: str = MAIN) -> Tensor:
        """[N, V], logits of a body at the labels of a term."""
        return self.role(role).logits(at_labels(self.states(batch, role), batch.labels[term]))

    def flops(self, role: str = MAIN, *, encoder: float, decoder: float, targets: float) -> float:
        """Floating-point operations of a forward pass of a body over one window of these mean lengths."""
        return self.role(role).flops(encoder=encoder, decoder=decoder, targets=targets)


def at_labels(states: Tensor, labels: Labels) -> Tensor:
    """[N, D], the states [B, length, D] at the labelled positions."""
    return states.flatten(0, 1)[labels.positions_N]


def _names_of_shared(network: nn.Module) -> dict[str, str]:
    """For each parameter that has several names, the later ones, each with the first."""
    first: dict[int, str] = {}
    return {
        name: first[id(parameter)]
        for name, parameter in network.named_parameters(remove_duplicate=False)
        if first.setdefault(id(parameter), name) != name
    }


def _without_unsaved(network: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    """A file holds every tensor once, and none of a body outside of checkpoints."""
    roles = tuple(f"{prefix}{role}." for role in cast(Network, network).unsaved)
    copies = {f"{prefix}{name}" for name in cast(Network, network).copies}
    for name in [name for name in state if name.startswith(roles) or name in copies]:
        del state[name]


def _with_unsaved(network: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    for role in cast(Network, network).unsaved:
        own = cast(Network, network).role(role).state_dict()
        state.update({f"{prefix}{role}.{name}": tensor for name, tensor in own.items()})
    for name, first in cast(Network, network).copies.items():
        if f"{prefix}{first}" in state:
            state[f"{prefix}{name}"] = state[f"{prefix}{first}"]
