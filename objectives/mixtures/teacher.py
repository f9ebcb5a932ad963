"""What a student takes of its teacher: layers to begin with, and the objective."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jsonargparse import Namespace

from common.errors import UserError
from models.presets import TransformerConfig
from objectives.start.pretrained import Pretrained, located
from objectives.start.warm_start import take_tokenizer
from training.storage.run_dir import RunFolder

# What a student is trained for by default: a masked LM with one segment (Sanh et al. 2019, 3).
STUDENT: Mapping[str, Any] = {"objective": "objectives.masked_lm.MaskedLM", "settings": {"second_segment": "none"}}
_BLOCK = re.compile(r"(body\.(encoder|decoder)\.blocks)\.(\d+)\.(.*)")


def spread(number: int, depth: int) -> list[int]:
    """`number` of `depth` layers, evenly from the first to the last: six of twelve are 0, 2, 4, 7, 9 and 11."""
    if number == 1:
        return [0]
    return [(2 * place * (depth - 1) + number - 1) // (2 * (number - 1)) for place in range(number)]


def every_other(teacher: Pretrained, num_blocks: tuple[int, int]) -> Pretrained:
    """A teacher's weights with as many of its layers as a body has, spread over all of them.

    Raises:
        UserError: where the body has more layers.
    """
    if not isinstance(teacher.body, TransformerConfig) or teacher.body.share_layers is not None:
        return teacher
    taken: dict[str, dict[int, int]] = {}
    for stack, number, depth in zip(("encoder", "decoder"), num_blocks, teacher.num_blocks, strict=True):
        if number > depth:
            raise UserError(
                f"the {stack} has {number} layers, and the teacher's {depth}, with which it begins: set body.layers, "
                f"or model.init_args.begin_with_teacher to false"
            )
        taken[stack] = {old: new for new, old in enumerate(spread(number, depth))} if number else {}
    state = {}
    for name, tensor in teacher.state.items():
        match = _BLOCK.fullmatch(name)
        if match is None:
            state[name] = tensor
        elif (number := taken[match[2]].get(int(match[3]))) is not None:
            state[f"{match[1]}.{number}.{match[4]}"] = tensor
    return replace(teacher, state=state, num_blocks=num_blocks)


def settle(config: Namespace) -> str | None:
    """Completes settings by those of the runs that they name, a teacher or initial weights; returns a line on that.

    Raises:
        UserError: where such a run has another tokenizer or objective than the settings name.
    """
    return "; ".join(filter(None, (take_teacher(config), take_tokenizer(config)))) or None


def take_teacher(config: Namespace) -> str | None:
    """Sets the objective of a student to that of its teacher's run; returns a line on it where the settings name none.

    What a run is stands in its own folder then, whatever becomes of the teacher's.

    Raises:
        UserError: where the teacher was trained for another objective than the one that the settings name.
    """
    where, named = config.get("model.init_args.teacher"), config.get("model.init_args.objective")
    run = RunFolder.of(located(where)) if where is not None else None
    if run is None or not run.is_run:
        return None
    model = run.read_config().get("model")
    if model is None:
        raise UserError(f"model.init_args.teacher = {where} was fine-tuned, and a teacher predicts tokens")
    path, settings = model["class_path"], dict(model.get("init_args", {}))
    if named is not None:
        if named != path:
            raise UserError(f"model.init_args.objective = {named}, and the teacher {where} was trained for {path}")
        return None
    for own in ("init_from", "keep_documents_apart", "z_loss", "next_sentence"):
        settings.pop(own, None)
    settings |= STUDENT["settings"] if path == STUDENT["objective"] else {}
    config.model.init_args.objective = path
    config.model.init_args.settings = {**settings, **(config.model.init_args.settings or {})}
    return f"the student's objective is its teacher's, {path.rpartition('.')[2]}"
