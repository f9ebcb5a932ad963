"""What numbers and names a setting may have: one way to refuse the others, with key, value and bound.

The upper bounds lie far beyond what anybody trains; they stop a slip of the pen before it takes all memory or days.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import UserError


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, which are among them unless they are open.

    Args:
        low: the least.
        high: the greatest.
        low_open: whether `low` itself is refused.
        high_open: whether `high` itself is refused.
    """

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low  # nan is neither
        return above and (value < self.high if self.high_open else value <= self.high)

    def __str__(self) -> str:
        if self.high <= 1 and self.low_open and self.high_open:
            return f"must lie between {self.low:g} and {self.high:g}, both excluded"
        if self.high <= 1:
            begin, end = "(" if self.low_open else "[", ")" if self.high_open else "]"
            return f"must lie in {begin}{self.low:g}, {self.high:g}{end}"
        least = f"above {self.low:g}" if self.low_open else f"at least {self.low:g}"
        most = f"{self.high:,}" if isinstance(self.high, int) else f"{self.high:g}"
        return f"must be {least} and at most {most}"


def count(high: int, *, low: int = 1) -> Range:
    """Whole numbers from `low`."""
    return Range(low, high)


def positive(high: float) -> Range:
    """Numbers above 0."""
    return Range(0, high, low_open=True)


SHARE = Range(0, 1)
STEPS = count(10**15)
SEED = count(2**32 - 1, low=0)
LEARNING_RATE = positive(1000)


def check_ranges(prefix: str, ranges: Mapping[str, Range], values: Mapping[str, object]) -> None:
    """Refuses the first number that lies outside its range; of lists, each number; what is null or text is no number.

    Args:
        prefix: of the settings' names in messages, such as `data.`.
        ranges: by name.
        values: all settings by name, or those that are to be looked at.

    Raises:
        UserError: naming the setting, its value and the bound.
    """
    for name, allowed in ranges.items():
        value = values.get(name)
        numbers = value if isinstance(value, list | tuple) else [value]
        if not all(number in allowed for number in numbers if isinstance(number, int | float)):
            shown = list(value) if isinstance(value, tuple) else value
            raise UserError(f"{prefix}{name} = {shown} {allowed}")


_PLAIN = re.compile(r"[^/\\\x00-\x1f\x7f]+")
LONGEST_NAME = 200  # bytes; file systems take 255, and names of temporary files are longer


def check_name(key: str, name: str, purpose: str) -> None:
    """Refuses what cannot be the name of a folder.

    Raises:
        UserError: naming the setting, its value and what it is for.
    """
    is_plain = _PLAIN.fullmatch(name) and name.strip() == name and name not in (".", "..")
    if not is_plain or len(name.encode(errors="replace")) > LONGEST_NAME:
        raise UserError(f"{key} = {name!r} must be a plain name of at most {LONGEST_NAME} bytes: {purpose}")
