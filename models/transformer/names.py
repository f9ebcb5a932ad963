"""Names of parameters, then and now: checkpoints of the first edition are read, and its random numbers are drawn."""

import re

MOVED = {"position_table": "position_table", "segment_table": "segment_table", "embedding_norm": "norm"}
_BEFORE = re.compile(rf"(^|\.)(encoder|decoder)\.({'|'.join(MOVED)})\.")
_NOW = re.compile(rf"(^|\.)(encoder|decoder)\.embeddings\.({'|'.join(MOVED.values())})\.")


def renamed_parameter(name: str) -> str:
    """A parameter's name of today for one of the first edition's or of today's.

    `transformer.encoder.position_table.weight` is `body.encoder.embeddings.position_table.weight`; a name without that
    root keeps what is before the stack.
    """
    name = re.sub(r"^transformer\.", "body.", name)
    return _BEFORE.sub(lambda found: f"{found[1]}{found[2]}.embeddings.{MOVED[found[3]]}.", name)


def first_edition_name(name: str) -> str:
    """The name, below the body, that the first edition gave a parameter: its first values follow from that."""
    before = {now: first for first, now in MOVED.items()}
    return _NOW.sub(lambda found: f"{found[1]}{found[2]}.{before[found[3]]}.", name)
