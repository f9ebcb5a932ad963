"""Objectives made of other objectives, over one set of weights.

Begin with `schedule.py`.
"""
