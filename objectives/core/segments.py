"""Pairs of segments for next-sentence prediction: BERT (Devlin et al. 2019, 3.1, task 2)."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from torch import Tensor, nn

from common.errors import UserError
from data.stream.batch import IGNORE, NOWHERE
from data.stream.windows import Window, Windows

FOLLOWS, RANDOM_SEGMENT = 0, 1  # as in BERT and in Hugging Face's classes
TRIES = 10  # to find a random segment, as in BERT, which keeps the tenth whatever it is; here the window stays whole


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """One or two segments with their places in the window, and the label: whether the second follows the first."""

    tokens: list[np.ndarray]
    origins: list[np.ndarray]
    label: int

    def encoded(self, *, cls: int, sep: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int64[length] ids `[CLS] A [SEP] B [SEP]`, their origins, and the number of the segment of each."""
        ids, origins, numbers = [[cls]], [[NOWHERE]], [[0]]
        for number, (tokens, places) in enumerate(zip(self.tokens, self.origins, strict=True)):
            ids += [tokens, [sep]]
            origins += [places, [NOWHERE]]
            numbers += [[number] * (len(tokens) + 1)]
        return np.concatenate(ids).astype(np.int64), np.concatenate(origins), np.concatenate(numbers)


def whole(window: Window) -> Segments:
    """The window as one segment."""
    return Segments(tokens=[window.tokens], origins=[np.arange(len(window))], label=IGNORE)


def pair(window: Window, rng: Generator, windows: Windows) -> Segments:
    """The window cut at a sentence within a document, its second part replaced with probability 1/2.

    The replacement begins with a sentence, is as long as what it replaces, and holds no document of the first part. A
    window without such a cut, and one for which no random segment is found, stays one segment without a label.
    """
    cuts = np.setdiff1d(window.sentence_starts, window.document_starts)
    cuts = cuts[cuts > 0]
    if not len(cuts):
        return whole(window)
    cut = int(rng.choice(cuts))
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


def shortened(window: Window, rng: Generator) -> Window:
    """The beginning of a window, from 2 tokens to all of them, every length equally likely."""
    length = int(rng.integers(2, len(window) + 1)) if len(window) > 2 else len(window)
    return replace(
        window,
        tokens=window.tokens[:length],
        sentence_starts=window.sentence_starts[window.sentence_starts < length],
        document_starts=window.document_starts[window.document_starts < length],
    )


def check_pairs(windows: Windows) -> None:
    """Raises UserError where the text has no two documents of several sentences."""
    store = windows.store
    inner_starts = np.setdiff1d(store.sentence_starts[:], store.document_starts[:])
    documents = np.searchsorted(store.document_starts, inner_starts, side="right")
    if len(np.unique(documents)) < 2:
        raise UserError(
            f"next-sentence prediction needs two documents of several sentences, and data.corpus has "
            f"{len(np.unique(documents))} among its {len(store.document_starts)}: cut the text otherwise "
            f"(data.documents), or set model.init_args.next_sentence to false"
        )


class NextSentenceHead(nn.Module):
    """BERT's pooler and classifier: [N, D] states of [CLS] -> [N, 2]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, states_ND: Tensor) -> Tensor:
        return self.classifier(self.pooler(states_ND).tanh())
