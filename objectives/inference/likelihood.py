"""Likelihoods: the examples whose labels, summed, score a text.

    text         Thank you for
    pll          reads [CLS] [MASK] you for [SEP]     predicts Thank
                 reads [CLS] Thank [MASK] for [SEP]   predicts you
                 reads [CLS] Thank you [MASK] [SEP]   predicts for

The score is the sum of log p(label) over the labels of all the examples. They are collated and predicted as in
training, so that summing them needs nothing of the objective. A normalised scorer predicts each label from the labels
before it and from nothing behind it, so that the probabilities of all texts of one length sum to 1.
"""

import itertools
from collections.abc import Callable

import numpy as np

from data.stream.batch import EARLIER, IGNORE, NOWHERE, Example
from data.stream.windows import Window
from data.tokens.tokenizer import Vocabulary

Part = tuple[np.ndarray, np.ndarray]  # int64[length] ids, and the places in the text that they stand for


def special(*ids: int, origin: int = NOWHERE) -> Part:
    """Tokens that stand for none of the text."""
    return np.array(ids, dtype=np.int64), np.full(len(ids), origin)


def joined(*parts: Part) -> Part:
    """The parts, concatenated."""
    ids, origins = zip(*parts, strict=True)
    return np.concatenate(ids).astype(np.int64), np.concatenate(origins)


def whole(prefix: np.ndarray, text: np.ndarray) -> Part:
    """The prefix and the text, with their places."""
    ids = np.concatenate([prefix, text]).astype(np.int64)
    return ids, np.arange(len(ids))


def document(tokens: np.ndarray, end_token: int) -> Window:
    """Tokens as a document of their own, after another that ends with `end_token`."""
    start = np.zeros(1, dtype=np.int64)
    return Window(
        index=0, tokens=tokens, previous=end_token, sentence_starts=start, document_starts=start, first_document=0
    )


def within(part: Part, start: int, end: int | None = None) -> Part:
    """The part from `start` to `end`."""
    ids, origins = part
    return ids[start:end], origins[start:end]


# --- a causal decoder ---


def left_to_right(
    prefix: np.ndarray, text: np.ndarray, *, start: int, term: str, predicts_first: bool
) -> list[Example]:
    """Every token of the text is predicted from those before it and `start`, which ends an earlier document."""
    labels, origins = whole(prefix, text)
    ids = np.concatenate([[start], labels[:-1]])
    labels[: max(len(prefix), int(not predicts_first))] = IGNORE
    origins = np.concatenate([[EARLIER], origins[:-1]])
    return [Example(decoder_ids=ids, decoder_origins=origins, labels={term: labels}, token_term=term)]


# --- an encoder alone: masked copies ---


def token_alone(tokens: np.ndarray, _vocabulary: Vocabulary) -> np.ndarray:
    """int64[length], for each token the end of what is masked with it: only itself (Salazar et al. 2020)."""
    return np.arange(len(tokens)) + 1


def rest_of_word(tokens: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """The same: itself and the later tokens of its word, which would reveal it (Kauf & Ivanova 2023)."""
    return word_bounds(tokens, vocabulary)[np.cumsum(vocabulary.word_starts(tokens))]


def rest_of_text(tokens: np.ndarray, _vocabulary: Vocabulary) -> np.ndarray:
    """The same: itself and all later tokens, which makes a chain from left to right."""
    return np.full(len(tokens), len(tokens))


def word_bounds(tokens: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """int64[words + 1], where words begin, and the end of the last."""
    return np.append(np.flatnonzero(vocabulary.word_starts(tokens)), len(tokens))


def masked_copies(
    prefix: np.ndarray,
    text: np.ndarray,
    *,
    hidden_to: Callable[[np.ndarray, Vocabulary], np.ndarray],
    vocabulary: Vocabulary,
    term: str,
) -> list[Example]:
    """A copy for each token of the text, the only target, masked from there to the end that `hidden_to` gives."""
    tokens = whole(prefix, text)
    ends = hidden_to(tokens[0], vocabulary)
    ids, origins = joined(special(vocabulary.cls), tokens, special(vocabulary.sep))
    segments = np.zeros(len(ids), dtype=np.int64)
    copies = []
    for place in range(len(prefix), len(tokens[0])):
        masked, labels = ids.copy(), np.full(len(ids), IGNORE)
        masked[1 + place : 1 + ends[place]] = vocabulary.mask
        labels[1 + place] = tokens[0][place]
        copies.append(
            Example(
                encoder_ids=masked, encoder_origins=origins, segments=segments, labels={term: labels}, token_term=term
            )
        )
    return copies


# --- an encoder and a decoder ---


def predicted_after(source: Part, before: Part, text: Part, *, term: str) -> Example:
    """The encoder reads `source`; the decoder reads `before`, which is given, and predicts the text behind it."""
    ids, origins = joined(before, text)
    labels = ids[1:].copy()
    labels[: len(before[0]) - 1] = IGNORE
    return Example(
        encoder_ids=source[0],
        encoder_origins=source[1],
        decoder_ids=ids[:-1],
        decoder_origins=origins[1:],  # of the target at each position
        labels={term: labels},
        token_term=term,
    )


def restored_whole(prefix: np.ndarray, text: np.ndarray, *, vocabulary: Vocabulary, term: str) -> list[Example]:
    """For a denoiser: one [MASK] stands for the whole text, as it may stand for any span in training."""
    tokens, cut = whole(prefix, text), len(prefix)
    mask = special(vocabulary.mask, origin=cut)
    source = joined(special(vocabulary.bos), within(tokens, 0, cut), mask, special(vocabulary.eos))
    before = joined(special(vocabulary.eos, vocabulary.bos), within(tokens, 0, cut))
    return [predicted_after(source, before, within(tokens, cut), term=term)]


def infilled(prefix: np.ndarray, text: np.ndarray, *, vocabulary: Vocabulary, term: str) -> list[Example]:
    """For a denoiser: [MASK] stands for one token at a time, predicted from all before it."""
    tokens, copies = whole(prefix, text), []
    for place in range(len(prefix), len(tokens[0])):
        rest = within(tokens, place + 1)
        mask = special(vocabulary.mask, origin=place)
        source = joined(special(vocabulary.bos), within(tokens, 0, place), mask, rest, special(vocabulary.eos))
        before = joined(special(vocabulary.eos, vocabulary.bos), within(tokens, 0, place))
        copies.append(predicted_after(source, before, within(tokens, place, place + 1), term=term))
    return copies


def span_copies(
    prefix: np.ndarray, text: np.ndarray, *, one_by_one: bool, vocabulary: Vocabulary, term: str
) -> list[Example]:
    """For span corruption: a sentinel stands for each word of the text in turn, or for all of it."""
    tokens, cut = whole(prefix, text), len(prefix)
    bounds = word_bounds(tokens[0], vocabulary) if one_by_one else np.array([len(tokens[0])])
    bounds = np.concatenate([[cut], bounds[bounds > cut]])
    copies = []
    for start, end in itertools.pairwise(bounds):
        sentinel = special(int(vocabulary.sentinels[0]), origin=start)
        source = joined(within(tokens, 0, start), sentinel, within(tokens, end), special(vocabulary.eos))
        before = joined(special(vocabulary.pad), sentinel)
        copies.append(predicted_after(source, before, within(tokens, start, end), term=term))
    return copies


def unread(
    prefix: np.ndarray, text: np.ndarray, *, start: tuple[int, ...], vocabulary: Vocabulary, term: str
) -> list[Example]:
    """The encoder reads EOS alone, as in lm-evaluation-harness and BabyLM 2023, which occurs in no training."""
    tokens, cut = whole(prefix, text), len(prefix)
    before = joined(special(*start), within(tokens, 0, cut))
    return [predicted_after(special(vocabulary.eos), before, within(tokens, cut), term=term)]
