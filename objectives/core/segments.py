"""Pairs of segments: next sentence (Devlin et al. 2019, 3.1, task 2) and sentence order (Lan et al. 2020, 3.1)."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from torch import Tensor, nn

from common.errors import UserError
from data.stream.batch import IGNORE, NOWHERE
from data.stream.windows import Window, Windows

FOLLOWS, RANDOM_SEGMENT = 0, 1  # as in BERT and in Hugging Face's classes
IN_ORDER, SWAPPED = 0, 1  # likewise
SecondSegment = Literal["none", "next_sentence", "sentence_order"]
TRIES = 10  # to find a random segment, as in BERT, which keeps the tenth whatever it is; here the window stays whole


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """One or two segments with their places in the window, and the label of the pair."""

    tokens: list[np.ndarray]
    origins: list[np.ndarray]
    label: int

    def encoded(self, *, cls: int, sep: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int64[length] ids `[CLS] A [SEP] B [SEP]`, their origins, and the number of the segment of each."""
        length = 1 + sum(map(len, self.tokens)) + len(self.tokens)
        ids, origins, numbers = np.full(length, sep), np.full(length, NOWHERE), np.zeros(length, dtype=np.int64)
        ids[0], start = cls, 1
        for number, (tokens, places) in enumerate(zip(self.tokens, self.origins, strict=True)):
            end = start + len(tokens)
            ids[start:end], origins[start:end], numbers[start : end + 1] = tokens, places, number
            start = end + 1
        return ids, origins, numbers


def whole(window: Window) -> Segments:
    """The window as one segment."""
    return Segments(tokens=[window.tokens], origins=[np.arange(len(window))], label=IGNORE)


def _cuts(window: Window) -> np.ndarray:
    """int64[...], where a sentence begins within a document and within the window."""
    is_cut = np.zeros(len(window), dtype=bool)
    is_cut[window.sentence_starts] = True
    is_cut[window.document_starts] = False
    is_cut[0] = False
    return np.flatnonzero(is_cut)


def pair(window: Window, rng: Generator, windows: Windows) -> Segments:
    """The window cut at a sentence within a document, its second part replaced with probability 1/2.

    The replacement begins with a sentence, is as long as what it replaces, and holds no document of the first part. A
    window without such a cut, and one for which no random segment is found, stays one segment without a label.
    """
    cuts = _cuts(window)
    if not len(cuts):
        return whole(window)
    cut = int(cuts[rng.integers(len(cuts))])
    first, second, places = window.tokens[:cut], window.tokens[cut:], np.arange(len(window))
    if rng.random() < 0.5:
        return Segments(tokens=[first, second], origins=[places[:cut], places[cut:]], label=FOLLOWS)
    inner_starts = window.document_starts[(window.document_starts > 0) & (window.document_starts < cut)]
    own = range(window.first_document, window.first_document + len(inner_starts) + 1)
    for _ in range(TRIES):
        other, documents = windows.run_from_sentence(rng, len(second))
        if len(other) == len(second) and (documents.stop <= own.start or own.stop <= documents.start):
            nowhere = np.full(len(other), NOWHERE)
            return Segments(tokens=[first, other], origins=[places[:cut], nowhere], label=RANDOM_SEGMENT)
    return whole(window)


def swapped(segments: Segments) -> Segments:
    """A pair with its segments in the other order, and the other label; twice is the pair itself."""
    label = SWAPPED if segments.label == IN_ORDER else IN_ORDER
    return Segments(tokens=segments.tokens[::-1], origins=segments.origins[::-1], label=label)


def ordered(window: Window, rng: Generator) -> Segments:
    """The window cut at a sentence, its two parts swapped with probability 1/2.

    Both are of one document and stand one behind the other in it. A window of several documents, or of one sentence,
    stays one segment without a label.
    """
    cuts = _cuts(window)
    if not len(cuts) or (window.document_starts > 0).any():
        return whole(window)
    cut, places = int(cuts[rng.integers(len(cuts))]), np.arange(len(window))
    segments = Segments(
        tokens=[window.tokens[:cut], window.tokens[cut:]], origins=[places[:cut], places[cut:]], label=IN_ORDER
    )
    return swapped(segments) if rng.random() < 0.5 else segments


def shortened(window: Window, rng: Generator) -> Window:
    """The beginning of a window, from 2 tokens to all of them, every length equally likely."""
    length = int(rng.integers(2, len(window) + 1)) if len(window) > 2 else len(window)
    return replace(
        window,
        tokens=window.tokens[:length],
        sentence_starts=window.sentence_starts[window.sentence_starts < length],
        document_starts=window.document_starts[window.document_starts < length],
    )


def check_pairs(windows: Windows, second: SecondSegment = "next_sentence") -> None:
    """Raises UserError where the text has no two documents of several sentences; for sentence order, not even one."""
    store = windows.store
    inner_starts = np.setdiff1d(store.sentence_starts[:], store.document_starts[:])
    documents = np.searchsorted(store.document_starts, inner_starts, side="right")
    found, needed = len(np.unique(documents)), 1 if second == "sentence_order" else 2
    if found < needed:
        name = "sentence order" if needed == 1 else "next-sentence prediction"
        number = "a document" if needed == 1 else "two documents"
        remedy = "second_segment to none" if needed == 1 else "next_sentence to false"
        raise UserError(
            f"{name} needs {number} of several sentences, and data.corpus has {found} among its "
            f"{len(store.document_starts)}: cut the text otherwise (data.documents), or set model.init_args.{remedy}"
        )


class SegmentPairHead(nn.Module):
    """BERT's pooler and classifier: [N, D] states of [CLS] -> [N, 2]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, states_ND: Tensor) -> Tensor:
        return self.classifier(self.pooler(states_ND).tanh())
