"""The names that the first edition gave to parameters: the random numbers of first values follow from them."""

import re

MOVED = {"position_table": "position_table", "segment_table": "segment_table", "embedding_norm": "norm"}
_NOW = re.compile(rf"(^|\.)(encoder|decoder)\.embeddings\.({'|'.join(MOVED.values())})\.")


def first_edition_name(name: str) -> str:
    """The name, below the body, that the first edition gave a parameter: its first values follow from that."""
    before = {now: first for first, now in MOVED.items()}
    return _NOW.sub(lambda found: f"{found[1]}{found[2]}.{before[found[3]]}.", name)
