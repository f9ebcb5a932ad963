"""Trained objectives: loaded from a run folder, or exported for transformers.

Begin with `load.py`.
"""
