"""Documents as the tokens of their sentences: exactly those of the whole text, whatever the tokenizer.

A tokenizer that cuts before white space, and puts nothing before a text, sees in each sentence what it sees in the
whole text; sentences are then encoded by themselves, on all cores and in little memory. Any other reads whole
documents, whose tokens are parted by their offsets.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from common.errors import UserError

Cut = Callable[[str], Iterable[str]]  # a document into its sentences; joined they are the document
Sentence = tuple[list[int], int]  # the tokens of a sentence, and its UTF-8 bytes
SENTENCES_AT_ONCE = 4_096
WHOLE_CHARACTERS = 20_000_000  # of one document that is encoded at once: its tokens and offsets take 2 GB
_CHARACTERS_AT_ONCE = 1_000_000
_LOCAL_NORMALIZERS = {"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"}
_LOCAL_CUTS = {"Digits", "Punctuation"}  # finer than words
_CUTS_AT_WHITE_SPACE = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit", "ByteLevel"}
_BRACKETS = {"type": "Split", "pattern": {"Regex": r"[\[\]<>|]"}, "behavior": "Isolated", "invert": False}


def _parts(component: Any) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as its settings, those of a sequence one by one."""
    if component is None:
        return []
    state = json.loads(component.__getstate__())
    found = state.get("normalizers") or state.get("pretokenizers") or [state]
    return [part for one in found for part in (one.get("pretokenizers") or one.get("normalizers") or [one])]


def _puts_a_blank(part: dict[str, Any]) -> bool:
    """Whether a normalizer or pre-tokenizer puts a blank before a text."""
    scheme = part.get("prepend_scheme", "never" if part["type"] != "Metaspace" else "always")
    return part["type"] == "Prepend" or bool(part.get("add_prefix_space")) or scheme != "never"


def puts_blank_before(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer puts a blank before what it is given, as if each text began a word."""
    return any(map(_puts_a_blank, [*_parts(tokenizer.normalizer), *_parts(tokenizer.pre_tokenizer)]))


def cuts_before_white_space(tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a text are those of its parts, wherever it is cut before white space.

    Known of few kinds of normalizers and pre-tokenizers; False for all others, and where words were added that are
    found before text is cut.
    """
    normalizers, cuts = _parts(tokenizer.normalizer), _parts(tokenizer.pre_tokenizer)
    words = [token for token in tokenizer.get_added_tokens_decoder().values() if not token.special]
    is_local = all(part["type"] in _LOCAL_NORMALIZERS for part in normalizers)
    known = [part for part in cuts if part["type"] in _CUTS_AT_WHITE_SPACE and part.get("use_regex", True)]
    rest = [part for part in cuts if part not in known and part != _BRACKETS and part["type"] not in _LOCAL_CUTS]
    return not words and is_local and bool(known) and not rest and not puts_blank_before(tokenizer)


def continuing(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer of text that goes on behind other text: the same one, without a blank of its own before it."""
    if not puts_blank_before(tokenizer):
        return tokenizer

    def without(component: dict[str, Any] | None, key: str) -> dict[str, Any] | None:
        if component is None or component["type"] == "Prepend":
            return None
        if component["type"] == "Sequence":
            parts = [part for one in component[key] if (part := without(one, key)) is not None]
            return {**component, key: parts}
        changed = {"add_prefix_space": False} if component.get("add_prefix_space") else {}
        if component["type"] == "Metaspace":
            changed = {"prepend_scheme": "never"}
        return {**component, **changed}

    content = json.loads(tokenizer.to_str())
    content["normalizer"] = without(content["normalizer"], "normalizers")
    content["pre_tokenizer"] = without(content["pre_tokenizer"], "pretokenizers")
    twin = Tokenizer.from_str(json.dumps(content))
    twin.encode_special_tokens = tokenizer.encode_special_tokens
    return twin


def _of_whole_document(ids: list[int], offsets: Sequence[tuple[int, int]], pieces: Sequence[str]) -> list[Sentence]:
    """The tokens of a document by its sentences: a token belongs to that in which it begins."""
    begins = np.maximum.accumulate(np.array([start for start, _ in offsets], dtype=np.int64))
    characters = np.cumsum([0, *map(len, pieces[:-1])])
    firsts = np.searchsorted(begins, characters, side="left")
    firsts[:1] = 0
    bounds = itertools.pairwise([*firsts.tolist(), len(ids)])
    return [(ids[start:end], len(piece.encode())) for piece, (start, end) in zip(pieces, bounds, strict=True)]


def _batches(texts: Iterable[str], cut: Cut, *, is_whole: bool) -> Iterator[list[list[str]]]:
    """Documents as their sentences, so many at once as are encoded in parallel; a part of a document where it is long.

    The last list of a document is followed by an empty one.
    """
    batch: list[list[str]] = []
    size = 0
    for text in texts:
        sentences = iter(cut(text))
        room = len(text) if is_whole else SENTENCES_AT_ONCE
        while part := list(itertools.islice(sentences, room or 1)):
            batch.append(part)
            size += len(text) / _CHARACTERS_AT_ONCE if is_whole else len(part) / SENTENCES_AT_ONCE
            if size >= 1:
                yield batch
                batch, size = [], 0
        batch.append([])
    yield batch


def sentence_tokens(texts: Iterable[str], cut: Cut, tokenizer: Tokenizer) -> Iterator[list[Sentence]]:
    """Documents as the tokens of their sentences; a long one in several lists, an empty list behind its last.

    Raises:
        UserError: where a document is too long for a tokenizer that must read it whole.
    """
    is_whole = not cuts_before_white_space(tokenizer)
    for batch in _batches(texts, cut, is_whole=is_whole):
        if is_whole:
            wholes = ["".join(part) for part in batch]
            if (longest := max(map(len, wholes), default=0)) > WHOLE_CHARACTERS:
                raise UserError(
                    f"a document of {longest:,} characters is too long for this data.tokenizer, which must read a "
                    f"document whole and takes {WHOLE_CHARACTERS:,} at most: cut the text with data.documents "
                    f"(paragraph or line), or train a tokenizer (data.tokenizer = byte_bpe)"
                )
            encodings = tokenizer.encode_batch(wholes, add_special_tokens=False)
            for encoding, part in zip(encodings, batch, strict=True):
                yield _of_whole_document(encoding.ids, encoding.offsets, part) if part else []
        else:
            flat = [sentence for part in batch for sentence in part]
            each = iter(tokenizer.encode_batch_fast(flat, add_special_tokens=False))
            for part in batch:
                yield [(next(each).ids, len(sentence.encode())) for sentence in part]
