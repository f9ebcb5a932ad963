"""How large a campaign is: numbers in the environment, such as FAULTS_KILLS=100 make test-faults."""

import os
import random
from collections.abc import Sequence


def number(name: str, default: int) -> int:
    """`FAULTS_{name}`, or the default of a campaign of minutes."""
    return int(os.environ.get(f"FAULTS_{name}", default))


def chosen(count: int, wanted: int, seed: str) -> Sequence[int]:
    """Up to so many different numbers of 1 to `count`, the same ones for a seed."""
    everything = range(1, count + 1)
    return everything if count <= wanted else sorted(random.Random(seed).sample(everything, wanted))
