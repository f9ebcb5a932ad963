"""Presets as parameters of laws that hold for each of them."""

import pytest

from models.presets import PRESETS

# One of each kind of positions, norms and feed-forward layers; the others put the same parts together otherwise.
PARTS = ("lab", "bert", "gpt2", "t5")
FOUR_BY_DEFAULT = [pytest.param(preset, marks=[] if preset in PARTS else pytest.mark.slow) for preset in PRESETS]
