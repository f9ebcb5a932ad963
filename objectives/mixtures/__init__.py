"""Objectives made of other objectives, over one set of weights.

Begin with `schedule.py` (one after another, or a forward pass each), then `mixture.py` and `dual.py` (one batch).
"""
