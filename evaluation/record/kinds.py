"""What the records of a study share: the few values that some fields may have, and what every record refuses."""

from typing import Literal, get_args

from pydantic import ConfigDict

Measure = Literal["raw_tokens", "flops", "target_tokens", "minutes"]  # of a budget that all arms have in common
MEASURES: tuple[Measure, ...] = get_args(Measure)
Status = Literal["finished", "failed", "unfinished"]
Direction = Literal["greater", "less", "equivalent"]
Outcome = Literal[
    "supported",
    "contradicted",
    "equivalent within the margin",
    "not shown",
    "one seed shows no difference",
    "untested",
]


class Strict:
    """What every record shares: a key that no field names is refused."""

    __pydantic_config__ = ConfigDict(extra="forbid", ser_json_inf_nan="null")
