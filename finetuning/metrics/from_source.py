"""What a model takes from a source: how much likelier it makes the target than another source does.

    own       초대해 주셔서 감사합니다 .   Thank you for inviting me .    log2 p = -14
    another   잠자코 있어 주시겠어요 ?     Thank you for inviting me .    log2 p = -23    9 bits are from the source

An overlap of texts sees nothing of this before a model translates whole words; a likelihood does, from the first thing
on that it understands. It is the pointwise mutual information of source and target under the model, with one other
source for all of them, where Bugliarello et al. 2020 ("It's Easier to Translate out of English than into it", 3) have a
language model, whose training would be another one.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

Likelihood = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""The nats of each target behind its source, float64[rows]: its end is among them."""


def other_sources(sources: Sequence[str]) -> list[str]:
    """For each source another text among them, the next longer one; for the longest, the next shorter.

    Lengths are in characters, and equal lengths are in the order of their texts, so that the order of the rows changes
    nothing. Where all are the same text there is no other, and that one stands for it.
    """
    texts = sorted(set(sources), key=lambda text: (len(text), text))
    following = dict(zip(texts, [*texts[1:], *texts[-2:-1], *texts][: len(texts)], strict=True))
    return [following[source] for source in sources]


def bits_from_source(sources: Sequence[str], targets: Sequence[str], nats: Likelihood) -> np.ndarray:
    """float64[rows], the bits by which a row's own source makes its target likelier than another's does.

    0 where the model does not read its sources, and below it where one misleads. They are of a text, not of a token, so
    that models with different tokenizers can be compared.

    Args:
        sources: of each row.
        targets: of each row.
        nats: of a target behind a source.
    """
    return (nats(other_sources(sources), targets) - nats(sources, targets)) / math.log(2)
