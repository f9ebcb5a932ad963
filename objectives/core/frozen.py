"""Trained bodies beside those that are trained, such as a teacher: their shapes, limits and weights."""

from dataclasses import replace

from common.errors import UserError
from models.body import Body
from objectives.core.network import BodyPlan
from objectives.start.pretrained import Pretrained

_POSITIONS = tuple(f"body.{stack}.embeddings.position_table.weight" for stack in ("encoder", "decoder"))


def plan_of(pretrained: Pretrained) -> BodyPlan:
    """The body as it was trained, outside of checkpoints; a table of positions has the rows that there are."""
    rows = next((len(pretrained.state[name]) for name in _POSITIONS if name in pretrained.state), None)
    config = replace(pretrained.body, max_positions=rows)
    return BodyPlan(config=config, num_blocks=pretrained.num_blocks, is_saved=False)


def check_positions(role: str, plan: BodyPlan, *, window: int, needed: int) -> None:
    """Raises UserError where a window needs more positions than a body's table has."""
    limit = plan.config.max_positions
    if limit is not None and needed > limit:
        raise UserError(
            f"data.window = {window} raw tokens make {needed} positions, and the {role} knows {limit}: choose a "
            f"shorter window"
        )


def load_frozen(body: Body, pretrained: Pretrained, *, role: str) -> None:
    """Puts the weights into the body that `plan_of` planned.

    Raises:
        UserError: where it has another vocabulary, or lacks weights, such as a head over its vocabulary.
    """
    state = {name.removeprefix("body."): one for name, one in pretrained.state.items() if name.startswith("body.")}
    ours = body.state_dict()
    if missing := sorted(ours.keys() - state.keys()):
        raise UserError(f"the {role}, {pretrained.origin}, lacks {missing[0]}: it predicts no tokens here")
    rows = len(state["token_table.weight"])
    if rows != body.vocab_size:
        raise UserError(
            f"the {role}, {pretrained.origin}, has {rows:,} ids, and the vocabulary here {body.vocab_size:,}: both "
            f"need the same one"
        )
    body.load_state_dict({name: state[name] for name in ours})
