"""A run that begins with trained weights: which of them fit, what happens to those that do not, what starts anew."""

import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jsonargparse import Namespace
from torch import Tensor, nn

from common.errors import UserError
from common.files import sha256_of_file
from data.store.recipe import tokenizer_file
from data.tokens.tokenizer import KINDS
from models.bodies.make import BodyConfig
from models.recurrent.config import RecurrentConfig
from objectives.start.pretrained import Pretrained, tokenizer_of

STACKS: tuple[str, ...] = ("encoder", "decoder")
ROWS_OF_TOKENS = ("token_table.weight", "head.weight", "head.bias")  # one for each id
# The same rows stand for distances to both sides in an encoder, and for those to the left alone in a decoder (T5).
BOUND_TO_STACK = "relative_table.weight"


@dataclass
class Report:
    """What became of the weights that a run begins with.

    Attributes:
        origin, sha256: of these weights.
        taken: number of tensors that began with them.
        changed: what happened to tensors that have another number of rows here.
        fresh: names of the tensors that they lack, which keep their random start.
    """

    origin: str
    sha256: str
    taken: int = 0
    changed: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"initialized from {self.origin}: {self.taken} tensors", *self.changed]
        if self.fresh:
            counts = Counter(_part(name) for name in self.fresh)
            listed = ", ".join(f"{part} ({count} tensor{'s' * (count > 1)})" for part, count in counts.items())
            parts.append(f"initialised anew: {listed}")
        return "; ".join(parts)


def _part(name: str) -> str:
    """The part of the model that a message names for one of its tensors."""
    first, second, *_ = name.split(".")
    if first != "body":
        return first
    return f"{second}'s cross-attention" if ".cross_" in name else second


def sources_of_stacks(theirs: tuple[int, int], ours: tuple[int, int]) -> dict[str, str | None]:
    """Which of their stacks each of ours begins with: its namesake, or, where both are alone, the other; or none."""
    there = [name for name, blocks in zip(STACKS, theirs, strict=True) if blocks]
    wanted = [name for name, blocks in zip(STACKS, ours, strict=True) if blocks]
    if len(there) == len(wanted) == 1:
        return {wanted[0]: there[0]}
    return {name: name if name in there else None for name in wanted}


def _sizes(config: BodyConfig) -> dict[str, object]:
    """What must be the same for weights to fit, under the names of the settings."""
    if isinstance(config, RecurrentConfig):
        names = ("kind", "cell", "width", "attention", "input_feeding")
        return {name: getattr(config, name) for name in names}
    return {
        "preset": config.preset,
        "positions": config.parts.positions,
        "width": config.width,
        "embedding_width": config.width_of_embeddings,
        "share_layers": config.share_layers,
        "num_heads": config.num_heads,
        "num_key_value_heads": config.key_value_heads,
        "head_width": config.width_of_head,
        "feed_forward_width": config.width_of_feed_forward,
    }


def check_fits(pretrained: Pretrained, config: BodyConfig, num_blocks: tuple[int, int]) -> None:
    """Raises UserError, with both numbers and the settings that fit, where the body has another shape."""
    if type(pretrained.body) is not type(config):
        kinds = [getattr(body, "kind", "transformer") for body in (pretrained.body, config)]
        raise UserError(
            f"{pretrained.setting}: {pretrained.origin} has body.kind = {kinds[0]}, and here it is {kinds[1]}"
        )
    theirs, ours = _sizes(pretrained.body), _sizes(config)
    depth, wanted = (dict(zip(STACKS, blocks, strict=True)) for blocks in (pretrained.num_blocks, num_blocks))
    sources = sources_of_stacks(pretrained.num_blocks, num_blocks)
    depths = {name: depth[found] if (found := sources.get(name)) else wanted[name] for name in STACKS}
    differing = [f"{name} = {theirs[name]}, and here {ours[name]}" for name in ours if ours[name] != theirs[name]]
    differing += [
        f"{depths[name]} blocks for the {name}, and here {wanted[name]}"
        for name in STACKS
        if depths[name] != wanted[name]
    ]
    if not differing:
        return
    layers = f"[{depths['encoder']},{depths['decoder']}]" if all(depths.values()) else str(sum(depths.values()))
    settings = {
        name: "null" if (value := getattr(pretrained.body, name)) is None else value
        for name in ours
        if ours[name] != theirs[name] and getattr(pretrained.body, name) != getattr(config, name)
    }
    if any(depths[name] != wanted[name] for name in STACKS):
        settings["layers"] = layers
    line = " ".join(f"--body.{name} {shlex.quote(str(value))}" for name, value in settings.items())
    raise UserError(
        f"{pretrained.setting}: {pretrained.origin} has {'; '.join(differing)}; to begin with it, a run needs {line}"
    )


def _source_name(name: str, sources: dict[str, str | None]) -> str | None:
    """The name of their tensor that ours begins with; None where there is none."""
    for stack, source in sources.items():
        prefix = f"body.{stack}."
        if name.startswith(prefix):
            if source is None or (source != stack and name.endswith(BOUND_TO_STACK)):
                return None
            return f"body.{source}.{name.removeprefix(prefix)}"
    return name


def _as_many_rows(name: str, theirs: Tensor, ours: Tensor, report: Report) -> Tensor:
    """Theirs with as many rows as ours has.

    Rows of new tokens begin as the mean of the others, which keeps the model's predictions for the old ones (Hewitt
    2021, "Initializing new word embeddings"); positions behind the last one keep their random start.
    """
    had, has = len(theirs), len(ours)
    what = name.removeprefix("body.")
    if has <= had:
        report.changed.append(f"{what}: the first {has:,} of {had:,} rows")
        return theirs[:has]
    if what.endswith(ROWS_OF_TOKENS):
        report.changed.append(f"{what}: {has - had:,} new rows behind {had:,}, each the mean of these")
        rest = theirs.cpu().double().mean(dim=0, keepdim=True).to(theirs).expand(has - had, *theirs.shape[1:])
    else:
        report.changed.append(f"{what}: {has - had:,} new rows behind {had:,}, drawn at random")
        rest = ours[had:].to(theirs.dtype)
    return torch.cat([theirs, rest])


def begin_with(module: nn.Module, pretrained: Pretrained, config: BodyConfig, num_blocks: tuple[int, int]) -> Report:
    """Puts trained weights into a module that has a Transformer of this shape as `body`.

    Ids are taken to mean the same in both. Tables of tokens and of positions are cut or lengthened; tensors that the
    weights lack keep their values.

    Raises:
        UserError: where the body has another shape.
    """
    check_fits(pretrained, config, num_blocks)
    report = Report(pretrained.origin, pretrained.sha256)
    sources = sources_of_stacks(pretrained.num_blocks, num_blocks)
    report.changed += [f"{source} -> {stack}" for stack, source in sources.items() if source not in (stack, None)]
    state = module.state_dict()
    for name, ours in state.items():
        source = _source_name(name, sources)
        if source is None or (theirs := pretrained.state.get(source)) is None:
            report.fresh.append(name)
            continue
        if theirs.shape != ours.shape:
            if theirs.shape[1:] != ours.shape[1:]:
                raise UserError(
                    f"{pretrained.setting}: {pretrained.origin} has {name} of shape {list(theirs.shape)}, and its "
                    f"settings make it {list(ours.shape)}"
                )
            theirs = _as_many_rows(name, theirs, ours, report)
        state[name] = theirs.to(ours.dtype)
        report.taken += 1
    module.load_state_dict(state)
    return report


def take_tokenizer(config: Namespace) -> str | None:
    """Sets `data.tokenizer` to that of the weights that the settings name; returns a line on it where it was another.

    Raises:
        UserError: where the settings name another file.
    """
    line = None
    for setting in ("model.init_args.init_from", "model.init_args.teacher"):
        where = config.get(setting)
        if where is None:
            continue
        path, named = tokenizer_of(where), config.data.tokenizer
        if named in KINDS:
            config.data.tokenizer = str(path)
            line = f"the tokenizer is that of {where}, not a new '{named}'"
            continue
        file = Path(tokenizer_file(named))
        if not file.is_file() or sha256_of_file(file) != sha256_of_file(path):
            raise UserError(
                f"data.tokenizer = {named} is not the tokenizer of {setting} = {where}, whose weights know its own ids "
                f"alone: leave data.tokenizer out"
            )
    return line
