"""Numbers as a report writes them: few digits, a true minus sign, a dash where there is none."""

import math
from collections.abc import Mapping, Sequence

from evaluation.record.record import BoundRecord, SummaryRecord

NONE = "\u2013"
MINUS = "\u2212"
THIN = "\u2009"
BOUND = "\u2264\u00a0"  # before an upper bound


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


def number(value: float | None, unit: str = "") -> str:
    """A value in its unit, without the unit's name: fractions as percentages where the unit is "%"."""
    if value is None or not math.isfinite(value):
        return NONE
    if unit == "%":
        return _signed(f"{100 * value:.1f}")
    magnitude = abs(value)
    if magnitude and not 1e-3 <= magnitude < 1e5:
        return _signed(f"{value:.3g}")
    return _signed(f"{value:.3f}" if magnitude < 100 else f"{value:,.1f}")


def score(summary: SummaryRecord, unit: str = "") -> str:
    """A mean, behind `≤` where it is an upper bound."""
    return f"{BOUND if summary.bound else ''}{number(summary.mean, unit)}"


def estimated(bound: BoundRecord, unit: str = "") -> str:
    """How an upper bound was estimated."""
    error = f"{number(bound.error, unit)} {unit_of_difference(unit)}".rstrip()
    return f"upper bound, {bound.draws:,} draws a text, Monte Carlo error {error}"


def amount(value: float, unit: str = "") -> str:
    """A number that stands beside a score: a count without decimals."""
    return f"{value:,.0f}" if unit != "%" and float(value).is_integer() else number(value, unit)


def apart(besides: Sequence[Mapping[str, str]]) -> tuple[str, list[str]]:
    """What stands beside the scores of several rows, as text: what is the same in all of them, and each row's own."""
    same = dict(set.intersection(*(set(beside.items()) for beside in besides))) if len(besides) > 1 else {}

    def listed(beside: Mapping[str, str], *, is_same: bool) -> str:
        return ", ".join(f"{name} {value}" for name, value in beside.items() if (name in same) == is_same)

    return listed(besides[0], is_same=True), [listed(beside, is_same=False) for beside in besides]


def difference(value: float | None, unit: str = "") -> str:
    """A difference, with its sign."""
    text = number(value, unit)
    return f"+{text}" if value is not None and value > 0 else text


def within(low: float, high: float, unit: str) -> tuple[float, float]:
    """An interval of a mean, as far as the mean can lie in it: a share lies between 0 and 1."""
    return (max(low, 0.0), min(high, 1.0)) if unit == "%" else (low, high)


def interval(low: float | None, high: float | None, unit: str = "", *, signed: bool = False) -> str:
    """`[low, high]`, or a dash where one seed has none."""
    if low is None or high is None:
        return NONE
    write = difference if signed else number
    low, high = (low, high) if signed else within(low, high, unit)
    return f"[{write(low, unit)}, {write(high, unit)}]"


def p_value(value: float | None) -> str:
    """A p value to three decimals."""
    if value is None:
        return NONE
    return f"<{THIN}0.001" if value < 1e-3 else f"{value:.3f}"


def unit_of_difference(unit: str) -> str:
    """The name of a difference's unit: a difference of percentages is of points."""
    return "points" if unit == "%" else unit or "score"


def memory(amount: float | None) -> str:
    """Bytes as gibibytes."""
    return NONE if amount is None else f"{amount / 2**30:.2f} GiB"


def seeds(count: int) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{count} seed{'s' * (count != 1)}"


def among(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
