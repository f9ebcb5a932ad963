"""Entities and tags: BIO and back, words on sub-tokens, and the best tags that follow from one another.

Shapes: L labelled tokens, T tags. A span is [start, end): words of a sentence, or characters of a text.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import regex

from common.errors import UserError
from data.stream.batch import IGNORE
from data.text.graphemes import whole_graphemes

OUTSIDE = "O"
Spans = Sequence[tuple[int, int]]
# Letters, digits and marks with the joiners between them; a flag; or another sign with all that modifies it.
_WORD = regex.compile(
    r"[\w\p{M}](?:[\w\p{M}\p{GCB=Extend}]|[\u200c\u200d](?=[\w\p{M}]))*"
    r"|\p{RI}{2}|[^\s\x1c-\x1f](?:[\p{GCB=Extend}\p{GCB=SpacingMark}]|\u200d[^\s\x1c-\x1f])*"
)
_TAG = re.compile(r"([BIESLU])-(.+)", re.DOTALL)


class Entity(NamedTuple):
    """An entity of a kind over the words [start, end)."""

    kind: str
    start: int
    end: int


class Mention(NamedTuple):
    """An entity in a text: `text` is what stands at the characters [start, end)."""

    kind: str
    start: int
    end: int
    text: str


def parse_tag(tag: str) -> tuple[str, str]:
    """The letter and the kind of a tag: `B-person` is ("B", "person"), `O` is ("O", "").

    Raises:
        UserError: where it is neither O nor a letter of BIO, IOB1, BIOES and BILOU with a kind.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if not (match := _TAG.fullmatch(tag)):
        raise UserError(f"tag '{tag}' encodes no entity: it must be O, or one of B- I- E- S- L- U- and a kind")
    return match[1], match[2]


def is_iob1(sentences: Iterable[Sequence[str]]) -> bool:
    """Whether B- stands only where an entity follows another of its kind (IOB1), and never opens one after O."""
    for tags in sentences:
        for before, tag in itertools.pairwise([OUTSIDE, *tags]):
            if tag.startswith("B-") and parse_tag(before)[1] != tag[2:]:
                return False
    return True


def to_bio(tags: Sequence[str], *, iob1: bool = False) -> tuple[tuple[str, ...], int]:
    """Tags of BIO, IOB1, BIOES or BILOU in BIO, and how many of them did not follow from the one before.

    What goes on with an entity that is not there begins one, as conlleval and seqeval read it. The tags that come
    out follow from one another always.

    Args:
        tags: of one sentence.
        iob1: whether I- may open an entity, so that doing so is not counted.

    Raises:
        UserError: where a tag encodes no entity.
    """
    in_bio, breaks, open_kind = [], 0, ""
    for tag in tags:
        letter, kind = parse_tag(tag)
        goes_on = letter in "IEL" and kind == open_kind
        in_bio.append(tag if letter == OUTSIDE else f"{'I' if goes_on else 'B'}-{kind}")
        breaks += letter in "IEL" and not goes_on and not (iob1 and letter == "I")
        open_kind = "" if letter in "ESLU" else kind
    return tuple(in_bio), breaks


def to_entities(tags: Sequence[str]) -> list[Entity]:
    """The entities that tags encode, in order, as seqeval reads them.

    Raises:
        UserError: where a tag encodes no entity.
    """
    entities: list[Entity] = []
    for place, tag in enumerate(to_bio(tags)[0]):
        if tag.startswith("B-"):
            entities.append(Entity(tag[2:], place, place + 1))
        elif tag.startswith("I-"):
            entities[-1] = entities[-1]._replace(end=place + 1)
    return entities


def tag_names(sentences: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """O, and B- and I- of every kind that occurs in these BIO tags, kinds in alphabetical order.

    Raises:
        UserError: where a tag encodes no entity.
    """
    kinds = sorted({parse_tag(tag)[1] for tag in set(itertools.chain.from_iterable(sentences))} - {""})
    return (OUTSIDE, *(f"{letter}-{kind}" for kind in kinds for letter in "BI"))


# --- words and sub-tokens ---


def split_words(text: str) -> list[tuple[int, int]]:
    """Characters of the words of a text: runs of letters, digits and marks; every other sign is a word of its own.

    No word ends within a character: what marks, joiners and modifiers make of several code points is one sign.
    """
    return [match.span() for match in _WORD.finditer(text)]


def join_words(words: Sequence[str], joiner: str = " ") -> tuple[str, list[tuple[int, int]]]:
    """The text of words, and the characters of each in it. `joiner` is "" where words are single characters."""
    starts = itertools.accumulate((len(word) + len(joiner) for word in words), initial=0)
    return joiner.join(words), [(start, start + len(word)) for start, word in zip(starts, words, strict=False)]


def first_tokens(words: Spans, offsets: Spans) -> np.ndarray:
    """int64[words], the first sub-token that holds some of each word; -1 where none does.

    Args:
        words: characters of the words, in order.
        offsets: characters of the sub-tokens, in order, as `tokenizers` gives them. Several may lie on one character
            (byte-level BPE on Korean), begin with the space before a word, or be empty (special tokens).
    """
    first = np.full(len(words), -1, dtype=np.int64)
    token = 0
    for place, (start, end) in enumerate(words):
        while token < len(offsets) and offsets[token][1] <= start:
            token += 1
        ahead = token
        while ahead < len(offsets) and offsets[ahead][0] == offsets[ahead][1]:
            ahead += 1
        if start < end and ahead < len(offsets) and offsets[ahead][0] < end:
            first[place] = ahead
    return first


def token_labels(first: np.ndarray, tag_ids: np.ndarray, num_tokens: int) -> np.ndarray:
    """int64[num_tokens], the tag of each word at its first sub-token and IGNORE elsewhere.

    Of words that share their first sub-token the first has its tag. A tag without an id (-1) is not learned.
    """
    labels = np.full(num_tokens, IGNORE, dtype=np.int64)
    tokens, words = np.unique(first, return_index=True)
    there = (tokens >= 0) & (tag_ids[words] >= 0)
    labels[tokens[there]] = tag_ids[words[there]]
    return labels


def labelled_tokens(first: np.ndarray) -> np.ndarray:
    """int64[L], the sub-tokens whose tags are to be decoded, in order: each that is some word's first."""
    return np.unique(first[first >= 0])


def word_tags(first: np.ndarray, tags: Sequence[str]) -> tuple[str, ...]:
    """The tag of every word from those of the `labelled_tokens`; they follow from one another if those do.

    Words that share a token share its entity: behind the first of them B- becomes I-. A word that has no token is
    inside the entity that goes on behind it, or O.
    """
    of_token = dict(zip(labelled_tokens(first).tolist(), tags, strict=True))
    tokens = first.tolist()
    of_words: list[str] = []
    after = OUTSIDE
    for place in reversed(range(len(tokens))):
        if tokens[place] >= 0:
            after = of_token[tokens[place]]
            if after.startswith("B-") and place > 0 and tokens[place - 1] == tokens[place]:
                after = "I-" + after[2:]
            of_words.append(after)
        else:
            of_words.append(after if after.startswith("I-") else OUTSIDE)
    return tuple(reversed(of_words))


def independent_tags(first: np.ndarray, tags: Sequence[str], *, without: str) -> tuple[str, ...]:
    """The tag of every word by that of its first sub-token, of the `labelled_tokens`; `without` for one without any."""
    of_token = dict(zip(labelled_tokens(first).tolist(), tags, strict=True))
    return tuple(of_token.get(token, without) for token in first.tolist())


def mentions(text: str, words: Spans, tags: Sequence[str]) -> list[Mention]:
    """The entities that the tags of a text's words encode: each is text[start:end], exactly, and cuts no character."""
    found = [
        (kind, *whole_graphemes(text, words[start][0], words[end - 1][1])) for kind, start, end in to_entities(tags)
    ]
    return [Mention(kind, start, end, text[start:end]) for kind, start, end in found]


# --- the best tags that follow from one another ---


def transitions(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """bool[T] and bool[T, T]: which BIO tag may come first, and which column's tag may follow which row's.

    I- of a kind follows B- or I- of that kind; everything else may stand anywhere.
    """
    kinds = [parse_tag(name)[1] for name in names]
    inside = np.array([name.startswith("I-") for name in names])
    same = np.array([[bool(kind) and kind == other for other in kinds] for kind in kinds])
    return ~inside, ~inside[None, :] | same


def best_tags(log_probs_LT: np.ndarray, first_T: np.ndarray, follows_TT: np.ndarray) -> np.ndarray:
    """int64[L], the most probable tags of all that `first_T` and `follows_TT` allow (Viterbi); exact.

    Of equally probable ones the one whose tags, read from the end, come first in the order of names.
    """
    length = len(log_probs_LT)
    if length == 0:
        return np.zeros(0, dtype=np.int64)
    steps_TT = np.where(follows_TT, 0.0, -np.inf)
    scores_T = np.where(first_T, log_probs_LT[0].astype(np.float64), -np.inf)
    came_from_LT = np.zeros(log_probs_LT.shape, dtype=np.int64)
    for place in range(1, length):
        paths_TT = scores_T[:, None] + steps_TT
        came_from_LT[place] = paths_TT.argmax(axis=0)
        scores_T = paths_TT.max(axis=0) + log_probs_LT[place]
    path = [int(scores_T.argmax())]
    for place in range(length - 1, 0, -1):
        path.append(int(came_from_LT[place, path[-1]]))
    return np.array(path[::-1], dtype=np.int64)
