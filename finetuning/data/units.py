"""What has a tag: the words of a sentence, or its characters; and the sub-tokens of each.

Words that a blank parts are tokenised with the whole text. Where none parts them (`joiner` ""), a tokenizer would join
neighbours into one token, of which only one tag could be learned: there the tagged units are characters, and each is
encoded by itself, with the blanks before it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from common.errors import UserError
from data.text.graphemes import graphemes
from finetuning.data.inputs import reader_of
from finetuning.data.rows import TokenRow
from finetuning.data.values import unwritten
from finetuning.metrics.spans import OUTSIDE, Spans, first_tokens, join_words, split_words, to_entities


def units_of_text(text: str, *, by_character: bool) -> Spans:
    """The characters [start, end) of the units into which a text is split where they are not given."""
    return graphemes(text) if by_character else split_words(text)


def share_split_otherwise(rows: Sequence[TokenRow], joiner: str, *, by_character: bool) -> float:
    """The share of the rows' units that would be other ones, had their texts been given and not their units."""
    other = total = 0
    for row in rows:
        text, places = join_words(row.words, joiner)
        inked = [place for word, place in zip(row.words, places, strict=True) if word.strip()]
        found = set(units_of_text(text, by_character=by_character))
        total += len(inked)
        other += sum(place not in found for place in inked)
    return other / max(total, 1)


def tag_of_blanks(rows: Sequence[TokenRow]) -> str | None:
    """The tag that units of white space have most often, which no token holds; None where there are none."""
    tags = Counter(tag for row in rows for unit, tag in zip(row.words, row.tags, strict=True) if not unit.strip())
    return min(tags, key=lambda tag: (-tags[tag], tag), default=None)


def cuts_words(text: str) -> bool:
    """Whether signs within a word part it, as in U.S. or don't; those at its ends are signs of the sentence."""
    for touching in text.split():
        parts = [touching[start:end] for start, end in split_words(touching)]
        while parts and not parts[0][0].isalnum():
            parts.pop(0)
        while parts and not parts[-1][0].isalnum():
            parts.pop()
        if len(parts) > 1:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToTag(TokenRow):
    """A text to be tagged, with the characters of its units, and, where the words were given, the unit of each."""

    text: str
    places: tuple[tuple[int, int], ...]
    first_units: tuple[int, ...] | None = None


def split_where(row: TokenRow, *, by_character: bool) -> str:
    """Where a text is split that might have been given as a list of units; "" where at blanks and its words' ends."""
    if not isinstance(row, TextToTag) or row.first_units is not None:
        return ""
    return "into characters" if by_character else "at signs within words" if cuts_words(row.text) else ""


class UnitTokens(NamedTuple):
    """The sub-tokens of a sentence, and int64[units], the first of each unit; -1 where it has none."""

    ids: list[int]
    first: np.ndarray


def in_characters(row: TokenRow) -> TokenRow:
    """A sentence of characters, each with its word's tag, B- going on as I-; white space at an entity's ends is O."""
    parts = [[word[start:end] for start, end in graphemes(word)] for word in row.words]
    characters = tuple(character for part in parts for character in part)
    tags: list[str] = []
    for part, tag in zip(parts, row.tags, strict=False):
        inner = f"I-{tag[2:]}" if tag.startswith("B-") else tag
        tags += [tag if place == 0 else inner for place in range(len(part))]
    trimmed = [OUTSIDE] * len(tags)
    for kind, start, end in to_entities(tags):
        inked = [place for place in range(start, end) if characters[place].strip()]
        for place in range(inked[0], inked[-1] + 1) if inked else ():
            trimmed[place] = f"{'B' if place == inked[0] else 'I'}-{kind}"
    return replace(row, words=characters, tags=tuple(trimmed))


def words_of(given: Any, column: str) -> tuple[str, ...] | None:
    """The words that an input of predict.py lists in a column; None where it lists none.

    Raises:
        UserError: where the list is empty, or holds something else.
    """
    reader = reader_of(given) if isinstance(given, dict) else None
    words = unwritten(reader.value(column)) if reader is not None and column in reader else None
    if not isinstance(words, list | tuple):
        return None
    if not all(isinstance(word, str | int) for word in words) or not words:
        raise UserError(f"'{column}' = {words!r:.60} must be a list of words, at least one")
    return tuple(map(str, words))


def row_of_words(words: Sequence[str], joiner: str, *, in_characters_too: bool) -> TextToTag:
    """Words to be tagged, as they are or in their characters."""
    parts = [in_characters(TokenRow(words=(word,))).words if in_characters_too else (word,) for word in words]
    units = tuple(unit for part in parts for unit in part)
    text, places = join_words(units, joiner)
    first_units = np.cumsum([0, *map(len, parts[:-1])]).tolist()
    return TextToTag(words=units, text=text, places=tuple(places), first_units=tuple(first_units))


def row_of_text(text: str, *, by_character: bool) -> TextToTag:
    """A text to be tagged, in the units that are found in it."""
    places = units_of_text(text, by_character=by_character)
    return TextToTag(words=tuple(text[start:end] for start, end in places), text=text, places=tuple(places))


def whole_text_tokens(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], joiner: str) -> list[UnitTokens]:
    """The tokens of each sentence's text; a unit of white space has none, even where a token begins with it."""
    joined = [join_words(words, joiner) for words in sentences]
    encoded = tokenizer.encode_batch([text for text, _ in joined], add_special_tokens=False)
    found = []
    for words, (_, places), text in zip(sentences, joined, encoded, strict=True):
        inked = [span if word.strip() else (span[0], span[0]) for word, span in zip(words, places, strict=True)]
        found.append(UnitTokens(text.ids, first_tokens(inked, text.offsets)))
    return found


def _pieces(words: Sequence[str], joiner: str) -> tuple[list[str], list[int]]:
    """Each unit with the white space before it (what follows the last by itself), and the unit of each; -1 for none."""
    text, places = join_words(words, joiner)
    pieces, owners, end = [], [], 0
    for place, (word, span) in enumerate(zip(words, places, strict=True)):
        if word.strip():
            pieces.append(text[end : span[1]])
            owners.append(place)
            end = span[1]
    if end < len(text):
        pieces.append(text[end:])
        owners.append(-1)
    return pieces, owners


def tokens_one_by_one(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], joiner: str) -> list[UnitTokens]:
    """The tokens of each sentence, its units encoded one by one, so that no two share a token.

    A unit of white space has none: it is encoded with the unit behind it, as a tokenizer has it in a text.
    """
    parts = [_pieces(words, joiner) for words in sentences]
    distinct = list(dict.fromkeys(piece for pieces, _ in parts for piece in pieces))
    encoded = dict(zip(distinct, tokenizer.encode_batch(distinct, add_special_tokens=False), strict=True))
    found = []
    for words, (pieces, owners) in zip(sentences, parts, strict=True):
        ids: list[int] = []
        first = np.full(len(words), -1, dtype=np.int64)
        for piece, owner in zip(pieces, owners, strict=True):
            tokens = encoded[piece]
            if owner >= 0:
                (place,) = first_tokens([(len(piece) - len(piece.lstrip()), len(piece))], tokens.offsets).tolist()
                first[owner] = len(ids) + place if place >= 0 else -1
            ids += tokens.ids
        found.append(UnitTokens(ids, first))
    return found
