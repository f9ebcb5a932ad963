"""Values as files spell them: lists that a table writes as text, truth values, whole numbers, classes."""

import ast
import json
import math
import re
import unicodedata
from typing import Any

_NUMPY_NUMBERS = re.compile(r"\[\s*[-+]?\d+(?:\.\d*)?(?:\s+[-+]?\d+(?:\.\d*)?)+\s*\]")
_NUMPY_LIST = re.compile(r"""\[\s*(?:'[^']*'|"[^"]*")(?:\s+(?:'[^']*'|"[^"]*"))*\s*\]""")  # no commas between
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_ARRAY = re.compile(r"array\((\[.*?\])(?:, dtype=\w+)?\)", re.DOTALL)  # as pandas writes what came from `datasets`
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


def _literal(text: str) -> Any:
    """A list, a set or an object that is written as JSON or as Python; None where the text is none."""
    if text == "set()":
        return []
    if text[:1] + text[-1:] not in ("[]", "{}", "()"):
        return None
    if _NUMPY_NUMBERS.fullmatch(text):
        return [float(number) for number in text[1:-1].split()]
    if _NUMPY_LIST.fullmatch(text):
        return [single or double for single, double in _QUOTED.findall(text)]
    for read in (json.loads, ast.literal_eval):
        try:
            return read(_ARRAY.sub(r"\1", text) if read is ast.literal_eval else text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def unwritten(value: Any) -> Any:
    """The list or object that a table's text stands for (`"['joy', 'fear']"`); any other value as it is."""
    if not isinstance(value, str):
        return value
    found = _literal(value.strip())
    if isinstance(found, set | frozenset):
        found = sorted(found, key=str)
    return found if isinstance(found, list | tuple | dict) else value


def stripped(text: str) -> str:
    """A text without what cannot be seen at its ends: white space, and marks of order, direction and joining."""
    start, end = 0, len(text)
    while start < end and _cannot_be_seen(text[start]):
        start += 1
    while end > start and _cannot_be_seen(text[end - 1]):
        end -= 1
    return text[start:end]


def _cannot_be_seen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cf", "Cc")


def is_missing(value: Any) -> bool:
    """Whether there is no value: None, or NaN as pandas has it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def truth(value: Any) -> bool | None:
    """A truth value in the usual spellings; None where there is none.

    Raises:
        ValueError: where it is spelled otherwise.
    """
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool):
        return value
    spelled = class_name(value)
    if spelled is not None and spelled.lower() in (*TRUE, *FALSE):
        return spelled.lower() in TRUE
    raise ValueError(f"{value!r:.60} is neither true nor false")


def whole_number(value: Any) -> int | None:
    """A whole number in any type (3, 3.0, "3"); None where there is none.

    Raises:
        ValueError: where it is no whole number.
    """
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, bool) and isinstance(value, int | float | str):
        number = float(value)
        if number.is_integer():
            return int(number)
    raise ValueError(f"{value!r:.60} is no whole number")


def class_name(value: Any) -> str | None:
    """A class as it is called, whatever type or form a file gave it; None for none.

    "1", 1, 1.0 and "1.0" are one, as are true, "True" and "TRUE", and a name in either Unicode form.
    """
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # parquet keeps whole numbers as floats where some are missing
    name = unicodedata.normalize("NFC", stripped(str(value)))
    if name.lower() in ("true", "false"):
        return name.lower()
    whole = _WHOLE.fullmatch(name)
    return (whole[1] if whole else name) or None
