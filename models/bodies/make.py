"""From settings to a body: another kind joins by its settings in the union and its class in the table."""

from collections.abc import Iterable, Mapping
from typing import Any

from common.errors import UserError
from models.body import Body
from models.presets import TransformerConfig
from models.recurrent.config import RecurrentConfig
from models.recurrent.recurrent import Recurrent
from models.transformer.transformer import Transformer

BodyConfig = TransformerConfig | RecurrentConfig  # the union of the settings of all bodies
BODIES: dict[type, type[Transformer] | type[Recurrent]] = {TransformerConfig: Transformer, RecurrentConfig: Recurrent}
KINDS: dict[str, type[TransformerConfig] | type[RecurrentConfig]] = {
    "transformer": TransformerConfig,
    "recurrent": RecurrentConfig,
}


def config_class(kind: str | None) -> type[TransformerConfig] | type[RecurrentConfig]:
    """The settings of the body that `body.kind` names; of the Transformer where nothing names one.

    Raises:
        UserError: where there is no such body.
    """
    name = kind or "transformer"
    if name not in KINDS:
        raise UserError(f"body.kind = {name} is none of {', '.join(KINDS)}")
    return KINDS[name]


def config_from(settings: Mapping[str, Any]) -> BodyConfig:
    """The body that `body` of a run's config.yaml describes.

    Raises:
        UserError: where its settings are not this version's.
    """
    try:
        layers = settings["layers"]
        settings = {**settings, "layers": tuple(layers) if isinstance(layers, Iterable) else layers}
        return config_class(settings.get("kind"))(**settings)
    except (KeyError, TypeError) as error:
        raise UserError(f"the settings of body in config.yaml are not this version's ({error})") from None


def make_body(
    config: BodyConfig,
    *,
    num_blocks: tuple[int, int],
    vocab_size: int,
    max_positions: int,
    embeddings: Any = None,
) -> Body:
    """The body that these settings describe, its weights not yet initialised.

    Args:
        config: its settings, whose type decides its class.
        num_blocks: of encoder and decoder.
        vocab_size: V.
        max_positions: longest sequence of either stack.
        embeddings: of another body of its class, to hold in place of new ones.
    """
    sizes = {"num_blocks": num_blocks, "vocab_size": vocab_size, "max_positions": max_positions}
    return BODIES[type(config)](config, **sizes, embeddings=embeddings)  # pyright: ignore[reportArgumentType]
