"""From settings to a body: another kind joins by its settings in the union and its class in the table."""

from models.presets import TransformerConfig
from models.transformer.embeddings import SharedEmbeddings
from models.transformer.transformer import Transformer

BodyConfig = TransformerConfig  # the union of the settings of all bodies, of which the Transformer is the only one yet
BODIES: dict[type, type[Transformer]] = {TransformerConfig: Transformer}


def make_body(
    config: BodyConfig,
    *,
    num_blocks: tuple[int, int],
    vocab_size: int,
    max_positions: int,
    embeddings: SharedEmbeddings | None = None,
) -> Transformer:
    """The body that these settings describe, its weights not yet initialised.

    Args:
        config: its settings, whose type decides its class.
        num_blocks: of encoder and decoder.
        vocab_size: V.
        max_positions: longest sequence of either stack.
        embeddings: of another body, to hold in place of new ones.
    """
    sizes = {"num_blocks": num_blocks, "vocab_size": vocab_size, "max_positions": max_positions}
    return BODIES[type(config)](config, **sizes, embeddings=embeddings)
