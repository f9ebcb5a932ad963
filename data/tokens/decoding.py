"""Text of ids, of which nothing is half a character."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel

_REPLACEMENT = "\ufffd"  # what a decoder writes for bytes that make no character
_JOINER = "\u200d"  # joins what follows; nothing follows at the end


def _bytes_of_letters() -> dict[str, int]:
    """The byte that each letter of byte-level BPE stands for (Radford et al. 2019, encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _bytes_of_letters()


def bytes_of(tokenizer: Tokenizer, index: int) -> bytes | None:
    """The bytes that an ordinary token of a byte-level tokenizer stands for; None of any other."""
    letters = tokenizer.id_to_token(index)
    if not isinstance(tokenizer.decoder, ByteLevel) or letters is None or not {*letters} <= _BYTES.keys():
        return None
    return bytes(_BYTES[letter] for letter in letters)


def decode_text(tokenizer: Tokenizer, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
    """The text of ids without bytes that make no character, as a young model generates them.

    A U+FFFD that a byte-level tokenizer spells out is text, and stays.
    """
    text = tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
    if _REPLACEMENT not in text:
        return text
    if not isinstance(tokenizer.decoder, ByteLevel):
        return text.replace(_REPLACEMENT, "")
    added = tokenizer.get_added_tokens_decoder()
    spelled = bytearray()
    for index in ids:
        if index not in added:
            spelled += bytes(_BYTES[letter] for letter in tokenizer.id_to_token(index) or "")
        elif not (skip_special_tokens and added[index].special):
            spelled += added[index].content.encode()
    return spelled.decode("utf-8", errors="ignore")


def decode_generated(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """A generated text for a reader: without special tokens, half characters, and blanks around it."""
    return decode_text(tokenizer, ids, skip_special_tokens=True).strip().removesuffix(_JOINER)
