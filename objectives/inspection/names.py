"""What a reader sees of a token by itself: white space by a sign, parts of characters with the character."""

from collections.abc import Callable, Mapping, Sequence

from tokenizers import Tokenizer

from data.tokens.decoding import bytes_of

BROKEN = "\ufffd"  # what a decoder writes for bytes that make no character
MOST_PARTS = 8  # tokens that a character, or a few with a broken one at either end, is cut into
_SIGNS = str.maketrans({"\n": "\u21b5", "\r": "\u240d", "\t": "\u21e5", "\v": "\u240b", "\f": "\u240c"})
_PARTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
Decode = Callable[[Sequence[int]], str]  # text of ids


def in_one_line(text: str) -> str:
    """A text whose line breaks and tabs are signs."""
    return text.translate(_SIGNS)


def _alone(token: int, decode: Decode, known: Mapping[int, str], tokenizer: Tokenizer | None) -> str:
    text = decode([token])
    if BROKEN not in text:
        return in_one_line(text.removeprefix(" ")) or "\u2423"
    if token in known:
        return known[token]
    spelled = None if tokenizer is None else bytes_of(tokenizer, token)
    return "\u27e8\u2026\u27e9" if spelled is None else f"\u27e8{spelled.hex(' ').upper()}\u27e9"


def token_names(
    ids: Sequence[int], decode: Decode, *, known: Mapping[int, str] | None = None, tokenizer: Tokenizer | None = None
) -> list[str]:
    """The text of each token of a sequence, in one line, without a blank before it and without half characters.

    Where a character is cut into several tokens that stand side by side, each has the whole with the number of the
    part: 초₁ 초₂. A part that stands alone is named as in `known`, which holds names by id, or by its bytes: ⟨EC B4⟩.
    """
    names: list[str] = []
    while len(names) < len(ids):
        start = len(names)
        if BROKEN in decode([ids[start]]):
            for end in range(start + 2, min(start + MOST_PARTS, len(ids)) + 1):
                whole = decode(ids[start:end])
                if BROKEN not in whole:
                    break
            else:
                whole, end = "", start + 1
            if whole:
                text = in_one_line(whole.removeprefix(" "))
                names += [f"{text}{str(part).translate(_PARTS)}" for part in range(1, end - start + 1)]
                continue
        names.append(_alone(ids[start], decode, known or {}, tokenizer))
    return names
