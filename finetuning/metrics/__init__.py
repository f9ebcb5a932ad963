"""How good predictions are, as published: labels, numbers, entities, answers and texts.

Begin with `metrics.py`.
"""
