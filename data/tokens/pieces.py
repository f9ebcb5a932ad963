"""Where a text may be cut without changing its tokens, which depends on how its tokenizer cuts text itself."""

import json
from typing import Any

from tokenizers import Tokenizer

_LOCAL_NORMALIZERS = {"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"}
_LOCAL_CUTS = {"Digits", "Punctuation"}  # finer than words
_CUTS_AT_WHITE_SPACE = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit", "ByteLevel"}
_BRACKETS = {"type": "Split", "pattern": {"Regex": r"[\[\]<>|]"}, "behavior": "Isolated", "invert": False}
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_FIRST = r"[^\r\n\p{L}\p{N}]?"
# Cuts of which no part holds a blank behind anything but white space; `Split` is given them as a pattern.
_KNOWN_PATTERNS = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
    rf"{_SUFFIX}|{_FIRST}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}",  # GPT-4, Llama 3
    rf"{_SUFFIX}|{_FIRST}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}",  # Qwen 2
    rf"{_FIRST}{_UPPER}*{_LOWER}+{_SUFFIX}?|{_FIRST}{_UPPER}+{_LOWER}*{_SUFFIX}?|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}",  # GPT-4o
}


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


def _is_local(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer changes each character by itself, and looks for no words before it cuts text."""
    words = [token for token in tokenizer.get_added_tokens_decoder().values() if not token.special]
    return not words and all(part["type"] in _LOCAL_NORMALIZERS for part in _parts(tokenizer.normalizer))


def _cuts_at_white_space(part: dict[str, Any]) -> bool:
    return part["type"] in _CUTS_AT_WHITE_SPACE and part.get("use_regex", True)


def _cuts_finer(part: dict[str, Any]) -> bool:
    return part == _BRACKETS or part["type"] in _LOCAL_CUTS


def reads_bytes(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer is given the bytes of a text, each as a letter."""
    return any(part["type"] == "ByteLevel" for part in _parts(tokenizer.pre_tokenizer))


def cuts_before_white_space(tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a text are those of its parts, wherever it is cut before white space.

    Known of few kinds of normalizers and pre-tokenizers; False for all others, and where words were added that are
    found before text is cut.
    """
    cuts = _parts(tokenizer.pre_tokenizer)
    is_known = any(map(_cuts_at_white_space, cuts)) and all(_cuts_at_white_space(p) or _cuts_finer(p) for p in cuts)
    return _is_local(tokenizer) and is_known and not puts_blank_before(tokenizer)


def _cuts_at_blanks(part: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer cuts before every blank that stands behind something else than white space."""
    if part["type"] == "Metaspace":
        return bool(part.get("split", True))
    pattern = part["pattern"].get("Regex") if part["type"] == "Split" else None
    return _cuts_at_white_space(part) or (
        pattern in _KNOWN_PATTERNS and part["behavior"] == "Isolated" and not part["invert"]
    )


def cuts_before_blanks(tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a text are those of its parts, wherever it is cut before a blank behind no white space.

    So it is for all that cut before white space, for those that put a blank before a text that begins with none, and
    for some known patterns; False for all others.
    """
    cuts = _parts(tokenizer.pre_tokenizer)
    is_bytes = [part["type"] == "ByteLevel" and not part.get("use_regex", True) for part in cuts]
    is_known = [_cuts_at_blanks(part) or _cuts_finer(part) or byte for part, byte in zip(cuts, is_bytes, strict=True)]
    return _is_local(tokenizer) and any(map(_cuts_at_blanks, cuts)) and all(is_known)


def twin_of(tokenizer: Tokenizer, changes: dict[str, Any] | None = None) -> Tokenizer:
    """A copy with other components, which treats special tokens in a text as this one does."""
    twin = Tokenizer.from_str(json.dumps({**json.loads(tokenizer.to_str()), **(changes or {})}))
    twin.encode_special_tokens = tokenizer.encode_special_tokens
    return twin


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
    changes = {
        "normalizer": without(content["normalizer"], "normalizers"),
        "pre_tokenizer": without(content["pre_tokenizer"], "pretokenizers"),
    }
    return twin_of(tokenizer, changes)
