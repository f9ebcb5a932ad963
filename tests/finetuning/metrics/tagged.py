"""Sentences with entities, drawn, and their tags."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

from finetuning.metrics.spans import Entity

FIXED = settings(deadline=None, derandomize=True, max_examples=100)

KIND = st.sampled_from(["a", "b", "creative-work"])


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Entity], int]:
    """Entities of a sentence, of which some touch, and its length."""
    entities, place = [], 0
    for kind, gap, length in draw(st.lists(st.tuples(KIND, st.integers(0, 2), st.integers(1, 3)), max_size=5)):
        entities.append(Entity(kind, place + gap, place + gap + length))
        place += gap + length
    return entities, place + draw(st.integers(0, 2))


def to_tags(entities: Sequence[Entity], length: int) -> tuple[str, ...]:
    """The BIO tags of a sentence of `length` words with these entities, of which no two overlap."""
    tags = ["O"] * length
    for kind, start, end in entities:
        assert tags[start:end] == ["O"] * (end - start) != []
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return tuple(tags)
