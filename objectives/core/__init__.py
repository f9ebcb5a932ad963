"""What all objectives are made of: the abstract Objective, noise, prompts and scorers.

Begin with `base.py`.
"""
